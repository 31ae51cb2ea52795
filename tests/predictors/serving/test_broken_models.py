"""A first model that crashes or hangs while it is loaded: the start ends, and says so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Process, process, wait_for
from tests.zoo.case import PIP, numbers
from tests.zoo.python import save

MODEL = """
import ctypes, mlflow, os, time

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        {deed}

    def predict(self, context, model_input):
        return model_input["a"]

mlflow.models.set_model(Model())
"""
DEEDS = {
    "exits": "os._exit(3)",
    "crashes": "ctypes.string_at(0)",
    "hangs": "time.sleep(1000)",
    "hangs-with-the-lock": "ctypes.PyDLL(None).sleep(1000)",
}
LOADING = "loading {model} with the pyfunc flavor"
TOO_SLOW = "ERROR predictors: the model is not loaded after 1 s (--load-timeout); its last stage is: "


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    for name, deed in DEEDS.items():
        save(folder / name, MODEL.format(deed="pass"), data=numbers()[["a"]])
        code = next((folder / name).glob("*.py"))
        code.write_text(code.read_text().replace("        pass", f"        {deed}"))
    return folder


def ended(server: Process) -> int:
    return server.process.wait(60)


@pytest.mark.parametrize(
    ("deed", "flags", "code", "line"),
    [
        ("exits", (), 3, LOADING),
        ("exits", ("--workers", "2"), 3, "ended with status 3 before it was ready; the start has failed"),
        ("crashes", (), -11, "Fatal Python error: Segmentation fault"),
        ("crashes", ("--workers", "2"), 11, "ended with status -11 before it was ready; the start has failed"),
        ("hangs", ("--load-timeout", "1"), 1, TOO_SLOW + LOADING),
        ("hangs", ("--load-timeout", "1", "--workers", "2"), 1, TOO_SLOW + LOADING),
        ("hangs-with-the-lock", ("--load-timeout", "1"), 1, "Timeout (0:00:11)!"),
    ],
)
def test_the_start_ends(models: Path, tmp_path: Path, deed: str, flags: tuple[str, ...], code: int, line: str) -> None:
    model = str(models / deed)
    with process(tmp_path, "--model-uri", model, *flags, ready=False) as server:
        assert ended(server) == code, server.log
        assert line.format(model=model) in server.log
        assert server.log.count(LOADING.format(model=model)) <= 2 * len(flags) + 1  # nothing is started again


class Unpickled:
    """Runs code when it is unpickled."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(
    ("call", "code", "line"),
    [
        ((time.sleep, (1000,)), 1, TOO_SLOW),
        ((os._exit, (3,)), 3, "ERROR predictors: the process that loads the model has ended; its last stage: loading"),
    ],
    ids=["hangs", "exits"],
)
def test_the_start_of_workers_that_share_a_model(tmp_path: Path, call: tuple[Any, ...], code: int, line: str) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    data = numbers()
    model = LinearRegression().fit(data, data.a)
    signature = infer_signature(data, model.predict(data))
    model.evil_ = Unpickled(*call)
    mlflow.sklearn.save_model(model, tmp_path / "model", signature=signature, serialization_format="cloudpickle", **PIP)
    flags = ("--workers", "2", "--load-timeout", "1")
    with process(tmp_path, "--model-uri", str(tmp_path / "model"), *flags, ready=False) as server:
        assert ended(server) == code, server.log
        wait_for(lambda: line in server.log, seconds=10)  # another process writes it
