"""The prediction log: complete records of every protocol and path, and no silent losses."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from hmac import digest
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from moto.server import ThreadedMotoServer

from loadtest.peers.ports import free_port
from predictors.features.demo import build
from predictors.prediction_log.log import PredictionLogger
from predictors.prediction_log.parquet import arrow_array, folder_name
from predictors.prediction_log.privacy import Privacy
from predictors.prediction_log.table import Table, cells, inputs_of, outputs_of
from predictors.protocol.batch import Batch, Prediction
from predictors.serving.startup import read_settings
from predictors.signature.fields import field_of
from predictors.signature.plan import SignaturePlan
from predictors.telemetry.metrics import metrics
from tests.predictors.features import test_served as featured
from tests.predictors.parity import WAYS, Tensors, assert_same, cell, leaves, parsed, ways_of
from tests.predictors.prediction_log.logged import basic, files, ids, receiving, records, rows, waiting
from tests.serving import Running, in_thread, process, wait_for, wait_ready, workers_of
from tests.zoo import BY_ID

ROW = [64.2, 0.21, 3, 0.4]
REQUEST = {"instances": [ROW]}
RECORD = {"temperature": 64.2, "vibration": 0.21, "months_since_service": 3, "load": 0.4}
PROTOCOLS = {"V1": "v1", "V2": "v2", "gR": "grpc", "/i": "invocations"}
CASES = [
    "sklearn-logistic", "sklearn-no-signature", "sklearn-tensor", "sklearn-forest-text-labels", "sklearn-two-targets",
    "sklearn-pipeline-mixed-columns", "pyfunc-nested-types", "pyfunc-datetime-binary-optional", "pyfunc-named-tensors",
    "pyfunc-nan-and-infinity", "pyfunc-type-hints",
]  # fmt: skip


@pytest.fixture(autouse=True)
def frequent_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers in this process flush so often that tests need not wait."""
    monkeypatch.setattr("predictors.prediction_log.log.FLUSH_INTERVAL", 0.05)


def by_column(sample: Any) -> dict[str, Any]:
    """A sample by its column names in the log."""
    if isinstance(sample, (pd.DataFrame, dict)):
        return {f"input.{name}": list(sample[name]) for name in sample}
    return {"input.input-0": list(sample)}


@pytest.mark.parametrize("case_id", CASES)
def test_inputs_and_outputs_of_every_protocol_are_written(
    zoo: Callable[[str], Path], tmp_path: Path, case_id: str
) -> None:
    case = BY_ID[case_id]
    sample, replies = case.sample(), {}
    with in_thread(zoo(case_id), prediction_log=str(tmp_path), model_version="v/7".replace("/", "-")) as server:
        for way in ways_of(case):
            server.client.headers["x-request-id"] = way.replace(" ", "-")
            replies[way] = WAYS[way](server, sample)
    log = rows(tmp_path)
    assert len(log) == len(sample if not isinstance(sample, dict) else next(iter(sample.values()))) * len(replies)
    for way, reply in replies.items():
        mine = [one for one in log if one["request_id"] == way.replace(" ", "-") or (one["protocol"], way) == ("grpc", "gRPC")]  # fmt: skip
        assert [one["row"] for one in mine] == list(range(len(mine)))
        assert {(one["model"], one["version"], one["protocol"]) for one in mine} == {
            ("model", "v-7", PROTOCOLS[way[:2]])
        }
        assert all(one["latency_ms"] > 0 for one in mine)
        expected = by_column(sample)
        if case_id == "sklearn-no-signature":
            expected = {f"input.{i}": list(sample[:, i]) for i in range(sample.shape[1])}
        assert {name for name in mine[0] if name.startswith("input.")} == set(expected)
        for name, values in expected.items():
            assert cell([parsed(one[name]) for one in mine]) == cell(values), (way, name)
        outputs = Tensors({name[7:]: [one[name] for one in mine] for name in mine[0] if name.startswith("output.")})
        if not isinstance(reply, Tensors):
            assert_same(outputs, reply, way)
        for name in outputs if isinstance(reply, Tensors) else ():
            same = [leaves([parsed(item) for item in one[name]]) for one in (outputs, reply)]
            assert same[0] == same[1], (way, name)
        probabilities = [name for name in mine[0] if name.startswith("probability.")]
        assert bool(probabilities) == case.probabilities
        assert all(sum(one[name] for name in probabilities) == pytest.approx(1) for one in mine if probabilities)


