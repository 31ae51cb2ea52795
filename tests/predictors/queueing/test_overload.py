"""More than the server can do: what waits too long is refused or given up, and everything else goes on."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import mlflow
import pytest
import uvloop
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from loadtest import offered, spinning
from predictors.queueing.admission import MIN_LIMIT, SWEEP_INTERVAL, Admission
from predictors.rest.asgi import MAX_UNREAD
from predictors.serving.startup import read_settings
from predictors.telemetry.metrics import waiting_gauges
from tests.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame
from tests.predictors.grpc.wire import plain
from tests.predictors.queueing.gated import GATE, FileGate
from tests.predictors.rest.test_connection import HEALTH, JSON, Raw, row, slow, text
from tests.predictors.telemetry.test_metrics import samples
from tests.predictors.watched import SpiedBatcher
from tests.serving import Running, in_thread, wait_for

V1, V2, INVOCATIONS = "/v1/models/model:predict", "/v2/models/model/infer", "/invocations"
NUMBERS = ModelSignature(Schema([ColSpec("double", "x")]), Schema([ColSpec("double")]))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    folder = tmp_path_factory.mktemp("overload")

    def save(code: Path) -> Path:
        target = folder / code.stem
        if not target.exists():
            mlflow.pyfunc.save_model(target, python_model=str(code), signature=NUMBERS, pip_requirements=[])
        return target

    return save


@pytest.fixture
def gated(saved: Callable[[Path], Path]) -> Path:
    return saved(Path(__file__).parent / "gated.py")


@pytest.fixture
def gate() -> Iterator[FileGate]:
    GATE.asked.clear()
    yield GATE
    GATE.spin = False
    GATE.event.set()


def ask(value: float, path: str = V1, pad: int = 0) -> bytes:
    """A request for one number; with `pad` it is so many bytes longer."""
    if path == V2:
        body: Any = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [value]}]}
    else:
        body = (
            {"instances": [{"x": value}]} if path == V1 else {"dataframe_split": {"columns": ["x"], "data": [[value]]}}
        )
    return text(json.dumps(body).encode() + b" " * pad, path)


def answer(server: Running, data: bytes) -> tuple[int, dict[str, str], Any]:
    connection = Raw(server)
    status, headers, body = connection.ask(data)
    connection.close()
    return status, headers, json.loads(body)


def rpc(
    server: Running, value: float = 0, pad: int = 0, timeout: float = 30, compression: grpc.Compression | None = None
) -> str:
    """The status of a call, or its answer."""
    with grpc.insecure_channel(server.grpc) as channel:
        request = pb.ModelInferRequest(model_name="model", id="x" * pad)
        request.inputs.add(name="x", datatype="FP64", shape=[1]).contents.fp64_contents.append(value)
        try:
            response = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
                request, timeout=timeout, compression=compression
            )
        except grpc.RpcError as error:
            return str(error.code().name)
        return str(response.outputs[0].contents.fp64_contents[0])


def count(server: Running, name: str, **labels: str) -> float:
    return samples(server).get((name, tuple(sorted({"model_name": "model", **labels}.items()))), 0)


def busy(server: Running) -> float:
    return count(server, "model_requests_in_flight")


# -- refused ----------------------------------------------------------------------------------------------------------


def test_what_is_too_much_is_refused_and_the_rest_is_answered(gated: Path, gate: FileGate) -> None:
    with in_thread(gated, max_in_flight=3, max_threads=1) as server:
        refused = count(server, "model_requests_refused_total", reason="requests")
        gate.event.clear()
        clients = [Raw(server) for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(ask(number))
        wait_for(lambda: busy(server) == 3)
        wait_for(lambda: count(server, "model_requests_waiting") == 2)
        for data in (ask(9), ask(9, V2), ask(9, INVOCATIONS), slow({"instances": [{"x": 9}]}, V1)):
            status, headers, body = answer(server, data)
            assert (status, int(headers["retry-after"])) == (503, 1)
            assert "--max-in-flight" in body.get("error", body.get("message"))
        assert rpc(server) == "UNAVAILABLE"
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics", "/schema"):
            assert server.get(path).status_code == 200
        gate.event.set()
        assert [json.loads(client.reply()[2])["predictions"] for client in clients] == [[0], [1], [2]]
        assert answer(server, ask(7))[0] == 200
        assert rpc(server, 8) == "8.0"
        assert gate.asked == [0, 1, 2, 7, 8]
        assert count(server, "model_requests_refused_total", reason="requests") == refused + 5
        for client in clients:
            client.close()


def test_what_would_wait_too_long_is_refused(gated: Path, gate: FileGate) -> None:
    """Once it is known how long the model takes: the first 64 may always wait."""
    with in_thread(gated, max_threads=1, max_wait=0.001) as server:
        gate.event.clear()
        clients = [Raw(server) for _ in range(80)]
        for client in clients:
            client.send(ask(1))
        wait_for(lambda: busy(server) == 80)
        wait_for(lambda: count(server, "model_expected_wait_seconds") > 1)
        status, headers, body = answer(server, ask(2))
        assert status == 503
        assert "--max-wait" in body["error"]
        assert int(headers["retry-after"]) > 1
        assert rpc(server, timeout=20) == "UNAVAILABLE"
        gate.event.set()
        assert {client.reply()[0] for client in clients} == {200}
        assert 2 not in gate.asked
        assert answer(server, ask(3))[0] == 200
        for client in clients:
            client.close()


def test_fifty_callers_may_wait_for_a_slow_model(gated: Path, gate: FileGate) -> None:
    """As many as people's first load tests have."""
    with in_thread(gated, max_threads=1) as server:
        gate.event.clear()
        clients = [Raw(server) for _ in range(50)]
        for client in clients[:-1]:
            client.send(ask(1))
        wait_for(lambda: count(server, "model_expected_wait_seconds") > 1)
        clients[-1].send(ask(1))
        wait_for(lambda: busy(server) == 50)
        gate.event.set()
        assert {client.reply()[0] for client in clients} == {200}
        for client in clients:
            client.close()


