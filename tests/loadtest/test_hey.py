"""`hey -n 1000 -c 50` is answered with 200 throughout, by a model that needs 20 ms for a prediction, on a busy machine too."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from tests.serving import Running, process
from tests.zoo.python import model, save

WAITING = "import time; time.sleep(0.02); return [1.0 for _ in range(len(model_input))]"
COMPUTING = """
import time
end = time.thread_time() + 0.02
while time.thread_time() < end:
    pass
return [1.0 for _ in range(len(model_input))]
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("hey") is None, reason="hey is not installed")]


@contextlib.contextmanager
def served(folder: Path, code: str, *, text: bool) -> Iterator[Running]:
    columns = [ColSpec("double", "x"), *([ColSpec("string", "s")] if text else [])]
    save(folder / "model", model(code), signature=ModelSignature(inputs=Schema(columns)))
    with process(folder, "--model-uri", str(folder / "model")) as server:
        yield server.running


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other programs compute meanwhile."""
    with contextlib.ExitStack() as stack:
        for _ in range(processes):
            other = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(other.kill)
        yield


def statuses(server: Running, number: int, *, text: bool) -> dict[str, int]:
    row = {"x": 1.5, **({"s": "some text"} if text else {})}
    command = ["hey", "-n", str(number), "-c", "50", "-m", "POST", "-T", "application/json"]
    command += ["-d", json.dumps({"instances": [row]}), f"{server.url}/v1/models/model:predict"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    assert "Error distribution" not in out, out
    return {status: int(count) for status, count in re.findall(r"\[(\d+)\]\s+(\d+) responses", out)}


@pytest.mark.parametrize("others", [0, 4], ids=["idle", "busy"])
@pytest.mark.parametrize("text", [False, True], ids=["numbers", "text"])
def test_a_thousand_requests(tmp_path: Path, text: bool, others: int) -> None:
    with served(tmp_path, WAITING, text=text) as server, busy(others):
        assert statuses(server, 1000, text=text) == {"200": 1000}


def test_a_model_that_computes(tmp_path: Path) -> None:
    with served(tmp_path, COMPUTING, text=True) as server:
        assert statuses(server, 200, text=True) == {"200": 200}