def test_types_are_those_of_the_signature(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    record = {"amount": 1, "count": 2, "member": True, "city": "Ulm"}
    with in_thread(zoo("sklearn-pipeline-mixed-columns"), prediction_log=str(tmp_path)) as server:
        assert server.predict({"instances": [record]}).status_code == 200
    (file,) = files(tmp_path)
    types = {name: str(kind) for name, kind in zip(pq.read_schema(file).names, pq.read_schema(file).types, strict=True)}
    assert types["time"] == "timestamp[us, tz=UTC]"
    inputs = [types[f"input.{name}"] for name in record]
    assert inputs == ["double", "int64", "bool", "string"]


def test_an_optional_column_is_always_written(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    record = {"at": "2026-01-02T03:04:05", "data": "AAE="}
    with in_thread(zoo("pyfunc-datetime-binary-optional"), prediction_log=str(tmp_path)) as server:
        for one in (record, {**record, "maybe": 2.5}, {**record, "maybe": None}):
            assert server.predict({"instances": [one]}).status_code == 200
    log = rows(tmp_path)
    assert len(files(tmp_path)) == 1
    assert [cell(one["input.maybe"]) for one in log] == [None, 2.5, None]
    assert {one["input.data"] for one in log} == {b"\x00\x01"}


def test_large_requests_and_other_methods_are_written_and_errors_are_not(tmp_path: Path) -> None:
    many = [[i, *ROW[1:]] for i in range(3000)]
    with in_thread(None, prediction_log=str(tmp_path)) as server:
        assert server.predict({"instances": many}).status_code == 200
        assert server.predict({**REQUEST, "parameters": {"method": "predict_proba"}}).status_code == 200
        assert server.predict({"instances": [["x", 1, 1, 1]]}).status_code == 400
        assert server.post("/v1/models/other:predict", REQUEST).status_code == 404
    log = rows(tmp_path)
    assert [one["input.temperature"] for one in log[:3000]] == [row[0] for row in many]
    assert len(log) == 3001
    assert log[-1]["method"] == "predict_proba"
    assert sum(log[-1]["output.predict_proba"]) == pytest.approx(1)


def test_requests_without_rows_leave_no_file_anywhere(tmp_path: Path) -> None:
    """V2 accepts empty tensors."""
    tensor = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float64), (-1, 2))]))
    empty = {"name": "x", "shape": [0, 2], "datatype": "FP64", "data": []}
    log = tmp_path / "log"
    with in_thread(saved(tmp_path / "m", Rows(), tensor), prediction_log=str(log), model_name="empty") as server:
        assert server.infer({"inputs": [empty]}).status_code == 200
        wait_for(lambda: records(server, "written") == 1)
    assert not list(log.rglob("*"))


def test_readers_read_the_folder_as_one_dataset(tmp_path: Path) -> None:
    with in_thread(None, prediction_log=f"file://{tmp_path}/log") as server:
        for _ in range(3):
            server.predict(REQUEST)
    frame = pd.read_parquet(tmp_path / "log")
    assert len(frame) == 3
    today = f"{frame['time'].dt.date.iloc[0]}"
    assert set(frame["date"].astype(str)) == {today}
    assert ds.dataset(tmp_path / "log" / "model" / "1", partitioning="hive").count_rows() == 3


