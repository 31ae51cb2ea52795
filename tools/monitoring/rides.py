"""A Feast repository, two versions of a model that looks up its features there, and requests for them.

`python -m tools.monitoring.rides FOLDER` makes the repository and the models with their drift profiles.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.monitoring.parts import predictor
from tools.monitoring.traffic import Caller

FEAST = "feast"
VERSIONS = {"3": 1.0, "4": 1.25}
"""The versions, with their surcharges."""
KNOWN = {1001: (4.75, 12), 1002: (4.5, 7), 1003: (None, None)}
"""Drivers of the demo's repository, with rating and trips."""
STALE, UNKNOWN = 1004, 7
ORDERS = {"ada": 3, "grace": 41, "alan": 1}


def ride(chance: random.Random, shift: float = 1.0) -> dict[str, Any]:
    driver = chance.choices([1001, 1002, 1003], [6, 3, 1])[0]
    distance = round(1 + shift * chance.gammavariate(2, 4), 2)
    return {"driver_id": driver, "customer_id": chance.choice(list(ORDERS)), "distance": distance}


def order(caller: Caller, chance: random.Random, rows: int, shift: float = 1.0, strange: float = 0.0) -> bool:
    """Sends a request; a share of its rows has drivers that are unknown or have stale features."""
    rides = [ride(chance, shift) for _ in range(rows)]
    for one in rides:
        if chance.random() < strange:
            one["driver_id"] = chance.choice((STALE, UNKNOWN))
    return caller.post(f"/v1/models/{caller.model}:predict", {"instances": rides})


@contextmanager
def served(folder: Path, version: str, *flags: str) -> Iterator[Caller]:
    """Serves one version, with a feature cache and a prediction log."""
    flags += ("--feast-repo-path", str(folder / FEAST), "--feast-cache-ttl", "5")
    flags += ("--prediction-log", str(folder / "log"), "--prediction-log-max-age", "1")
    with predictor(folder, folder / version, version, *flags, name="rides") as (http, grpc):
        yield Caller(f"http://{http}", grpc, "rides", ())


def log_ride_models(folder: Path) -> None:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from predictors.drift import attach, profile
    from predictors.features import declare
    from predictors.features.demo import SERVICE, build

    build(folder / FEAST)
    columns = {"distance": "double", "rating": "double", "trips": "double", "orders": "long"}
    signature = ModelSignature(
        Schema([ColSpec(type, name, required=name == "distance") for name, type in columns.items()]),
        Schema([ColSpec("double", "price"), ColSpec("string", "tariff")]),
    )
    declared = declare(SERVICE, entities=["driver_id", "customer_id"], missing="null", stale="null")
    data = training(5_000)
    for version, surcharge in VERSIONS.items():
        model = folder / version
        mlflow.pyfunc.save_model(
            model,
            python_model=str(Path(__file__).with_name("tariff.py")),
            signature=signature,
            model_config={"surcharge": surcharge},
            metadata=declared,
            pip_requirements=["mlflow"],
        )
        answers = mlflow.pyfunc.load_model(str(model)).predict(data)
        attach(profile(data, {name: answers[name] for name in answers}), model)


def training(count: int) -> Any:
    """The training data, with the features that Feast has."""
    import pandas as pd

    chance = random.Random(3)  # noqa: S311 - the same data each time
    rides = [ride(chance) for _ in range(count)]
    return pd.DataFrame(
        {
            "distance": [one["distance"] for one in rides],
            "rating": pd.Series([KNOWN[one["driver_id"]][0] for one in rides], dtype=float),
            "trips": pd.Series([KNOWN[one["driver_id"]][1] for one in rides], dtype=float),
            "orders": [ORDERS[one["customer_id"]] for one in rides],
        }
    )


def save_rides(folder: Path) -> Path:
    """Makes everything in a separate process, which hides its warnings."""
    command = [sys.executable, "-m", "tools.monitoring.rides", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder


if __name__ == "__main__":
    log_ride_models(Path(sys.argv[1]))