def test_requests_hold_only_so_many_bytes(gated: Path, gate: FileGate) -> None:
    limits: dict[str, Any] = {"max_body": 100_000, "max_in_flight_bytes": 100_000}
    with in_thread(gated, max_threads=1, **limits) as server:
        gate.event.clear()
        first, second, third, chunks = (Raw(server) for _ in range(4))
        first.send(ask(0, pad=60_000))
        wait_for(lambda: count(server, "model_requests_bytes") > 60_000)
        second.send(ask(1, pad=60_000)[:200])
        status, headers, body = second.reply()  # before its body was sent
        assert (status, headers["retry-after"]) == (503, "1")
        assert b"--max-in-flight-bytes" in body
        head = text(b"", V1, {**JSON, "Transfer-Encoding": "chunked"})
        chunks.send(head + b"c350\r\n" + b" " * 50_000 + b"\r\n")
        assert chunks.reply()[0] == 503
        assert rpc(server, pad=60_000) == "UNAVAILABLE"
        third.send(ask(2, pad=30_000))  # there is room for this one
        wait_for(lambda: busy(server) == 2)
        gate.event.set()
        assert [first.reply()[0], third.reply()[0]] == [200, 200]
        wait_for(lambda: count(server, "model_requests_bytes") == 0)
        assert answer(server, ask(3, pad=60_000))[0] == 200
        assert rpc(server, 4, pad=60_000) == "4.0"
        for client in (first, second, third, chunks):
            client.close()


# -- given up ---------------------------------------------------------------------------------------------------------