@pytest.mark.parametrize(
    ("name", "folder"), [("..", "%2E."), ("_hidden", "%5Fhidden"), (".hidden", "%2Ehidden"), ("v 1/2", "v%201%2F2")]
)
def test_folders_are_below_the_logs_and_not_hidden(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_long_names_are_cut() -> None:
    assert len(folder_name("ü" * 100)) == 200


def test_a_share_of_the_requests(tmp_path: Path) -> None:
    """On the fast path and on the slow path; six standard deviations are 42."""
    with in_thread(None, prediction_log=str(tmp_path), prediction_log_sample=0.5) as server:
        for _ in range(200):
            server.predict(REQUEST)
            server.predict({**REQUEST, "parameters": {"method": "predict_proba"}})
        assert server.predict(REQUEST).headers["x-request-id"]
    methods = [one["method"] for one in rows(tmp_path)]
    assert 57 < methods.count("predict") < 143
    assert 57 < methods.count("predict_proba") < 143


def test_columns_that_are_excluded_or_hashed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "key").write_text("a key of ours\n")
    hidden: dict[str, Any] = {
        "prediction_log_exclude": frozenset({"load", "output.predictions", "lod", "time"}),
        "prediction_log_hash": frozenset({"input.temperature", "months_since_service"}),
    }
    with in_thread(None, prediction_log=str(tmp_path / "plain"), **hidden) as server:
        server.predict(REQUEST)
    with in_thread(
        None, prediction_log=str(tmp_path / "keyed"), prediction_log_hash_key_file=str(tmp_path / "key"), **hidden
    ) as server:
        server.predict(REQUEST)
    (plain,), (keyed,) = rows(tmp_path / "plain"), rows(tmp_path / "keyed")
    assert "input.load" not in plain
    assert "output.predictions" not in plain
    assert plain["time"]
    assert plain["input.vibration"] == 0.21
    assert plain["input.temperature"] == sha256(b"64.2").hexdigest()
    assert plain["input.months_since_service"] == sha256(b"3").hexdigest()
    assert keyed["input.months_since_service"] == digest(b"a key of ours", b"3", "sha256").hex()
    assert "version 1 has no column lod, time to exclude or hash; it has input.temperature" in caplog.text


@pytest.mark.parametrize(
    "row", [[64.2, 0.21, 3, 0.4, "SECRET"], {"customer": {"load": "SECRET"}, "kind": "a"}, {"rows": [["SECRET"]]}]
)
def test_what_does_not_fit_the_signature_hides_nothing_in_json(row: Any) -> None:
    """A subclass may take rows of any shape."""
    plan = SignaturePlan(inputs=(field_of({"type": "double", "name": "load", "required": True}),))
    inputs, types = inputs_of(plan, Batch(rows=[row]))
    assert "SECRET" in str(inputs)
    table = Table("1", [1], {f"input.{name}": values for name, values in inputs.items()}, types)
    assert "SECRET" in str(Privacy((), ()).applied(table).columns)
    assert set(Privacy(("load",), ()).applied(table).columns) <= {"input.kind"}


def test_equal_values_have_equal_hashes_and_nulls_none(tmp_path: Path) -> None:
    """Also if another row of the request lacks the value, which turns integers into floats."""
    schema = Schema([ColSpec("long", "count", required=False), ColSpec("datetime", "at", required=False)])
    model = saved(tmp_path / "m", Rows(), ModelSignature(inputs=schema))
    hidden = frozenset({"count", "at"})
    with in_thread(model, prediction_log=str(tmp_path / "log"), prediction_log_hash=hidden) as server:
        one = {"count": 7, "at": "2026-01-02T03:04:05"}
        for instances in ([one], [one, {"count": None, "at": None}]):
            assert server.predict({"instances": instances}).status_code == 200
    written = [(row["input.count"], row["input.at"]) for row in rows(tmp_path / "log")]
    hashes = sha256(b"7").hexdigest(), sha256(b"2026-01-02T03:04:05").hexdigest()
    assert written == [hashes, hashes, (None, None)]


