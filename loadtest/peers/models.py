"""The models of the benchmark, trained on generated rows and saved as MLflow folders."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.peers import networks
from loadtest.peers.networks import NETWORKS
from loadtest.peers.tables import TABLES, model_of, sentences, target_of

DOUBLES = "-doubles"
FEATURES = 10
COLUMNS = [f"feature_{number}" for number in range(FEATURES)]
_TRAINING_ROWS = 5_000
# Six decimals, as in measurements: neither small integers nor seventeen digits of noise.
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Saved:
    """A model on disk, with the labels that it predicts itself."""

    name: str
    folder: Path
    native: Any
    named: bool

    def rows(self, count: int, seed: int) -> Any:
        """A matrix, or a table for a model that has one."""
        if self.name == "onnx-conv":
            return networks.images(count, seed)
        if self.name == "distilbert":
            return sentences(count, seed, words=(6, 12))
        return TABLES[self.name](count, seed) if self.name in TABLES else rows(count, seed)

    def labels(self, rows: Any) -> list[int]:
        import pandas as pd

        data = pd.DataFrame(rows, columns=COLUMNS) if self.named else rows
        return [int(label) for label in self.native.predict(input_of(data))]


def rows(count: int, seed: int = 7) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(count, FEATURES)).round(_DECIMALS)


def input_of(data: Any) -> Any:
    """What a model is given: a table of one column of text is a list of texts."""
    return data["text"].to_numpy() if "text" in getattr(data, "columns", ()) else data


class Models:
    """Trains each model on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved: dict[str, Saved] = {}

    def get(self, name: str) -> Saved:
        if name not in self._saved:
            with _quiet():
                self._saved[name] = self._train(name)
        return self._saved[name]

    def _train(self, name: str) -> Saved:
        import mlflow
        import mlflow.catboost
        import mlflow.lightgbm
        import mlflow.sklearn
        import mlflow.xgboost
        import pandas as pd
        from catboost import CatBoostClassifier
        from lightgbm import LGBMClassifier
        from mlflow.models import infer_signature
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from xgboost import XGBClassifier

        if name in NETWORKS:
            return Saved(name, self._folder / name, networks.save(name, self._folder / name), False)
        if name in TABLES:
            return self._train_on_table(name)
        x = rows(_TRAINING_ROWS, seed=1)
        noise = np.random.default_rng(2).normal(scale=0.5, size=_TRAINING_ROWS)
        # Two products keep a linear model from being perfect and give the trees something to split on.
        y = (x[:, 0] + 2 * x[:, 1] * x[:, 2] - x[:, 3] + x[:, 4] * x[:, 5] + noise > 0).astype(np.int64)
        model: Any
        save = mlflow.sklearn.save_model
        argument = "sk_model"
        if name in ("lr", "lr-named"):
            model = LogisticRegression(max_iter=1000)
        elif name == "rf":
            model = RandomForestClassifier(n_estimators=100, max_depth=8, random_state=0)
        elif name == "xgb":
            model = XGBClassifier(n_estimators=200, random_state=0)
            save, argument = mlflow.xgboost.save_model, "xgb_model"
        elif name == "lgb":
            model = LGBMClassifier(n_estimators=200, random_state=0, verbose=-1)
            save, argument = mlflow.lightgbm.save_model, "lgb_model"
        elif name == "cat":
            model = CatBoostClassifier(iterations=200, random_seed=0, verbose=False, allow_writing_files=False)
            save, argument = mlflow.catboost.save_model, "cb_model"
        else:
            raise KeyError(name)
        named = name == "lr-named"
        data = pd.DataFrame(x, columns=COLUMNS) if named else x
        model.fit(data, y)
        folder = self._folder / name
        save(
            **{argument: model},
            path=str(folder),
            signature=infer_signature(data, y),
            # Set explicitly, otherwise MLflow queries the package index.
            pip_requirements=[],
            # A format that every server can load.
            **({"serialization_format": "cloudpickle"} if argument in ("sk_model", "lgb_model") else {}),
        )
        return Saved(name, folder, model, named)

    def _train_on_table(self, name: str) -> Saved:
        import mlflow.sklearn
        from mlflow.models import infer_signature

        table = TABLES[name](_TRAINING_ROWS, 1)
        model = model_of(name).fit(input_of(table), target_of(name, table))
        folder = self._folder / name
        options = {"pip_requirements": [], "serialization_format": "cloudpickle"}
        for data, path in ((table, folder), (_as_doubles(table), folder.with_name(f"{name}{DOUBLES}"))):
            if data is None:
                continue
            signature = infer_signature(input_of(data), np.array([0]))
            mlflow.sklearn.save_model(model, path=str(path), signature=signature, **options)
        return Saved(name, folder, model, False)


def _as_doubles(table: Any) -> Any:
    """The same numbers as doubles, for the server that the others are compared with; None for a table with text."""
    return None if any(table[name].dtype == object for name in table) else table.astype(np.float64)


@contextlib.contextmanager
def _quiet() -> Any:
    """Hides MLflow's advice on saving models."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
