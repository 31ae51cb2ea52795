"""An unreliable model, saved by MLflow as models from code: it fails for negative inputs, and is slow for others."""

from __future__ import annotations

import time

import mlflow
import pandas as pd


class Patchy(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Sleeps for the seconds in its input."""

    def predict(self, context: object, model_input: pd.DataFrame, params: object = None) -> list[float]:
        delays = [float(value) for value in model_input["seconds"]]
        if min(delays) < 0:
            raise ValueError("there is no time below zero")
        time.sleep(max(delays))
        return delays


mlflow.models.set_model(Patchy())