class Rows(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Numbers the rows, and overwrites its input."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        count = len(model_input)
        if isinstance(model_input, np.ndarray):
            model_input[:] = 0
        return np.arange(count)


class Sums(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Returns the same array each time."""

    memory = np.zeros(2)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        self.memory[:] = model_input.sum(axis=1)
        return self.memory


def saved(folder: Path, model: Any, signature: Any) -> Path:
    mlflow.pyfunc.save_model(str(folder), python_model=model, signature=signature, pip_requirements=[])
    return folder


def test_a_model_that_overwrites_its_input_does_not_overwrite_the_log(tmp_path: Path) -> None:
    data = np.array([[1.5, 2.0], [3.0, 4.0]])
    tensor = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float64), (-1, 2))]))
    with in_thread(saved(tmp_path / "m", Rows(), tensor), prediction_log=str(tmp_path / "log")) as server:
        for way in ("V1 rows", "V2 JSON", "V2 binary", "gRPC", "/invocations inputs"):
            WAYS[way](server, data)
    assert [row["input.input-0"] for row in rows(tmp_path / "log")] == data.tolist() * 5


def test_a_model_that_overwrites_its_answers_does_not_overwrite_the_log(tmp_path: Path) -> None:
    tensor = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float64), (-1, 2))]))
    with in_thread(saved(tmp_path / "m", Sums(), tensor), prediction_log=str(tmp_path / "log")) as server:
        for first in range(5):
            instances = [[first, 0.5], [first, 1.5]]
            assert server.predict({"instances": instances}).json()["predictions"] == [first + 0.5, first + 1.5]
    logged = [row["output.predictions"] for row in rows(tmp_path / "log")]
    assert logged == [first + extra for first in range(5) for extra in (0.5, 1.5)]


def test_another_version_begins_another_file(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    log, served = tmp_path / "log", tmp_path / "model"
    served.symlink_to(zoo("sklearn-logistic"))
    with in_thread(served, prediction_log=str(log), allow_signature_change=True) as server:
        assert server.predict({"instances": [[1, 2, 3, 4]]}).status_code == 200
        served.unlink()
        served.symlink_to(zoo("sklearn-linear-regression"))
        assert server.post("/v2/repository/models/model/load").status_code == 200
        assert server.predict({"instances": [[1, 2, 3, 4]]}).status_code == 200
    names = [set(pq.read_schema(file).names) for file in files(log)]
    assert sorted("probability.0" in one for one in names) == [False, True]


@pytest.mark.slow
def test_looked_up_features_are_logged(tmp_path: Path) -> None:
    log, repository = tmp_path / "log", build(tmp_path / "feast")
    with in_thread(featured.saved(tmp_path / "m"), feast_repo_path=str(repository), prediction_log=str(log)) as server:
        for way in ("v1", "v2", "grpc", "split"):
            featured.WAYS[way](server)
    written = rows(log)
    assert [one["protocol"] for one in written] == ["v1"] * 2 + ["v2"] * 2 + ["grpc"] * 2 + ["invocations"] * 2
    for i, one in enumerate(written):
        assert {name[6:]: one[name] for name in one if name.startswith("input.")} == featured.EXPECTED[i % 2]
        entity = (featured.ADA, featured.GRACE)[i % 2]
        assert {name: one[f"entity.{name}"] for name in ("driver_id", "customer_id")} == {
            name: entity[name] for name in ("driver_id", "customer_id")
        }
    assert len(files(log)) == 1


PROGRAM = """
import sys
from predictors.server import Server
from predictors.pipeline.settings import Settings
from predictors.sklearn import SklearnModel
from predictors.storage.source import DEMO

class Own(SklearnModel):
    def preprocess(self, payload, headers=None):
        if isinstance(payload, dict):
            rows = payload.pop("rows", None) or payload["instances"]
            for row in rows:
                row[0] = 91.5
            payload["instances"] = rows
        return payload

    def postprocess(self, result, headers=None, response_headers=None):
        if isinstance(result, dict):
            result["predictions"] = [f"class {one}" for one in result["predictions"]]
        return result

http, grpc, log = sys.argv[1:]
sys.argv = sys.argv[:1]
settings = Settings(
    model_name="own", host="127.0.0.1", http_port=int(http), grpc_port=int(grpc), prediction_log=log
)
Server(settings).start([Own("own", str(DEMO), settings=settings)])
"""


def test_a_subclass_with_hooks(tmp_path: Path) -> None:
    """The log holds what callers sent and got, even if hooks change it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    http, rpc = free_port(), free_port()
    with (tmp_path / "output").open("wb") as output:
        command = [sys.executable, str(tmp_path / "program.py"), str(http), str(rpc), str(tmp_path / "log")]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        server_process = subprocess.Popen(command, stdout=output, stderr=output, env=env)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{http}") as client:
            server = Running(str(client.base_url), f"127.0.0.1:{rpc}", "own", client)
            wait_ready(client, lambda: server_process.poll() is not None and (tmp_path / "output").read_text())
            replies = [server.predict(REQUEST).json(), server.predict({"rows": [ROW]}).json()]
            WAYS["V2 JSON"](server, pd.DataFrame([RECORD]))
            WAYS["gRPC"](server, pd.DataFrame([RECORD]))
    finally:
        server_process.terminate()
        assert server_process.wait(30) == 0
    written = rows(tmp_path / "log")
    assert [one["protocol"] for one in written] == ["v1", "v1", "v2", "grpc"]
    assert [one.get("input.temperature") for one in written] == [64.2, None, 64.2, 64.2]
    assert parsed(written[1]["input.rows"]) == [ROW]
    assert [one["output.predictions"] for one in written[:2]] == [one["predictions"][0] for one in replies]
    assert {one["output.predictions"] for one in written[2:]} == {0}
    assert written[0]["probability.1"] == replies[0]["probabilities"][0][1]


# -- other sinks ------------------------------------------------------------------------------------------------


def test_lines_on_stdout(tmp_path: Path) -> None:
    with process(tmp_path, "--prediction-log", "stdout", "--workers", "2") as server:
        server.running.client.headers["x-request-id"] = "order-17"
        reply = server.running.predict({"instances": [ROW, ROW]}).json()
        with ThreadPoolExecutor(8) as callers:
            statuses = [one.status_code for one in callers.map(lambda _: server.running.predict(REQUEST), range(200))]
        assert set(statuses) == {200}
        assert server.terminate() == 0
    written = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert len(written) == 202
    first = min(written, key=lambda one: one["time"])
    assert {**first, "row": 0, "latency_ms": 0, "time": ""} == {
        "time": "", "request_id": "order-17", "model": "model", "version": "1", "role": "model", "protocol": "v1",
        "method": "predict", "row": 0, "latency_ms": 0, "inputs": RECORD, "outputs": {"predictions": reply["predictions"][0]},
        "probabilities": reply["probabilities"][0],
    }  # fmt: skip
    assert pd.Timestamp(first["time"]).tzinfo is not None


def test_cloud_events_as_kserves_logger_sends_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), receiving() as receiver:
        receiver.answers = [503, 200, 500]
        url = receiver.url.replace("http://", "http://me:pass%20word@")
        with in_thread(None, prediction_log=url, model_name="fraud") as server:
            server.client.headers["x-request-id"] = "order-17"
            reply = server.predict({"instances": [ROW, ROW]}).json()
            wait_for(lambda: records(server, "written") == 1)
        (request,), (response,) = receiver.of_kind("request"), receiver.of_kind("response")
    assert request.headers.items() >= {
        "ce-id": "order-17", "ce-type": "org.kubeflow.serving.inference.request", "ce-specversion": "1.0",
        "ce-inferenceservicename": "fraud", "ce-namespace": "default", "ce-component": "predictor",
        "ce-endpoint": "default", "content-type": "application/json", "authorization": basic("me:pass word"),
    }.items()  # fmt: skip
    assert request.headers["ce-source"].startswith("http://")
    assert response.headers["ce-id"] == "order-17"
    assert request.body == {"instances": [RECORD, RECORD]}
    assert response.body.items() >= reply.items()
    lines = [record.getMessage() for record in caplog.records if "prediction log" in record.getMessage()]
    assert lines
    assert not any("pass" in line for line in lines)


def test_an_event_that_is_refused_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A redirect counts as a refusal: events go to no other server."""
    with receiving() as receiver, in_thread(None, prediction_log=receiver.url, model_name="turned-away") as server:
        for number, status in enumerate((400, 307), 1):
            receiver.answers = [status]
            server.predict(REQUEST)
            wait_for(lambda number=number: records(server, "failed") == number)
        assert not receiver.events
        server.client.headers["x-request-id"] = '50%"off"'
        server.predict(REQUEST)
        wait_for(lambda: records(server, "written") == 1)
        assert [one.headers["ce-id"] for one in receiver.events] == ["50%25%22off%22"] * 2
    assert "an event was not accepted: 127.0.0.1:" in caplog.text


def test_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    for name, text in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "SECRET",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, text)
    try:
        client = boto3.client("s3")
        client.create_bucket(Bucket="logs")
        with process(tmp_path, "--prediction-log", "s3://logs/by/model") as server:
            sent = [server.running.predict(REQUEST).headers["x-request-id"] for _ in range(20)]
            assert server.terminate() == 0
        (only,) = client.list_objects_v2(Bucket="logs")["Contents"]
        assert only["Key"].startswith("by/model/model/1/date=")
        client.download_file("logs", only["Key"], str(tmp_path / "copy.parquet"))
        assert ids(tmp_path) == sent
        assert "SECRET" not in server.log
    finally:
        store.stop()


def test_another_store_of_fsspec(tmp_path: Path) -> None:
    with in_thread(None, prediction_log=f"local://{tmp_path}/log") as server:
        server.predict(REQUEST)
    assert len(rows(tmp_path / "log")) == 1


# -- shutdown and failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_nothing_is_lost_on_sigterm(tmp_path: Path, workers: str) -> None:
    log = tmp_path / "log"
    with process(tmp_path, "--prediction-log", str(log), "--workers", workers) as server:
        with ThreadPoolExecutor(8) as callers:
            sent = list(callers.map(lambda _: server.running.predict(REQUEST).headers["x-request-id"], range(500)))
        assert server.terminate() == 0
    assert sorted(ids(log)) == sorted(sent)
    assert len(set(sent)) == 500


@pytest.mark.slow
def test_files_are_complete_or_absent_whoever_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    flags = ("--prediction-log", str(log), "--prediction-log-max-age", "0.1", "--workers", "2")
    with process(tmp_path, *flags) as server:

        def call(caller: int) -> None:
            for i in count():
                try:
                    path, headers = "/v1/models/model:predict", {"x-request-id": f"{caller}-{i}"}
                    server.running.post(path, REQUEST, headers=headers)
                except httpx.TransportError:  # the server has been killed
                    return

        with ThreadPoolExecutor(4) as callers:
            for caller in range(4):
                callers.submit(call, caller)
            try:
                wait_for(lambda: len(files(log)) > 3)
            finally:
                for pid in (server.process.pid, *workers_of(server)):
                    os.kill(pid, signal.SIGKILL)
    written = ids(log)
    assert len(written) == len(set(written)) > 0
    (log / ".partial").mkdir(exist_ok=True)
    old, new = log / ".partial" / "old.parquet", log / ".partial" / "new.parquet"
    for one in (old, new):
        one.write_bytes(b"PAR1")
    os.utime(old, (time.time() - 3600,) * 2)
    with in_thread(None, prediction_log=str(log)) as restarted:
        restarted.predict(REQUEST)
    assert not old.exists()
    assert new.exists()  # it may be that of another server


def test_files_are_finished_by_age_and_by_size(tmp_path: Path) -> None:
    with in_thread(None, prediction_log=str(tmp_path / "age"), prediction_log_max_age=0.1, model_name="aged") as server:
        server.predict(REQUEST)
        wait_for(lambda: records(server, "written") >= 1)
        assert len(rows(tmp_path / "age")) == 1
    with in_thread(
        None, prediction_log=str(tmp_path / "size"), prediction_log_max_size=100_000, model_name="grown"
    ) as server:
        for _ in range(5):
            server.predict({"instances": [ROW] * 500})
        wait_for(lambda: files(tmp_path / "size"))
    assert len(rows(tmp_path / "size")) == 2500


def test_a_disk_that_fails_and_recovers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = tmp_path / "log"
    with in_thread(None, prediction_log=str(log), prediction_log_max_age=0.1) as server:
        log.write_text("not a folder")
        sent = [server.predict(REQUEST).headers["x-request-id"]]
        wait_for(lambda: "a file cannot be written and is retried" in caplog.text)
        assert server.get("/health/ready").status_code == 200
        log.unlink()
        sent.append(server.predict(REQUEST).headers["x-request-id"])
        wait_for(lambda: sorted(ids(log)) == sorted(sent))


def test_a_disk_that_recovers_at_shutdown_gets_all_records(tmp_path: Path) -> None:
    """Files that wait for a retry, and the records in the queue behind them."""
    log = tmp_path / "log"
    with in_thread(None, prediction_log=str(log), prediction_log_max_size=300, model_name="late") as server:
        log.write_text("not a folder")
        sent: list[str] = []

        def is_stuck() -> bool:
            sent.append(server.predict(REQUEST).headers["x-request-id"])
            return waiting(server) > 1

        wait_for(is_stuck)
        log.unlink()
    assert sorted(ids(log)) == sorted(sent)


def test_a_sink_that_hangs_does_not_slow_requests(caplog: pytest.LogCaptureFixture) -> None:
    with (
        receiving() as receiver,
        in_thread(None, prediction_log=receiver.url, prediction_log_queue=10, model_name="hung") as server,
    ):
        receiver.open.clear()
        server.predict(REQUEST)
        receiver.requested.wait(10)
        for _ in range(50):
            assert server.predict(REQUEST).status_code == 200
        assert records(server, "dropped") == 51 - 10
        assert waiting(server) == 10
        assert server.get("/health/ready").status_code == 200
        assert "the queue is full (--prediction-log-queue); records dropped: 1" in caplog.text
        receiver.open.set()
        wait_for(lambda: waiting(server) == 0)
        server.predict(REQUEST)
        wait_for(lambda: records(server, "written") == 11)
        assert len(receiver.of_kind("response")) == 11
    assert "records dropped: 40" in caplog.text


@pytest.mark.parametrize(("size", "together"), [(100, 256), (100_000, 3), (2_000_000, 1)])
def test_few_large_requests_are_converted_together(size: int, together: int) -> None:
    """Each step of a conversion blocks requests."""
    log = PredictionLogger.__new__(PredictionLogger)
    log.queue = deque(SimpleNamespace(size=size) for _ in range(1000))  # type: ignore[misc]  # only sizes matter
    assert len(log.next_chunk()) == together


def test_a_record_that_cannot_be_converted_fails_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(prediction: Prediction, rows: int) -> Any:
        if rows == 3:
            raise ValueError("SECRET")
        return outputs_of(prediction, rows)

    monkeypatch.setattr("predictors.prediction_log.table.outputs_of", broken)
    monkeypatch.setattr("predictors.prediction_log.log.FLUSH_INTERVAL", 60)  # all are converted together, at the end
    with in_thread(None, prediction_log=str(tmp_path), model_name="alone") as server:
        for count in (1, 3, 2):
            assert server.predict({"instances": [ROW] * count}).status_code == 200
        failed = metrics().log_records.labels("alone", "failed")
    assert [one["row"] for one in rows(tmp_path)] == [0, 0, 1]
    assert failed._value.get() == 1


def test_bytes_limit_the_queue_too() -> None:
    many = {"instances": [ROW] * 100}
    with (
        receiving() as receiver,
        in_thread(None, prediction_log=receiver.url, prediction_log_queue_bytes=20_000, model_name="bytes") as server,
    ):
        receiver.open.clear()
        for _ in range(20):
            server.predict(many)
        size = len(json.dumps(many)) + len(server.predict(many).content)
        dropped = records(server, "dropped")
        assert dropped == pytest.approx(21 - 20_000 // size, abs=1)
        receiver.open.set()
        wait_for(lambda: waiting(server) == 0)
        server.predict(many)  # there is room again
        wait_for(lambda: records(server, "written") == 22 - dropped)
        assert records(server, "dropped") == dropped


@pytest.mark.slow
def test_records_that_cannot_be_written_before_shutdown_are_logged(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.open.clear()
        flags = ("--prediction-log", receiver.url, "--grace-period", "1", "--model-name", "lost")
        with process(tmp_path, *flags) as server:
            for _ in range(3):
                assert server.running.predict(REQUEST).status_code == 200
            assert receiver.requested.wait(10)
            started = time.monotonic()
            assert server.terminate() == 0
            assert time.monotonic() - started < 8
    assert "prediction log: 3 records could not be written before the process ended; they are lost" in server.log


def test_an_endpoint_that_is_not_up_yet(tmp_path: Path) -> None:
    port = free_port()
    with in_thread(None, prediction_log=f"http://127.0.0.1:{port}/logs", model_name="early") as server:
        server.predict(REQUEST)
        with receiving(port) as receiver:
            server.predict(REQUEST)
            wait_for(lambda: len(receiver.of_kind("response")) == 2)


# -- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--prediction-log-sample=2"], "--prediction-log-sample: '2' is not usable: expected a number from 0 to 1"),
        (["--prediction-log-max-size=0"], "--prediction-log-max-size: '0' is not usable: expected a size"),
        (["--prediction-log=http:///x"], "--prediction-log: expected a URL with a host"),
        (["--prediction-log=gopher://u:SECRET@x"], "--prediction-log: no installed package writes to gopher://"),
        (["--prediction-log=/proc/nowhere"], "--prediction-log: cannot write to /proc/nowhere: "),
        (["--prediction-log-hash=a,b", "--prediction-log-exclude=b"], "both name b"),
        (["--prediction-log-hash-key-file=/dev/null"], "--prediction-log-hash-key-file needs --prediction-log-hash"),
        (["--prediction-log-hash=a", "--prediction-log-hash-key-file=/dev/null"], "/dev/null is empty"),
        (["--prediction-log-hash=a", "--prediction-log-hash-key-file=/no/key"], "/no/key cannot be read: No such file"),
    ],
)
def test_invalid_settings(capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as end:
        read_settings(flags, {})
    assert end.value.code == 2
    output = capsys.readouterr().err
    assert words in output
    assert output.count("\n") == 2
    assert "SECRET" not in output


# -- columns ----------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.lists(JSON, min_size=1, max_size=8))
def test_a_column_of_any_values_is_written_as_plain_values_or_json(values: list[Any]) -> None:
    column = arrow_array(cells(values), None)
    written = column.to_pylist()
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) > 1 or kinds & {list, dict}:
        assert column.type in (pa.string(), pa.float64())
    if column.type == pa.string() and kinds != {str}:
        written = [None if text is None else json.loads(text) for text in written]
    assert written == values


@given(arrays.arrays(arrays.integer_dtypes(endianness="=") | arrays.floating_dtypes(endianness="=") | arrays.boolean_dtypes(),
                     arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)))  # fmt: skip
def test_a_tensor_is_written_as_nested_lists(values: np.ndarray[Any, Any]) -> None:
    assert cell(arrow_array(values, None).to_pylist()) == cell(values.tolist())
