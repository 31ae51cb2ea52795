"""MLflow's own protocol, side by side with MLflow's own server."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from loadtest.peers.ports import free_port
from tests.predictors.parity import records
from tests.serving import Running, answers, in_thread, wait_for
from tests.zoo.case import few, mixed

SAMPLE = few(mixed())
SPLIT = {"columns": list(SAMPLE), "data": [list(record.values()) for record in records(SAMPLE)]}
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def mlflow_server(zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    port = free_port()
    model = str(zoo("sklearn-pipeline-mixed-columns"))
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        model,
        "-p",
        str(port),
        "--env-manager",
        "local",
    ]
    log = (tmp_path_factory.mktemp("mlflow") / "log").open("wb")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it starts uvicorn by name
    process = subprocess.Popen(
        command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PATH": path}
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_for(lambda: answers(client, "/ping") == 200, lambda: process.poll() is not None and "mlflow ended")
            yield client
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def parquet() -> bytes:
    file = io.BytesIO()
    SAMPLE.to_parquet(file)
    return file.getvalue()


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("dataframe_split", {"json": {"dataframe_split": SPLIT}}),
    ("dataframe_split with an index", {"json": {"dataframe_split": SPLIT | {"index": [3, 1, 4, 1, 5]}}}),
    ("dataframe_records", {"json": {"dataframe_records": records(SAMPLE)}}),
    ("instances", {"json": {"instances": records(SAMPLE)}}),
    ("inputs", {"json": {"inputs": {name: SAMPLE[name].tolist() for name in SAMPLE}}}),
    ("CSV", {"content": SAMPLE.to_csv(index=False), "headers": {"Content-Type": "text/csv"}}),
    ("Parquet", {"content": parquet(), "headers": {"Content-Type": PARQUET}}),
]
BAD: list[tuple[str, dict[str, Any]]] = [
    ("no form", {"json": {"rows": []}}),
    ("two forms", {"json": {"instances": [], "inputs": []}}),
    ("missing column", {"json": {"dataframe_records": [{"amount": 1.0}]}}),
    ("malformed JSON", {"content": "{", "headers": {"Content-Type": "application/json"}}),
    ("unknown content type", {"content": "x", "headers": {"Content-Type": "text/plain"}}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "request_"), GOOD, ids=[name for name, _ in GOOD])
def test_the_same_answers_as_mlflow(
    mlflow_server: httpx.Client, mixed: Running, name: str, request_: dict[str, Any]
) -> None:
    theirs, ours = mlflow_server.post("/invocations", **request_), mixed.client.post("/invocations", **request_)
    assert (ours.status_code, theirs.status_code) == (200, 200), ours.text
    assert ours.json() == theirs.json()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "request_"), BAD, ids=[name for name, _ in BAD])
def test_the_same_refusals_as_mlflow(
    mlflow_server: httpx.Client, mixed: Running, name: str, request_: dict[str, Any]
) -> None:
    theirs, ours = mlflow_server.post("/invocations", **request_), mixed.client.post("/invocations", **request_)
    assert ours.status_code == theirs.status_code
    assert set(ours.json()) == {"error_code", "message"}
    if theirs.headers["content-type"].startswith("application/json"):
        assert ours.json()["error_code"] == theirs.json()["error_code"]


@pytest.mark.slow
def test_the_other_routes_of_mlflow(mlflow_server: httpx.Client, mixed: Running) -> None:
    for path in ("/ping", "/version"):
        assert mixed.get(path).text == mlflow_server.get(path).text


def test_every_form_gives_the_same(mixed: Running) -> None:
    replies = [mixed.client.post("/invocations", **request).json() for _, request in GOOD]
    assert all(reply == replies[0] for reply in replies)
    assert set(replies[0]) == {"predictions"}


def test_numbers_that_are_text_stay_text_in_csv(moments: Running, mixed: Running) -> None:
    body = "amount,count,member,city\n0.1,1,True,007\n0.1,1,False,7\n"
    response = mixed.post("/invocations", content=body.encode(), headers={"Content-Type": "text/csv"})
    first = mixed.post("/invocations", {"dataframe_records": [
        {"amount": 0.1, "count": 1, "member": True, "city": "007"},
        {"amount": 0.1, "count": 1, "member": False, "city": "7"},
    ]})  # fmt: skip
    assert response.json() == first.json()
    csv = "at,data,maybe\n2024-01-01T00:00:00Z,AAE=,\n"
    reply = moments.post("/invocations", content=csv.encode(), headers={"Content-Type": "text/csv"}).json()
    assert reply == {"predictions": [{"at": "2024-01-01T00:00:00.000000", "size": 2, "maybe": None}]}


def test_params(zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo("pyfunc-params")) as server:
        split = {"columns": list("abcd"), "data": [[1.0, 0.0, 0.0, 0.0]]}
        reply = server.post("/invocations", {"dataframe_split": split, "params": {"factor": 5.0}}).json()
        assert reply == {"predictions": [{"a": 7.0}]}


def test_a_method_in_params(demo: Running) -> None:
    rows = {"inputs": [[91.5, 1.05, 41, 0.9]], "params": {"method": "predict_proba"}}
    assert demo.post("/invocations", rows).json()["predictions"][0] == pytest.approx([0.0165476, 0.9834524], abs=1e-6)


def test_zoned_times_in_parquet(moments: Running) -> None:
    frame = pd.DataFrame({"at": pd.to_datetime(["2024-06-01T14:00:00+02:00"]), "data": [b"abc"]})
    file = io.BytesIO()
    frame.to_parquet(file)
    reply = moments.post("/invocations", content=file.getvalue(), headers={"Content-Type": PARQUET}).json()
    assert reply["predictions"][0]["at"] == "2024-06-01T12:00:00.000000"
