"""The end of a server, and of one of its workers: nobody who asks in time goes without an answer."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import pandas as pd
import psutil
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from tests.serving import Running, answers, process, wait_for, workers_of
from tests.zoo.python import save

ROWS = {"instances": [[64.2, 0.21, 3, 0.4]]}
GRPC_ROW = pb.ModelInferRequest(
    model_name="model",
    inputs=[
        pb.ModelInferRequest.InferInputTensor(
            name="rows",
            datatype="FP64",
            shape=[1, 4],
            contents=pb.InferTensorContents(fp64_contents=[64.2, 0.21, 3, 0.4]),
        )
    ],
)
SPINS = """
import ctypes, mlflow

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        if model_input["a"].iloc[0] == 666:
            ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock: nothing in this process moves any more
        return model_input["a"]

mlflow.models.set_model(Model())
"""

LOADS_FOR_LONG = """
import mlflow, time

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        time.sleep(600)

    def predict(self, context, model_input):
        return model_input

mlflow.models.set_model(Model())
"""


def reachable(running: Running) -> bool:
    with httpx.Client(base_url=running.url, timeout=10) as client:
        return answers(client, "/v2/health/live") == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_ends_is_unready_at_once_and_at_work_for_a_while(tmp_path: Path, workers: str) -> None:
    with process(tmp_path, "--workers", workers, "--drain-delay", "3") as server:
        running = server.running
        assert "connection" not in running.predict(ROWS).headers
        stub = pb_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(running.grpc))
        assert stub.ModelInfer(GRPC_ROW, timeout=10).outputs
        server.process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        wait_for(lambda: httpx.get(f"{running.url}/v2/health/ready").status_code == 503)
        assert httpx.get(f"{running.url}/v2/health/live").status_code == 200
        for _ in range(8):
            reply = httpx.post(f"{running.url}/v1/models/model:predict", json=ROWS)
            assert (reply.status_code, reply.headers["connection"]) == (200, "close")
        assert not stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
        assert stub.ModelInfer(GRPC_ROW, timeout=10).outputs
        assert server.process.wait(30) == 0
        assert time.monotonic() - signalled >= 3


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, workers: str) -> None:
    with process(tmp_path, "--workers", workers, "--drain-delay", "600") as server:
        processes = psutil.Process(server.process.pid).children()
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{server.running.url}/v2/health/ready").status_code == 503)
        assert server.terminate(signal.SIGTERM) == 128 + signal.SIGTERM
        assert not [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_from_the_keyboard_there_is_no_delay(tmp_path: Path) -> None:
    with process(tmp_path, "--drain-delay", "600") as server:
        assert server.terminate(signal.SIGINT) == 0


def test_nobody_waits_for_a_server_that_was_never_ready(tmp_path: Path) -> None:
    save(tmp_path / "model", LOADS_FOR_LONG)
    flags = ["--model-uri", str(tmp_path / "model"), "--drain-delay", "600"]
    with process(tmp_path, *flags, ready=False) as server:
        wait_for(lambda: reachable(server.running))
        assert server.terminate() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_fails_while_a_server_leaves(tmp_path: Path, workers: str) -> None:
    """Callers on connections that stay open go elsewhere when they are told to; nothing else happens to them."""
    failures: list[Any] = []
    elsewhere: list[int] = []

    def call(first: Running, second: Running) -> None:
        try:
            with httpx.Client(base_url=first.url, timeout=30) as client:
                reply = client.post("/v1/models/model:predict", json=ROWS)
                while "connection" not in reply.headers:
                    assert reply.status_code == 200
                    reply = client.post("/v1/models/model:predict", json=ROWS)
            for _ in range(20):
                assert httpx.post(f"{second.url}/v1/models/model:predict", json=ROWS).status_code == 200
            elsewhere.append(1)
        except Exception as error:
            failures.append(error)

    (tmp_path / "second").mkdir()
    with (
        process(tmp_path, "--workers", workers, "--drain-delay", "0") as server,
        process(tmp_path / "second") as second,
    ):
        threads = [threading.Thread(target=call, args=(server.running, second.running)) for _ in range(6)]
        for thread in threads:
            thread.start()
        counted = 'model_requests_total{model_name="model",protocol="v1",status="200"}'
        wait_for(lambda: total(server.running, counted) > 100)
        assert server.terminate() == 0
        for thread in threads:
            thread.join(30)
    assert not failures
    assert len(elsewhere) == 6


def total(running: Running, name: str) -> float:
    lines = httpx.get(f"{running.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    save(tmp_path / "model", SPINS, data=pd.DataFrame({"a": [1, 2]}))
    flags = ["--model-uri", str(tmp_path / "model"), "--workers", "2", "--worker-timeout", "3"]
    with process(tmp_path, *flags) as server:
        url = server.running.url
        before = set(workers_of(server))
        with pytest.raises(httpx.TransportError):  # the one request that it was at work on
            httpx.post(f"{url}/v1/models/model:predict", json={"instances": [{"a": 666}]}, timeout=60)
        wait_for(lambda: len(before & set(workers_of(server))) == 1)
        assert "has shown no sign of life for 3 s" in server.log
        wait_for(lambda: len(workers_of(server)) == 2)
        for _ in range(10):
            assert httpx.post(f"{url}/v1/models/model:predict", json={"instances": [{"a": 1}]}).status_code == 200
        assert server.terminate() == 0


def test_the_others_stay_ready_while_one_is_replaced(tmp_path: Path) -> None:
    with process(tmp_path, "--workers", "2") as server:
        url = server.running.url
        for round in range(3):
            wait_for(lambda: len(workers_of(server)) == 2)
            victim = workers_of(server)[round % 2]
            os.kill(victim, signal.SIGKILL)
            statuses = set()
            while len(workers_of(server)) < 2 or victim in workers_of(server):
                statuses.add(httpx.get(f"{url}/v2/health/ready").status_code)
            assert statuses <= {200}, round
        assert server.log.count("ended with status -9; starting another") == 3


SLEEPS = """
import mlflow, time

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        time.sleep(600)

mlflow.models.set_model(Model())
"""


def test_what_outlasts_the_grace_period_is_told_so(tmp_path: Path) -> None:
    save(tmp_path / "model", SLEEPS)
    flags = ["--model-uri", str(tmp_path / "model"), "--grace-period", "1", "--max-threads", "1", "--access-log"]
    with process(tmp_path, *flags) as server, concurrent.futures.ThreadPoolExecutor(3) as pool:
        url = f"{server.running.url}/v1/models/model:predict"
        asked = [pool.submit(httpx.post, url, json=ROWS, timeout=60) for _ in range(3)]
        wait_for(lambda: total(server.running, "model_requests_in_flight") == 3)
        server.terminate()
        for one in asked:
            reply = one.result()
            assert reply.status_code == 503
            assert "shutting down" in reply.json()["error"]
            assert reply.headers["x-request-id"]
            assert reply.headers["x-request-id"] in server.log
        assert server.log.count("'/v1/models/model:predict' 503 ") == 3
        assert "Traceback" not in server.log
