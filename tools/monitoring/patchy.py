"""A model with moods, as MLflow saves a model from code: it fails below zero, and takes its time above."""

from __future__ import annotations

import time

import mlflow
import pandas as pd


class Patchy(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """The input is how many seconds a prediction takes."""

    def predict(self, context: object, model_input: pd.DataFrame, params: object = None) -> list[float]:
        found = [float(value) for value in model_input["seconds"]]
        if min(found) < 0:
            raise ValueError("there is no time below zero")
        time.sleep(max(found))
        return found


mlflow.models.set_model(Patchy())
