"""A small Feast repository for demos and tests: statistics of drivers and customers, and the fare of a ride.

`python -m predictors.features.demo FOLDER` creates it, with SQLite as online store, and fills the store.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from predictors.features.library import feast

SERVICE = "ride_price"
PROJECT = "rides"
TTL = timedelta(days=1)
"""The ttl of a driver's features."""


def drivers(now: datetime) -> pd.DataFrame:
    """1001 and 1002 have all values, 1003 has gaps, and the values of 1004 are ten days old."""
    hour_ago = now - timedelta(hours=1)
    return pd.DataFrame(
        {
            "driver_id": [1001, 1002, 1003, 1004],
            "trips": pd.array([12, 7, None, 3], dtype="Int64"),
            "rating": [4.75, 4.5, None, 3.25],
            "active": pd.array([True, False, None, True], dtype="boolean"),
            "city": ["Köln", "Lyon", None, "Oslo"],
            "last_trip": [hour_ago, now - timedelta(hours=2), hour_ago, now - timedelta(days=10)],
            "recent_fares": [[9.5, 12.25], [20.0], [], [7.5, 8.0, 8.5]],
            "event_timestamp": [hour_ago, hour_ago, hour_ago, now - timedelta(days=10)],
        }
    )


def customers(now: datetime) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": ["ada", "grace", "alan"],
            "orders": [3, 41, 1],
            "spend": [31.5, 820.25, 9.75],
            "event_timestamp": [now - timedelta(hours=1)] * 3,
        }
    )


def definitions(data: Path) -> dict[str, Any]:
    """The repository's objects by name; the features are read from Parquet files in the folder `data`."""
    feast()
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp

    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    driver_stats = FeatureView(
        name="driver_stats",
        entities=[driver],
        ttl=TTL,
        schema=[
            Field(name="driver_id", dtype=Int64),
            Field(name="trips", dtype=Int64),
            Field(name="rating", dtype=Float64),
            Field(name="active", dtype=Bool),
            Field(name="city", dtype=String),
            Field(name="last_trip", dtype=UnixTimestamp),
            Field(name="recent_fares", dtype=Array(Float32)),
        ],
        source=FileSource(path=str(data / "drivers.parquet"), timestamp_field="event_timestamp"),
    )
    customer_stats = FeatureView(
        name="customer_stats",
        entities=[customer],
        schema=[
            Field(name="customer_id", dtype=String),
            Field(name="orders", dtype=Int64),
            Field(name="spend", dtype=Float64),
        ],
        source=FileSource(path=str(data / "customers.parquet"), timestamp_field="event_timestamp"),
    )
    ride = RequestSource(name="ride", schema=[Field(name="distance", dtype=Float64)])

    def ride_fare(inputs: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(inputs["rating"], inputs["distance"], strict=True)
        return {"expected_fare": [None if rating is None else distance * rating / 2 for rating, distance in pairs]}

    computed = on_demand_feature_view(
        sources=[driver_stats, ride], schema=[Field(name="expected_fare", dtype=Float64)], mode="python"
    )(ride_fare)
    service = FeatureService(name=SERVICE, features=[driver_stats, customer_stats[["orders", "spend"]], computed])
    objects = (driver, customer, driver_stats, customer_stats, computed, service)
    return {item.name: item for item in objects}


def build(folder: Path, online_store: Mapping[str, Any] | None = None, now: datetime | None = None) -> Path:
    """Creates the repository in a folder and fills its online store; returns the folder."""
    import yaml

    now = now or datetime.now(UTC).replace(microsecond=0)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    drivers(now).to_parquet(data / "drivers.parquet")
    customers(now).to_parquet(data / "customers.parquet")
    configuration = {
        "project": PROJECT,
        "provider": "local",
        "registry": {"path": "data/registry.db", "cache_ttl_seconds": 60},
        "online_store": dict(online_store or {"type": "sqlite", "path": "data/online.db"}),
        "offline_store": {"type": "dask"},
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    store = feast().FeatureStore(repo_path=str(folder))
    store.apply(list(definitions(data).values()))
    store.materialize(now - timedelta(days=30), now)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m predictors.features.demo", description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the new repository")
    folder = build(parser.parse_args().folder)
    print(f"created the feature service {SERVICE} in {folder}; to start a feature server: feast -c {folder} serve")


if __name__ == "__main__":
    main()
