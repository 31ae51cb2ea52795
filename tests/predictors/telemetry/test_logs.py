"""Log lines as a collector reads them: each is one JSON object, whoever speaks and whatever is said."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.telemetry.logs import MAX_LINE, MAX_TEXT, JSONLines, TextLines
from tests.predictors.telemetry.test_ids import PARENT, request
from tests.predictors.watched import SpiedBatcher
from tests.serving import Process, cold_process, command, in_thread, wait_for
from tests.zoo.case import numbers
from tests.zoo.python import model, save

JSON = ("--log-format", "json")
ROWS = {"instances": [[64.2, 0.21, 3, 0.4]]}


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def lines(server: Process, **wanted: Any) -> list[dict[str, Any]]:
    return [one for one in parsed(server.log) if all(one.get(name) == value for name, value in wanted.items())]


# -- one record -----------------------------------------------------------------------------------------------------------


def formatted(message: object, *arguments: object, **extra: object) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": message, "args": arguments, **extra})
    text = JSONLines().format(record)
    assert len(text.splitlines()) == 1
    assert len(text) < 2 * MAX_LINE
    assert text.encode()
    entry: dict[str, Any] = json.loads(text)
    return entry


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.just(object())),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(), st.integers()), inner)),
    max_leaves=8,
)


@given(st.text(st.characters(categories=None)), ANYTHING)
@example("a\nb\x00\u2028\udcff", 2**80)
@example("%d", float("nan"))
def test_any_record_is_one_line_of_json(message: str, value: Any) -> None:
    entry = formatted(message, more=value)
    assert entry["level"] == "info"
    assert isinstance(entry["message"], str)
    assert "more" in entry


def test_what_is_wrong_with_a_record_is_said_in_it() -> None:
    assert "TypeError" in formatted("%d things", "no number")["message"]

    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    assert formatted("x", more=Mute())["more"] == "<Mute>"


def test_long_texts_are_cut() -> None:
    assert len(formatted("x" * 10**6)["message"]) < MAX_TEXT + 100
    assert len(formatted("x", more=["y" * 10**6])["more"]) < MAX_TEXT + 100
    try:
        raise RuntimeError("x" * 10**5 + "the end")
    except RuntimeError:
        entry = formatted("failed", exc_info=sys.exc_info())
    assert len(entry["exception"]) < MAX_TEXT + 100
    assert entry["exception"].endswith("the end")


def test_names_of_ours_stay_ours() -> None:
    assert formatted("x", level="mine", time=3)["level"] == "info"


# -- a process ------------------------------------------------------------------------------------------------------------

TALKS = """
import logging, mlflow, sys, threading, warnings

library = logging.getLogger("library")
library.addHandler(logging.StreamHandler())
library.propagate = False

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        library.warning("a library speaks")
        logging.getLogger("library.part").error("two\\nlines", extra={"what": b"\\xff", "size": 2**70})
        logging.getLogger("mlflow.something").warning("mlflow speaks")
        warnings.warn("a warning")
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()

    def predict(self, context, model_input, params=None):
        if model_input["a"][0] < 0:
            raise RuntimeError("the model's own words")
        library.warning("at work")
        return model_input["a"]

