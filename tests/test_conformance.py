"""Our own server held to the black-box suite, whole: models of several kinds, REST and gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import spawner
from tests.serving import in_thread

SUITE = Path(__file__).parent / "conformance"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "grpc_server"),
    [
        ("demo", "own"), ("demo", "grpcio"), ("sklearn-tensor", "own"), ("sklearn-no-signature", "own"),
        ("pyfunc-named-tensors", "own"), ("catboost-text-column", "own"),
    ],
)  # fmt: skip
def test_the_server_conforms(model: str, grpc_server: str, zoo: Callable[[str], Path], tmp_path: Path) -> None:
    with in_thread(None if model == "demo" else zoo(model), model_name="m", grpc_server=grpc_server) as server:
        version = server.get("/v2/models/m").json()["versions"][0]
        sample = tmp_path / "sample.json"
        sample.write_text(json.dumps(server.get("/schema").json()["samples"]["v2"]["body"]))
        options = {
            "-p": "no:cacheprovider",
            "-n": "0",
            "--url": server.url,
            "--grpc": server.grpc,
            "--model": "m",
            "--model-version": version,
            "--input": str(sample),
        }
        arguments = [part for option in options.items() for part in option]
        report = tmp_path / "report"
        with report.open("wb") as output:
            code = spawner.start("pytest", str(SUITE), "-q", "--destructive", *arguments, output=output).wait(240)
    assert code == 0, report.read_text()[-6000:]
