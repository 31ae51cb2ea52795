"""A model that answers what it is asked, once its gate is open; MLflow loads it from this very file."""

from __future__ import annotations

import threading
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel


class FileGate:
    """Of all such models of this process."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.event.set()
        self.asked: list[float] = []
        self.spin = False
        """Whether those who wait keep the interpreter busy."""

    def wait(self) -> None:
        if self.spin:
            while not self.event.is_set():
                pass
        else:
            assert self.event.wait(60)


# The file is loaded more than once, and all of them share one gate.
GATE: FileGate = mlflow.__dict__.setdefault("_gate_of_tests", FileGate())


class Gated(PythonModel):  # type: ignore[misc]  # mlflow ships no types
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        values: list[Any] = [float(value) for value in model_input["x"]]
        GATE.asked += values
        GATE.wait()
        return values


mlflow.models.set_model(Gated())
