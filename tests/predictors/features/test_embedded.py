"""Feast in the process of the server: the same values as Feast gives, whatever becomes of its files meanwhile."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from predictors.features.demo import SERVICE, build
from predictors.features.embedded import EmbeddedStore
from predictors.features.resilience import ResilientStore
from predictors.features.store import Catalogue, FeastError, FeastRefused, FeastUnavailable, FeatureStatus
from tests.predictors.features.feast import copied, feast_values, names_of, opened
from tests.serving import wait_for

FOUND, NULL, MISSING, STALE = FeatureStatus.FOUND, FeatureStatus.NULL, FeatureStatus.MISSING, FeatureStatus.STALE
ROWS: dict[str, list[Any]] = {
    "driver_id": [1001, 1003, 1004, 9, 1002],
    "customer_id": ["ada", "grace", "nobody", "alan", "ada"],
    "distance": [1.0, 2.0, 3.0, 4.0, 5.0],
}


def embedded(
    repository: Path, service: str | None = SERVICE, **options: Any
) -> AbstractAsyncContextManager[EmbeddedStore]:
    return opened(EmbeddedStore(str(repository), service, **{"refresh_seconds": 0, **options}))


def test_the_catalogue_says_names_keys_and_types(repository: Path) -> None:
    async def run() -> Catalogue:
        async with embedded(repository) as store:
            return store.catalogue

    catalogue = asyncio.run(run())
    described = {one.full_name: (one.type, one.keys) for one in catalogue.features}
    assert described == {
        "driver_stats__trips": ("INT64", ("driver_id",)),
        "driver_stats__rating": ("DOUBLE", ("driver_id",)),
        "driver_stats__active": ("BOOL", ("driver_id",)),
        "driver_stats__city": ("STRING", ("driver_id",)),
        "driver_stats__last_trip": ("UNIX_TIMESTAMP", ("driver_id",)),
        "driver_stats__recent_fares": ("FLOAT_LIST", ("driver_id",)),
        "customer_stats__orders": ("INT64", ("customer_id",)),
        "customer_stats__spend": ("DOUBLE", ("customer_id",)),
        "ride_fare__expected_fare": ("DOUBLE", ("driver_id",)),
    }
    assert catalogue.keys == {"driver_id": "INT64", "customer_id": "STRING"}
    assert catalogue.request_columns == {"distance": "DOUBLE"}


@pytest.mark.parametrize("online_store", ["repository", "redis_repository"])
def test_the_values_are_those_that_feast_gives(
    online_store: str, hour_ago: float, request: pytest.FixtureRequest
) -> None:
    repository: Path = request.getfixturevalue(online_store)

    async def run() -> Any:
        async with embedded(repository) as store:
            names = names_of(store.catalogue)
            return names, store.is_async, await store.fetch(ROWS, names)

    names, is_async, fetched = asyncio.run(run())
    assert is_async is (online_store == "redis_repository")
    theirs = feast_values(repository, SERVICE, ROWS)
    assert fetched.values == {name: theirs[name.partition("__")[2]] for name in names}
    assert [type(value) for value in fetched.values["driver_stats__trips"]] == [int, type(None), int, type(None), int]
    for name in ("trips", "rating", "active", "city"):
        assert fetched.statuses[f"driver_stats__{name}"] == [FOUND, NULL, STALE, MISSING, FOUND]
    assert fetched.statuses["customer_stats__orders"] == [FOUND, FOUND, MISSING, FOUND, FOUND]
    assert fetched.statuses["ride_fare__expected_fare"] == [FOUND, NULL, FOUND, NULL, FOUND]
    ten_days_ago = hour_ago + 3600 - timedelta(days=10).total_seconds()
    assert fetched.timestamps["driver_stats__trips"] == [hour_ago, hour_ago, ten_days_ago, 0, hour_ago]


def test_only_requested_features_are_returned(repository: Path) -> None:
    async def run() -> Any:
        async with embedded(repository) as store:
            return await store.fetch(ROWS, ["customer_stats__spend"])

    fetched = asyncio.run(run())
    assert fetched.values == {"customer_stats__spend": [31.5, 820.25, None, 9.75, 31.5]}
    assert list(fetched.statuses) == list(fetched.timestamps) == ["customer_stats__spend"]


def test_without_a_key_only_the_features_that_it_finds_are_missing(repository: Path) -> None:
    rows: dict[str, list[Any]] = {
        "driver_id": [1001, None, 1002],
        "customer_id": [None, "ada", "alan"],
        "distance": [2.0, 2.0, 2.0],
    }

    async def run() -> Any:
        async with embedded(repository) as store:
            whole = await store.fetch(rows, names_of(store.catalogue))
            return whole, await store.fetch({"customer_id": ["ada"]}, ["driver_stats__trips", "customer_stats__orders"])

    whole, half = asyncio.run(run())
    assert whole.values["driver_stats__trips"] == [12, None, 7]
    assert whole.statuses["driver_stats__trips"] == [FOUND, MISSING, FOUND]
    assert whole.values["ride_fare__expected_fare"] == [4.75, None, 4.5]
    assert whole.statuses["ride_fare__expected_fare"] == [FOUND, MISSING, FOUND]
    assert whole.values["customer_stats__orders"] == [None, 3, 1]
    assert whole.statuses["customer_stats__orders"] == [MISSING, FOUND, FOUND]
    assert half.statuses == {"driver_stats__trips": [MISSING], "customer_stats__orders": [FOUND]}


def test_what_is_stored_can_be_had_without_the_columns_of_the_request(repository: Path) -> None:
    async def run() -> Any:
        async with embedded(repository) as store:
            stored = await store.fetch({"driver_id": [1001], "customer_id": ["ada"]}, ["driver_stats__rating"])
            with pytest.raises(FeastRefused, match="computed on demand need distance from the request"):
                await store.fetch({"driver_id": [1001], "customer_id": ["ada"]}, ["ride_fare__expected_fare"])
            return stored

    assert asyncio.run(run()).values == {"driver_stats__rating": [4.75]}


def test_a_key_of_another_type_is_refused(repository: Path) -> None:
    async def run() -> None:
        async with embedded(repository) as store:
            with pytest.raises(FeastRefused, match="invalid literal for int"):
                await store.fetch({**ROWS, "driver_id": ["x"] * 5}, ["driver_stats__trips"])

    asyncio.run(run())


def test_references_instead_of_a_service(repository: Path) -> None:
    async def run() -> Any:
        wanted = ["ride_fare:expected_fare", "customer_stats:orders"]
        async with embedded(repository, None, features=wanted) as store:
            stored = await store.fetch({"customer_id": ["ada"]}, ["customer_stats__orders"])
            return store.catalogue, await store.fetch(ROWS, names_of(store.catalogue)), stored

    catalogue, fetched, stored = asyncio.run(run())
    assert names_of(catalogue) == ["ride_fare__expected_fare", "customer_stats__orders"]
    assert fetched.values["ride_fare__expected_fare"] == [2.375, None, 4.875, None, 11.25]
    assert stored.values == {"customer_stats__orders": [3]}


def test_a_view_without_entities(tmp_path: Path, now: datetime) -> None:
    """Everybody gets the same, and nobody sends a key for it."""
    folder = build(tmp_path / "repository", now=now)
    pd.DataFrame({"price": [1.75], "event_timestamp": [now - timedelta(hours=1)]}).to_parquet(folder / "fuel.parquet")
    source = FileSource(path=str(folder / "fuel.parquet"), timestamp_field="event_timestamp")
    feast = FeatureStore(repo_path=str(folder))
    feast.apply([FeatureView(name="fuel", entities=[], schema=[Field(name="price", dtype=Float64)], source=source)])
    feast.materialize(now - timedelta(days=1), now, feature_views=["fuel"])

    async def run() -> Any:
        async with embedded(folder, None, features=["fuel:price", "customer_stats:orders"]) as store:
            return [
                (await store.fetch({}, ["fuel__price"])).values,
                (await store.fetch({"customer_id": ["ada", "nobody"]}, names_of(store.catalogue))).values,
            ]

    assert asyncio.run(run()) == [
        {"fuel__price": [1.75]},
        {"fuel__price": [1.75, 1.75], "customer_stats__orders": [3, None]},
    ]


def test_names_and_keys_that_a_service_gives_anew(repository: Path, tmp_path: Path) -> None:
    """The same view twice, for two drivers of one request."""
    changed = copied(repository, tmp_path / "changed")
    feast = FeatureStore(repo_path=str(changed))
    drivers = feast.get_feature_view("driver_stats")[["rating", "trips"]]
    first = drivers.with_name("first")
    second = drivers.with_name("second").with_join_key_map({"driver_id": "second_driver"})
    feast.apply([FeatureService(name="two", features=[first, second])])

    async def run() -> Any:
        async with embedded(changed, "two") as store:
            rows: dict[str, list[Any]] = {"driver_id": [1001, None], "second_driver": [1002, 1001]}
            return store.catalogue, await store.fetch(rows, names_of(store.catalogue))

    catalogue, fetched = asyncio.run(run())
    assert catalogue.keys == {"driver_id": "INT64", "second_driver": "INT64"}
    assert {one.full_name: one.keys for one in catalogue.features if one.name == "trips"} == {
        "first__trips": ("driver_id",),
        "second__trips": ("second_driver",),
    }
    assert fetched.values["first__trips"] == [12, None]
    assert fetched.values["second__trips"] == [7, 12]


@pytest.mark.parametrize(
    ("service", "features", "message"),
    [
        ("nope", [], "Feature service nope does not exist"),
        (None, ["nope:rating"], "Feature view nope does not exist"),
        (None, ["driver_stats:nope"], "the feature view driver_stats has no feature 'nope'; it has .*rating"),
        (None, [], "there are no features"),
    ],
)
def test_what_is_not_there(repository: Path, service: str | None, features: Sequence[str], message: str) -> None:
    async def run() -> None:
        async with embedded(repository, service, features=features):
            pass

    with pytest.raises(FeastError, match=message):
        asyncio.run(run())


def test_a_folder_that_is_no_repository(tmp_path: Path) -> None:
    async def run() -> None:
        async with embedded(tmp_path):
            pass

    with pytest.raises(FeastError, match=f"{tmp_path}: .*feature_store.yaml"):
        asyncio.run(run())


def test_a_view_that_is_being_filled_is_waited_for(repository: Path, tmp_path: Path) -> None:
    changed = copied(repository, tmp_path / "changed")
    registry = FeatureStore(repo_path=str(changed)).registry
    proto = registry.proto()
    proto.feature_views[0].meta.state = proto.feature_views[0].meta.state.__class__(3)  # MATERIALIZING
    (changed / "data" / "registry.db").write_bytes(proto.SerializeToString())

    async def run() -> None:
        async with embedded(changed):
            pass

    with pytest.raises(FeastUnavailable, match="cannot be served while it is MATERIALIZING"):
        asyncio.run(run())


class TestRegistry:
    """It is read in the background, and lookups never notice."""

    @pytest.fixture
    def own(self, repository: Path, tmp_path: Path) -> Path:
        return copied(repository, tmp_path / "own")

    @pytest.mark.parametrize("broken", [True, False], ids=["broken", "gone"])
    def test_a_file_that_is_broken_or_gone(self, own: Path, broken: bool, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "predictors")
        file = own / "data" / "registry.db"

        async def run() -> Any:
            async with embedded(own) as store:
                if broken:
                    file.write_bytes(b"\xff" * 1000)
                else:
                    file.unlink()
                await store.refresh()
                return await store.fetch(ROWS, names_of(store.catalogue))

        fetched = asyncio.run(run())
        assert fetched.values["driver_stats__trips"] == [12, None, 3, None, 7]
        lines = [one.message for one in caplog.records if one.name == "predictors"]
        assert len(lines) == 1
        assert lines[0].startswith("the Feast registry cannot be used, the previous one stays in force: ")
        with pytest.raises(Exception):  # noqa: B017 Feast's own, which reads the file in the middle of a request
            FeatureStore(repo_path=str(own)).get_feature_service(SERVICE)

    def test_a_service_that_gets_more_features(self, own: Path) -> None:
        async def run() -> None:
            async with embedded(own, "small", refresh_seconds=0.05) as store:
                assert names_of(store.catalogue) == ["driver_stats__rating"]
                apply_small(own, ["rating", "city"])
                await until(lambda: len(store.catalogue.features) == 2)
                fetched = await store.fetch({"driver_id": [1001]}, ["driver_stats__city"])
                assert fetched.values == {"driver_stats__city": ["Köln"]}

        apply_small(own, ["rating"])
        asyncio.run(run())

    def test_a_service_that_loses_what_is_needed(self, own: Path, caplog: pytest.LogCaptureFixture) -> None:
        async def run() -> None:
            async with embedded(own, "small") as store:
                await store.fetch({"driver_id": [1001]}, ["driver_stats__rating"])
                apply_small(own, ["rating", "city"])
                await store.refresh()  # nobody has asked for what it loses
                assert names_of(store.catalogue) == ["driver_stats__rating", "driver_stats__city"]
                apply_small(own, ["city"])
                await store.refresh()
                fetched = await store.fetch({"driver_id": [1001]}, ["driver_stats__rating"])
                assert fetched.values == {"driver_stats__rating": [4.75]}

        apply_small(own, ["rating", "trips"])
        asyncio.run(run())
        assert "driver_stats__rating was removed or changed incompatibly" in caplog.text

    def test_a_service_that_computes_with_more_columns(self, own: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Callers who do not send them would be refused."""
        asked: dict[str, list[Any]] = {"driver_id": [1001], "distance": [4.0]}

        async def run() -> None:
            async with embedded(own) as store:
                await store.fetch(asked | {"customer_id": ["ada"]}, ["ride_fare__expected_fare"])
                apply_toll(own)
                await store.refresh()
                fetched = await store.fetch(asked | {"customer_id": ["ada"]}, ["ride_fare__expected_fare"])
                assert fetched.values == {"ride_fare__expected_fare": [9.5]}

        asyncio.run(run())
        assert "ride_fare__expected_fare was removed or changed incompatibly" in caplog.text

    def test_once_closed_it_is_read_no_more(self, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def run() -> None:
            closed = []
            async with embedded(own, refresh_seconds=3600) as store:
                close = store.store.close

                async def closing() -> None:
                    closed.append(await close())

                monkeypatch.setattr(store.store, "close", closing)
                refreshing = store.refreshing
            assert refreshing is not None
            await asyncio.wait([refreshing], timeout=5)
            assert (refreshing.cancelled(), len(closed)) == (True, 1)

        asyncio.run(run())

    def test_an_unchanged_registry_is_not_resolved_again(self, own: Path) -> None:
        async def run() -> None:
            async with embedded(own) as store:
                before = store.definitions
                await store.refresh()
                assert store.definitions is before

        asyncio.run(run())

    def test_two_models_do_not_resolve_it_for_each_lookup(self, own: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Feast says so when it drops what it had resolved; that costs more than the lookup."""
        caplog.set_level(logging.DEBUG, "feast.utils")

        async def run() -> None:
            async with embedded(own) as first, embedded(own) as second:
                await first.fetch(ROWS, ["driver_stats__trips"])
                await second.fetch(ROWS, ["driver_stats__trips"])
                caplog.clear()
                for store in (first, second, first, second):
                    fetched = await store.fetch(ROWS, ["driver_stats__trips"])
                    assert fetched.values == {"driver_stats__trips": [12, None, 3, None, 7]}

        asyncio.run(run())
        assert "cache cleared" not in caplog.text

    def test_a_change_is_resolved(self, own: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "feast.utils")

        async def run() -> None:
            async with embedded(own, "small") as store:
                await store.fetch({"driver_id": [1001]}, ["driver_stats__rating"])
                apply_small(own, ["rating", "trips"])
                await store.refresh()
                caplog.clear()
                fetched = await store.fetch({"driver_id": [1001]}, ["driver_stats__rating", "driver_stats__trips"])
                assert fetched.values == {"driver_stats__rating": [4.75], "driver_stats__trips": [12]}

        apply_small(own, ["rating"])
        asyncio.run(run())
        assert "cache cleared" in caplog.text  # or the test before could not fail


class TestOnlineStore:
    """SQLite's file, locked or without its tables."""

    @pytest.fixture
    def own(self, repository: Path, tmp_path: Path) -> Path:
        return copied(repository, tmp_path / "own")

    @pytest.fixture
    def locked(self, own: Path) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(own / "data" / "online.db", isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        yield connection
        connection.close()

    def test_threads_that_hang_are_bounded_and_come_back(self, own: Path, locked: sqlite3.Connection) -> None:
        async def run() -> None:
            async with embedded(own, threads=2) as inner:
                store = ResilientStore(inner, timeout=0.1, retries=0, failures=0)
                waiting = [asyncio.create_task(store.fetch(ROWS, ["driver_stats__trips"])) for _ in range(5)]
                for failure in await asyncio.gather(*waiting, return_exceptions=True):
                    assert isinstance(failure, FeastUnavailable)
                    assert failure.reason == "timeout"
                assert inner.abandoned == 2
                with pytest.raises(FeastUnavailable, match="all 2 threads are still waiting") as refused:
                    await store.fetch(ROWS, ["driver_stats__trips"])
                assert refused.value.reason == "timeout"
                locked.rollback()
                await until(lambda: inner.abandoned == 0)
                fetched = await store.fetch(ROWS, ["driver_stats__trips"])
                assert fetched.values == {"driver_stats__trips": [12, None, 3, None, 7]}

        asyncio.run(run())

    def test_tables_that_are_gone(self, own: Path) -> None:
        async def run() -> None:
            (own / "data" / "online.db").unlink()
            async with embedded(own) as store:
                with pytest.raises(FeastUnavailable, match="no such table") as failure:
                    await store.fetch(ROWS, ["driver_stats__trips"])
                assert failure.value.reason == "unreachable"

        asyncio.run(run())

    def test_many_at_once(self, own: Path) -> None:
        async def run() -> None:
            async with embedded(own) as store:
                many = [store.fetch(ROWS, ["driver_stats__trips"]) for _ in range(50)]
                for fetched in await asyncio.gather(*many):
                    assert fetched.values == {"driver_stats__trips": [12, None, 3, None, 7]}

        asyncio.run(run())


def apply_small(repository: Path, features: list[str]) -> None:
    feast = FeatureStore(repo_path=str(repository))
    feast.apply([FeatureService(name="small", features=[feast.get_feature_view("driver_stats")[features]])])


def apply_toll(repository: Path) -> None:
    """Another column that the service computes with."""
    feast = FeatureStore(repo_path=str(repository))
    toll = on_demand_feature_view(
        sources=[RequestSource(name="gate", schema=[Field(name="gates", dtype=Float64)])],
        schema=[Field(name="toll", dtype=Float64)], mode="python",
    )(tolls)  # fmt: skip
    views = [feast.get_feature_view("driver_stats"), feast.get_on_demand_feature_view("ride_fare"), toll]
    feast.apply([toll, FeatureService(name=SERVICE, features=views)])


def tolls(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"toll": list(inputs["gates"])}


async def until(condition: Any) -> None:
    await asyncio.to_thread(wait_for, condition)