def test_time_ends_for_what_runs_and_for_what_waits(gated: Path, gate: FileGate) -> None:
    with in_thread(gated, max_threads=1, max_in_flight=2, request_timeout=0.3) as server:
        late = [{"protocol": "v2", "status": "504"}, {"protocol": "grpc", "status": "DEADLINE_EXCEEDED"}]
        before = [count(server, "model_requests_total", **one) for one in late]
        gate.event.clear()
        clients = [Raw(server) for _ in range(2)]
        for number, client in enumerate(clients):
            client.send(ask(number, V2))
        for client in clients:
            status, _, body = client.reply()
            assert (status, "--request-timeout" in json.loads(body)["error"]) == (504, True)
        # One runs still and keeps its place; the other is gone.
        assert rpc(server, 2) == "DEADLINE_EXCEEDED"
        again = Raw(server)
        again.send(ask(3))
        wait_for(lambda: answer(server, ask(4))[0] == 503)
        assert again.reply()[0] == 504
        gate.event.set()
        wait_for(lambda: answer(server, ask(5))[0] == 200)
        assert gate.asked[0] == 0
        assert not {1, 2, 3, 4} & set(gate.asked)
        assert busy(server) == 0
        assert [count(server, "model_requests_total", **one) for one in late] == [before[0] + 2, before[1] + 1]
        again.close()
        for client in clients:
            client.close()


def test_the_deadline_of_a_call_ends_it(gated: Path, gate: FileGate) -> None:
    with in_thread(gated, max_threads=1) as server:

        def ended() -> float:
            """The caller has a clock of its own: if that is first, the call counts as cancelled."""
            statuses = ("DEADLINE_EXCEEDED", "CANCELLED")
            return sum(count(server, "model_requests_total", protocol="grpc", status=status) for status in statuses)

        before = ended()
        gate.event.clear()
        assert rpc(server, 1, timeout=0.2) == "DEADLINE_EXCEEDED"
        assert rpc(server, 2, timeout=0.2) == "DEADLINE_EXCEEDED"
        wait_for(lambda: busy(server) == 0)
        wait_for(lambda: ended() == before + 2)
        gate.event.set()
        assert rpc(server, 3) == "3.0"
        assert gate.asked == [1, 3]


def test_nothing_is_computed_for_clients_that_left(gated: Path, gate: FileGate) -> None:
    with in_thread(gated, max_threads=1) as server:
        before = count(server, "model_requests_total", protocol="v1", status="client_gone")
        gate.event.clear()
        first, second = Raw(server), Raw(server)
        first.send(ask(1))
        wait_for(lambda: gate.asked == [1])
        second.send(ask(2))
        wait_for(lambda: busy(server) == 2)
        second.close()
        wait_for(lambda: busy(server) == 1)
        assert count(server, "model_requests_total", protocol="v1", status="client_gone") == before + 1
        gate.event.set()
        assert first.reply()[0] == 200
        assert answer(server, ask(3))[0] == 200
        assert gate.asked == [1, 3]
        first.close()


def test_time_ends_for_batches_too(watched: SpiedBatcher) -> None:
    with in_thread(None, request_timeout=0.3) as server:
        watched.gate.clear()
        first, second = Raw(server), Raw(server)
        with watched.one_more():
            first.send(text(row(0), V1))
        second.send(text(row(1), V1))
        for client in (first, second):
            status, _, body = client.reply()
            assert (status, b"--request-timeout" in body) == (504, True)
        with grpc.insecure_channel(server.grpc) as channel:
            request = pb.ModelInferRequest(model_name="model")
            request.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend([1, 2, 3, 4])
            with pytest.raises(grpc.RpcError) as late:
                pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
        assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        asked = len(watched.batches)
        watched.gate.set()
        wait_for(lambda: busy(server) == 0)
        assert len(watched.batches) == asked  # nobody computes what nobody waits for
        assert first.ask(text(row(0), V1))[0] == 200
        first.close()
        second.close()


def test_batches_are_bounded(watched: SpiedBatcher) -> None:
    with in_thread(None, max_in_flight=2) as server:
        watched.gate.clear()
        clients = [Raw(server) for _ in range(2)]
        for client in clients:
            client.send(text(row(0), V1))
        wait_for(lambda: busy(server) == 2)
        other = Raw(server)
        for data in (text(row(0), V1), slow(row(0), V1)):
            status, headers, _ = other.ask(data)
            assert (status, headers["retry-after"]) == (503, "1")
        watched.gate.set()
        assert [client.reply()[0] for client in clients] == [200, 200]
        assert other.ask(text(row(0), V1))[0] == 200  # on the same connection
        other.close()
        for client in clients:
            client.close()


