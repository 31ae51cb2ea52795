"""One model of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class ZooModel:
    """A real model that MLflow saves, and rows that it takes."""

    id: str
    flavor: str
    """The flavor that is detected."""
    build: Callable[[Path], Any]
    """Saves the model into a folder that does not exist yet."""
    sample: Callable[[], Any]
    """Rows of exactly the types in the signature: a DataFrame, an array, named arrays or a list."""
    safe: bool = False
    """It loads without running any code of its own."""
    methods: tuple[str, ...] = ()
    """Methods beside `predict`."""
    probabilities: bool = False
    """`predict` comes with class probabilities."""
    slow: bool = False
    native: Callable[[Path, Any], Any] | None = None
    """What the framework itself predicts, for models that mlflow.pyfunc cannot be asked about."""


def numbers(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Four columns of doubles."""
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 4)), columns=list("abcd"))


def labels(data: pd.DataFrame) -> np.ndarray[Any, Any]:
    return (data.a + data.b > 0).astype(int).to_numpy()


def classes(data: pd.DataFrame) -> np.ndarray[Any, Any]:
    return np.digitize(data.a, [-0.5, 0.5])


def mixed(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Doubles, integers, booleans and text."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": random.normal(size=rows),
            "count": random.integers(0, 9, rows),
            "member": random.integers(0, 2, rows).astype(bool),
            "city": random.choice(["Ulm", "Köln", "007"], rows),
        }
    )


def few(data: pd.DataFrame, rows: int = 5) -> pd.DataFrame:
    return data.iloc[:rows].reset_index(drop=True)


# Given, so that MLflow does not spend seconds on finding out; nothing installs them.
PIP: dict[str, Any] = {"pip_requirements": []}
