"""A model that is slow in the way of custom Python code: it holds the interpreter for some milliseconds per row, and
then returns its input.

MLflow loads it from this file ("models from code").
"""

from __future__ import annotations

from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel

ROUNDS = 100_000  # some five milliseconds


class Spinning(PythonModel):  # type: ignore[misc]  # mlflow ships no types
    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[float]:
        results = []
        for value in model_input["x"]:
            total = 0
            for number in range(ROUNDS):
                total += number
            results.append(float(value) + 0 * total)
        return results


mlflow.models.set_model(Spinning())