def test_health_while_all_threads_compute(gated: Path, gate: FileGate) -> None:
    """Plain Python code that keeps the interpreter busy."""
    with in_thread(gated, max_threads=4, max_in_flight=6) as server:
        gate.event.clear()
        gate.spin = True
        clients = [Raw(server) for _ in range(6)]
        for number, client in enumerate(clients):
            client.send(ask(number))
        wait_for(lambda: busy(server) == 6)
        assert len(gate.asked) == 4
        durations = []
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics") * 5:
            started = time.perf_counter()
            assert server.get(path).status_code == 200
            durations.append(time.perf_counter() - started)
        assert sorted(durations)[len(durations) // 2] < 0.5
        gate.event.set()
        assert {client.reply()[0] for client in clients} == {200}
        for client in clients:
            client.close()


# -- slow clients and large requests ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    with in_thread(None, read_timeout=0.5, max_body=5_000_000) as server:
        yield server


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(text(row(1))[:40], id="headers"),
        pytest.param(text(row(1))[:-5], id="a small body"),
        pytest.param(text(b" " * 100_000)[:2000], id="a large body"),
        pytest.param(text(b"", headers={**JSON, "Transfer-Encoding": "chunked"}) + b"5\r\nhello", id="a chunk"),
    ],
)
def test_requests_that_do_not_arrive(impatient: Running, part: bytes) -> None:
    connection = Raw(impatient)
    assert connection.ask(text(row(1)))[0] == 200
    connection.send(part)
    status, headers, body = connection.reply()
    assert (status, headers["connection"]) == (408, "close")
    assert b"--read-timeout" in body
    assert connection.ended()
    connection.close()


def test_connections_that_say_nothing_end(impatient: Running) -> None:
    connection = Raw(impatient)
    assert connection.ended()
    connection.close()


def test_slow_lines_are_waited_for(impatient: Running) -> None:
    """What comes steadily may take longer than what does not come."""
    connection, other = Raw(impatient), Raw(impatient)
    data = slow(row(1)) + b""
    head, _, body = data.partition(b"\r\n\r\n")
    large = head.replace(b"Content-Length: %d" % len(body), b"Content-Length: 100000") + b"\r\n\r\n"
    rest = body.ljust(100_000)
    connection.send(large + rest[:60_000])
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert other.ask(HEALTH)[0] == 200
    assert connection.ask(rest[60_000:])[0] == 200
    connection.close()
    other.close()


def test_clients_that_take_nothing_end(impatient: Running) -> None:
    connection = Raw(impatient, receive=4096)
    rows = {"instances": [[60 + n, 0.5, 10, 0.5] for n in range(1000)]}
    connection.socket.setblocking(False)
    whole = text(rows) * 300
    sent = 0
    while sent < len(whole) and select.select([], [connection.socket], [], 0.2)[1]:
        sent += connection.socket.send(whole[sent : sent + 65536])
    connection.socket.setblocking(True)
    wait_for(lambda: select.select([], [], [connection.socket], 0) and reset(connection), seconds=60)
    connection.close()


def reset(connection: Raw) -> bool:
    try:
        connection.socket.send(b" ", 0x40)  # without waiting
    except BlockingIOError:
        return False
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_oversized_bodies_are_not_read_to_their_end(impatient: Running, declared: bool) -> None:
    connection = Raw(impatient)
    piece = b" " * 65536
    if declared:
        connection.send(text(b"", headers={**JSON, "Content-Length": "10000000000"}))
    else:
        connection.send(text(b"", headers={**JSON, "Transfer-Encoding": "chunked"}))
        piece = b"10000\r\n" + piece + b"\r\n"
    sent = 0
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while sent < 2_000_000_000:
            connection.send(piece)
            sent += len(piece)
    assert sent < 2_000_000_000
    connection.close()


