"""A model that is slow as much custom Python code is: it holds the interpreter for some milliseconds for each row,
and then answers what it was asked.

MLflow loads it from this very file ("models from code").
"""

from __future__ import annotations

from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel

ROUNDS = 100_000  # some five milliseconds


class Spinning(PythonModel):  # type: ignore[misc]  # mlflow ships no types
    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[float]:
        found = []
        for value in model_input["x"]:
            total = 0
            for number in range(ROUNDS):
                total += number
            found.append(float(value) + 0 * total)
        return found


mlflow.models.set_model(Spinning())