mlflow.models.set_model(Model())
"""


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("talkative")
    save(folder / "model", TALKS, data=numbers())
    with cold_process(folder, "--model-uri", str(folder / "model"), *JSON, "--access-log", "--warm-up=false") as server:
        yield server


def test_whoever_speaks_speaks_json(talkative: Process) -> None:
    entries = {one["message"]: one for one in parsed(talkative.log)}
    assert "a library speaks" in entries
    assert entries["two\nlines"]["logger"] == "library.part"
    assert entries["two\nlines"]["what"] == "b'\\xff'"
    assert entries["mlflow speaks"]["level"] == "warning"
    assert any("UserWarning: a warning" in message for message in entries)
    assert "ZeroDivisionError" in entries["uncaught: ZeroDivisionError"]["exception"]
    listening = next(one for message, one in entries.items() if message.startswith("listening"))
    assert listening["logger"] == "predictors"
    assert listening["process"] == talkative.process.pid
    assert datetime.fromisoformat(listening["time"]).utcoffset() is not None
    assert listening["time"].endswith("Z")
    assert "worker" not in listening


def test_lines_about_a_request_have_its_ids(talkative: Process) -> None:
    server = talkative.running
    frame = numbers().head(1).assign(a=-1.0)
    bad = {"dataframe_split": frame.to_dict(orient="split")}
    headers = {"x-request-id": "broken", "traceparent": PARENT}
    assert server.post("/invocations", bad, headers=headers).status_code == 500
    failed, last = lines(talkative, request_id="broken")
    assert failed["message"] == "the model failed"
    assert "the model's own words" in failed["exception"]
    assert (failed["trace_id"], failed["span_id"]) == (PARENT[3:35], PARENT[36:52])
    expected = {
        "method": "POST",
        "path": "/invocations",
        "status": 500,
        "protocol": "invocations",
        "trace_id": PARENT[3:35],
    }
    assert expected.items() <= last.items()
    assert last["logger"] == "predictors.access"
    assert last["model_version"]
    assert last["bytes"] > 0
    assert last["duration_ms"] > 0
    assert last["client"].startswith("127.0.0.1:")

    good = {"dataframe_split": numbers().head(1).assign(a=1.0).to_dict(orient="split")}
    reply = server.post("/invocations", good)
    words = [one["message"] for one in lines(talkative, request_id=reply.headers["x-request-id"])]
    assert words[0] == "at work"  # in a thread of its own
    assert len(words) == 2


def test_workers_have_numbers(tmp_path: Path) -> None:
    with cold_process(tmp_path, "--workers", "2", "--access-log", *JSON) as server:
        asked = {server.running.predict(ROWS).headers["x-request-id"] for _ in range(3)}
        wait_for(lambda: asked <= {one.get("request_id") for one in parsed(server.log)})
        assert all(one["worker"] in (0, 1) for one in lines(server, protocol="v1"))
        assert server.terminate() == 0
        parsed(server.log)


@pytest.mark.parametrize(
    ("flags", "env", "words", "code"),
    [
        (("--model-uri", "/nowhere", *JSON), {}, "/nowhere", 1),
        (("--model-uri", "/nowhere", "--workers", "2", *JSON), {}, "/nowhere", 1),
        (("--workers", "none", *JSON), {}, "--workers: 'none' is not usable", 2),
        (("--nonsense",), {"MLFLOW_KSERVE_LOG_FORMAT": "json"}, "--nonsense", 2),
    ],
    ids=["no model", "no model for workers", "bad setting", "unknown flag"],
)
def test_a_start_that_fails(flags: tuple[str, ...], env: dict[str, str], words: str, code: int) -> None:
    ports = ("--http-port", "0", "--grpc-port", "0")
    done = subprocess.run(
        command(*ports, *flags), capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )
    assert done.returncode == code
    assert done.stdout == ""
    errors = [one for one in parsed(done.stderr) if one["level"] == "error"]
    assert len(errors) == 1
    assert words in errors[0]["message"]


def test_text_lines_have_the_request_too(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    save(tmp_path / "model", model("raise RuntimeError('no luck')"), data=numbers())
    caplog.handler.setFormatter(TextLines())
    with in_thread(tmp_path / "model", warm_up=False) as server:
        bad = {"dataframe_split": numbers().head(1).to_dict(orient="split")}
        assert server.post("/invocations", bad, headers={"x-request-id": "abc"}).status_code == 500
        assert "ERROR predictors: the model failed (request abc)\nTraceback" in caplog.text


# -- the access log -------------------------------------------------------------------------------------------------------


def test_each_request_is_logged_once(caplog: pytest.LogCaptureFixture, watched: Any) -> None:
    def logged() -> list[tuple[Any, ...]]:
        entries = [vars(one) for one in caplog.records if one.name == "predictors.access"]
        return [
            (one["method"], one["path"], one["status"], one["bytes"] > 0)
            for one in entries
            if "health" not in one["path"]
        ]

    path, infer = "/v1/models/model:predict", "/inference.GRPCInferenceService/ModelInfer"
    with in_thread(None, access_log=True) as server, caplog.at_level(logging.INFO, "predictors.access"):
        assert server.predict(ROWS).status_code == 200  # the short way
        assert server.predict({"instances": [[1]]}).status_code == 400  # begun on the short way
        assert server.post(f"{path}?x=1", ROWS).status_code == 200
        assert server.get("/nowhere").status_code == 404
        assert server.get("/metrics").status_code == 200
        with grpc.insecure_channel(server.grpc) as channel:
            stub = pb_grpc.GRPCInferenceServiceStub(channel)
            stub.ModelInfer(request())
            with pytest.raises(grpc.RpcError):
                stub.ModelInfer(request(model_name="other"))
            stub.ServerLive(pb.ServerLiveRequest())
            nothing = channel.unary_unary("/no/Such", request_serializer=bytes, response_deserializer=bytes)
            with pytest.raises(grpc.RpcError):
                nothing(b"")
        assert logged() == [
            ("POST", path, 200, True),
            ("POST", path, 400, True),
            ("POST", path, 200, True),
            ("GET", "/nowhere", 404, True),
            ("GET", "/metrics", 200, True),
            ("GRPC", infer, "OK", True),
            ("GRPC", infer, "NOT_FOUND", False),
            ("GRPC", infer.replace("ModelInfer", "ServerLive"), "OK", True),
            ("GRPC", "/no/Such", "UNIMPLEMENTED", False),
        ]


def test_a_request_that_leaves_the_short_way_keeps_its_id() -> None:
    with in_thread(None, access_log=True) as server:
        ids = [server.predict({"instances": [[1]]}).headers["x-request-id"] for _ in range(3)]
    numbers = [int(one.partition("-")[2], 16) for one in ids]
    assert [after - before for before, after in pairwise(numbers)] == [1, 1]


def test_who_leaves_is_logged(
    caplog: pytest.LogCaptureFixture, watched: SpiedBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left() -> list[Any]:
        return [vars(one)["path"] for one in caplog.records if vars(one).get("status") == 499]

    note = watched.note

    def declines(rows: list[int]) -> None:
        note(rows)
        raise RuntimeError

    path = "/v1/models/model:predict"
    with in_thread(None, access_log=True) as server, caplog.at_level(logging.INFO, "predictors.access"):
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:  # before the request was complete
            client.sendall(
                b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 90000\r\n\r\n{"
            )
        wait_for(lambda: left() == ["/invocations"], seconds=60)
        monkeypatch.setattr(watched, "note", declines)
        watched.gate.clear()
        body = json.dumps(ROWS).encode()
        head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        with socket.create_connection((host, int(port))) as client, watched.one_more():
            client.sendall(head % (path.encode(), len(body)) + body)
        server.get("/health/live")  # by now the server knows that nobody is there
        watched.gate.set()
        wait_for(lambda: left() == ["/invocations", path], seconds=60)