def test_who_sends_too_much_reads_why(impatient: Running) -> None:
    """Though it sends all of it before it reads."""
    connection = Raw(impatient)
    status, headers, body = connection.ask(text(b" " * 6_000_000))
    assert (status, headers["connection"]) == (413, "close")
    assert b"larger than 5000000 bytes" in body
    assert connection.ended()
    connection.close()
    little = Raw(impatient)
    assert little.ask(text(b"{}", "/nowhere"))[0] == 404
    assert little.ask(text(b" " * (MAX_UNREAD - 1), "/nowhere"))[0] == 404
    assert little.ask(HEALTH)[0] == 200  # the connection stays open where little is left to read
    little.close()


def test_headers_are_bounded(impatient: Running) -> None:
    connection = Raw(impatient)
    connection.send(b"GET /v2/health/live HTTP/1.1\r\nx: ")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(20_000):
            connection.send(b"y" * 10_000)
    connection.close()
    connection = Raw(impatient)
    connection.send(b"GET /v2/health/live HTTP/1.1\r\nx: " + b"y" * 400_000)
    assert connection.reply()[0] == 431
    connection.close()


@pytest.mark.parametrize("part", ["frame", "message"])
def test_calls_that_do_not_arrive(impatient: Running, part: str) -> None:
    connection = Raw(impatient)
    connection.socket.close()
    connection = Raw(Running(f"http://{impatient.grpc}", "", "", impatient.client))
    connection.send(PREFACE + frame(SETTINGS, 0, 0))
    whole = frame(HEADERS, END_HEADERS, 1, plain("/inference.GRPCInferenceService/ModelInfer"))
    whole += frame(DATA, 0, 1, b"\0\0\0\1\0" + b"x" * 100)
    connection.send(whole[:-50] if part == "frame" else whole)
    got, words = b"", b"--read-timeout" if part == "message" else b"a frame takes too long to arrive"
    while words not in got:
        data = connection.socket.recv(65536)
        assert data, "the connection ended without a word"
        got += data
    connection.close()


# -- all of it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["v1", "grpc"])
def test_five_times_what_the_server_can_do(saved: Callable[[Path], Path], protocol: str) -> None:
    """Right answers or a refusal that says when to come back, and nothing else; then all is as before."""
    with in_thread(saved(Path(spinning.__file__)), max_wait=0.1) as server:
        port = int((server.grpc if protocol == "grpc" else server.url).rpartition(":")[2])

        async def run() -> tuple[offered.OpenLoopResult, offered.OpenLoopResult]:
            client: Any = (
                offered.OpenLoopGrpcClient(port, "model", pb)
                if protocol == "grpc"
                else offered.OpenLoopHttpClient(port, V1)
            )
            able = await offered.closed_loop(client, 4, 1)
            overloaded = await offered.open_loop(client, 5 * able.rate("200"), 2)
            await client.close()
            return able, overloaded

        able, overloaded = uvloop.run(run()) if protocol == "v1" else asyncio.run(run())
        assert set(able.latencies) == {"200"}
        assert set(overloaded.latencies) == {"200", "UNAVAILABLE" if protocol == "grpc" else "503"}
        assert overloaded.count("200") + overloaded.count("503") + overloaded.count("UNAVAILABLE") == overloaded.offered
        assert overloaded.without_hint == 0
        wait_for(lambda: busy(server) == 0)
        assert rpc(server, 5) == "5.0"
        assert answer(server, ask(6))[2]["predictions"] == [6]


def test_settings_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_settings(["--max-in-flight-bytes", "1k"])
    assert ended.value.code == 2
    assert "--max-in-flight-bytes: expected at least --max-body" in capsys.readouterr().err


# -- what nobody waits for, and what nobody takes ---------------------------------------------------------------------


def test_what_nobody_waits_for_is_not_kept(gated: Path, gate: FileGate) -> None:
    """While the model stands still, clients come and go."""
    with in_thread(gated, max_threads=1) as server:
        gate.event.clear()
        first = Raw(server)
        first.send(ask(0))
        wait_for(lambda: gate.asked == [0])
        for number in range(3):
            client = Raw(server)
            client.send(ask(number))
            wait_for(lambda: busy(server) == 2)
            client.close()
            wait_for(lambda: busy(server) == 1)
        wait_for(lambda: count(server, "model_requests_waiting") == 0, seconds=30)
        gate.event.set()
        assert first.reply()[0] == 200
        first.close()


