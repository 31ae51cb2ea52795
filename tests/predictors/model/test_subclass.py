"""Somebody's own subclass with hooks, on our server and on KServe's."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from loadtest.peers.ports import free_port
from tests.serving import answers, wait_for

PROGRAM = """
import asyncio
import sys

sys.argv, (http, grpc, stock) = sys.argv[:1], sys.argv[1:]

import kserve
from predictors.server import Server
from predictors.pipeline.settings import Settings
from predictors.sklearn import SklearnModel
from predictors.storage.source import DEMO


class Celsius(SklearnModel):
    async def preprocess(self, payload, headers=None):
        if "x-cancel" in (headers or {}):
            raise asyncio.CancelledError
        # Callers send Fahrenheit; the model learnt Celsius-like numbers.
        if isinstance(payload, dict):
            rows = [[(row[0] - 32) / 1.8, *row[1:]] for row in payload["instances"]]
            return {**payload, "instances": rows}
        matrix = payload.inputs[0].as_numpy().copy()
        matrix[:, 0] = (matrix[:, 0] - 32) / 1.8
        payload.inputs[0].set_data_from_numpy(matrix)
        return payload

    async def postprocess(self, result, headers=None, response_headers=None):
        if isinstance(result, dict):
            result["unit"] = (headers or {}).get("x-unit", "F")
        else:
            result.id = "seen"
        return result

    def explain(self, payload, headers=None):
        return {"explanations": [len(payload["instances"])]}


settings = Settings(model_name="own", host="127.0.0.1", http_port=int(http), grpc_port=int(grpc))
model = Celsius("own", str(DEMO), settings=settings)
if stock == "stock":
    model.load()
    kserve.ModelServer(http_port=int(http), grpc_port=int(grpc)).start([model])
else:
    Server(settings).start([model])
"""
HOT = [[(91.5 * 1.8) + 32, 1.05, 41, 0.9]]


@pytest.fixture(scope="module", params=["ours", "stock"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    folder: Path = tmp_path_factory.mktemp("own")
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM))
    http, rpc = free_port(), free_port()
    with (folder / "log").open("wb") as log:
        command = [sys.executable, str(folder / "program.py"), str(http), str(rpc), request.param]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{http}"
    try:
        with httpx.Client(base_url=url) as client:
            failed: Any = lambda: process.poll() is not None and (folder / "log").read_text()  # noqa: E731
            wait_for(lambda: answers(client, "/v2/models/own/ready") == 200, failed)
        yield request.param, url, f"127.0.0.1:{rpc}"
    finally:
        process.terminate()
        process.wait(30)


def test_v1(server: tuple[str, str, str]) -> None:
    _, url, _ = server
    reply = httpx.post(f"{url}/v1/models/own:predict", json={"instances": HOT}, headers={"x-unit": "fahrenheit"}).json()
    assert reply["predictions"] == [1]
    assert reply["probabilities"][0][1] == pytest.approx(0.98345, abs=1e-4)
    assert reply["unit"] == "fahrenheit"


def test_hooks_that_were_cancelled(server: tuple[str, str, str]) -> None:
    """What they waited for was given up: not by the caller, who gets an answer."""
    which, url, _ = server
    if which == "ours":
        reply = httpx.post(f"{url}/v1/models/own:predict", json={"instances": HOT}, headers={"x-cancel": "yes"})
        assert (reply.status_code, reply.json()) == (503, {"error": "the request was given up in the server"})
        assert reply.headers["x-request-id"]


def test_v1_explain(server: tuple[str, str, str]) -> None:
    _, url, _ = server
    reply = httpx.post(f"{url}/v1/models/own:explain", json={"instances": HOT})
    assert reply.json() == {"explanations": [1], "unit": "F"}


def test_v2_and_grpc(server: tuple[str, str, str]) -> None:
    _, url, rpc = server
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": HOT[0]}
    reply = httpx.post(f"{url}/v2/models/own/infer", json={"inputs": [tensor]}).json()
    assert {one["name"]: one["data"] for one in reply["outputs"]}["predictions"] == [1]
    request = pb.ModelInferRequest(model_name="own")
    request.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(HOT[0])
    with grpc.insecure_channel(rpc) as channel:
        answered = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)
    assert answered.outputs[0].name == "predictions"


def test_mistakes_are_still_the_callers(server: tuple[str, str, str]) -> None:
    _, url, _ = server
    reply = httpx.post(f"{url}/v1/models/own:predict", json={"instances": [[1.0, "x", 1, 1]]})
    assert (reply.status_code, "input 'vibration'" in reply.text) == (400, True)