def test_what_a_message_unpacks_to_counts(gated: Path, gate: FileGate) -> None:
    with in_thread(gated, max_threads=1, max_body=100_000, max_in_flight_bytes=100_000) as server:
        gate.event.clear()
        first = Raw(server)
        first.send(ask(0, pad=60_000))
        wait_for(lambda: gate.asked == [0])
        assert rpc(server, 1, pad=60_000, timeout=5, compression=grpc.Compression.Gzip) == "UNAVAILABLE"
        gate.event.set()
        assert first.reply()[0] == 200
        assert rpc(server, 2, pad=60_000, compression=grpc.Compression.Gzip) == "2.0"
        wait_for(lambda: count(server, "model_requests_bytes") == 0)
        first.close()


def test_replies_that_no_window_opens_for(impatient: Running) -> None:
    """A client of gRPC that takes no reply keeps neither that nor its request here."""
    host, port = impatient.grpc.split(":")
    request = pb.ModelInferRequest(model_name="model", id="x" * 60_000)
    request.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend([1, 2, 3, 4])
    message = request.SerializeToString()
    closed_window = frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 0))
    with socket.create_connection((host, int(port)), timeout=20) as peer:
        peer.sendall(PREFACE + closed_window)
        peer.sendall(frame(HEADERS, END_HEADERS, 1, plain("/inference.GRPCInferenceService/ModelInfer")))
        peer.sendall(frame(DATA, END_STREAM, 1, b"\0" + len(message).to_bytes(4, "big") + message))
        arrived = b""
        while frame(RST_STREAM, 0, 1, (8).to_bytes(4, "big")) not in arrived:
            arrived += peer.recv(65536)
        assert answer(impatient, text(row(1)))[0] == 200
        wait_for(lambda: count(impatient, "model_requests_bytes") == 0)


def past(moment: float) -> bool:
    return time.monotonic() > moment


def test_a_pace_of_long_ago_says_nothing(gated: Path, gate: FileGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictors.queueing.admission.MAX_PACE_AGE", 0.3)
    with in_thread(gated, max_threads=1, max_wait=0.001) as server:
        for _ in range(2):
            gate.event.clear()
            clients = [Raw(server) for _ in range(60)]
            for client in clients:
                client.send(ask(1))
            wait_for(lambda: busy(server) == 60, seconds=30)
            wait_for(lambda: count(server, "model_expected_wait_seconds") > 1)
            gate.event.set()
            assert {client.reply()[0] for client in clients} == {200}
            later = time.monotonic() + 0.5
            for client in clients:
                client.close()
            wait_for(lambda: busy(server) == 0)
            wait_for(partial(past, later))


def test_a_burst_in_one_turn_after_a_rest_is_not_judged_by_what_was_before_it() -> None:
    """Whether there is room is asked before the first of them enters."""

    async def go() -> None:
        admission = Admission(read_settings(["--model-name", "rested"]), 1, lambda: 0)
        admission.pace.ended = 8
        admission.pace.update(0.0, queued=True)
        admission.pace.ended = 16
        admission.pace.update(9.0, queued=True)
        admission.set_limit()
        assert admission.limit == MIN_LIMIT
        for _ in range(MIN_LIMIT + 8):
            assert not admission.full
            admission.expect()

    asyncio.run(go())


def test_those_who_wait_without_a_place_are_looked_at_until_they_are_gone() -> None:
    """Small requests need none; the gauge kept what was seen of them last."""
    ahead = [1]

    async def go() -> None:
        admission = Admission(read_settings(["--model-name", "gauge"]), 1, lambda: ahead[0])
        admission.leave(admission.enter(None))
        await asyncio.sleep(3 * SWEEP_INTERVAL)
        waiting = waiting_gauges("gauge")[0]
        assert waiting._value.get() == 1
        ahead[0] = 0
        await asyncio.sleep(3 * SWEEP_INTERVAL)
        assert waiting._value.get() == 0

    asyncio.run(go())
