"""The short way of a request over the wire: the same replies as the long way, in order, whatever else happens."""

from __future__ import annotations

import concurrent.futures
import gc
import gzip
import json
import logging
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from predictors.model.base import MLflowModel
from predictors.pipeline import fast_answers
from predictors.pipeline.fast_path import MAX_FAST_BODY
from predictors.pipeline.pipeline import Pipeline
from predictors.queueing.batching import MicroBatcher
from predictors.rest.app import App
from predictors.rest.connection import HttpConnection
from predictors.rest.fast_call import FastCall
from predictors.rest.parsing import SHARE
from tests.predictors.pipeline.test_errors import ALL, GOOD, INVOCATIONS, V1, V2, binary_request, tensor
from tests.predictors.telemetry.test_metrics import samples
from tests.predictors.watched import SpiedBatcher
from tests.serving import Running, in_thread, process, wait_for

Reply: TypeAlias = "tuple[int, dict[str, str], bytes]"
JSON = {"Content-Type": "application/json"}
HEALTH = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def row(number: float) -> dict[str, Any]:
    """A request with a reply of its own."""
    return {"instances": [[60 + number, 0.5, 10, 0.5]]}


def text(
    body: bytes | Any = GOOD, path: str = V1, headers: dict[str, str] = JSON, version: str = "1.1", verb: str = "POST"
) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{verb} {path} HTTP/{version}", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    if not any(name.lower() in ("transfer-encoding", "content-length") for name in headers):
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def slow(body: Any = GOOD, path: str = V1, headers: dict[str, str] = JSON) -> bytes:
    """The same request, but on the long way."""
    return text(body, f"{path}?x=1", headers)


class Raw:
    """A connection of bytes."""

    def __init__(self, server: Running, **options: int) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        if "receive" in options:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive"])
        self.socket.connect((host, int(port)))
        self.socket.settimeout(30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def more(self) -> None:
        data = self.socket.recv(1 << 20)
        assert data, "the connection ended within a reply"
        self.read += data

    def reply(self, *, bodiless: bool = False) -> Reply:
        while b"\r\n\r\n" not in self.read:
            self.more()
        head, _, rest = self.read.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), "a header is there twice"
        length = 0 if bodiless else int(headers["content-length"])
        while len(rest) < length:
            self.more()
            rest = self.read.partition(b"\r\n\r\n")[2]
        self.read = rest[length:]
        return int(first.split()[1]), headers, rest[:length]

    def ask(self, data: bytes) -> Reply:
        self.send(data)
        return self.reply()

    def ended(self) -> bool:
        """Waits for the end of the connection; whether nothing came before it."""
        return self.read == b"" and self.socket.recv(1) == b""

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def raw(demo: Running) -> Iterator[Raw]:
    connection = Raw(demo)
    yield connection
    connection.close()


@pytest.fixture
def long_ones(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that reach the ASGI application."""
    seen: list[str] = []
    call = App.__call__

    async def counting(self: App, scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await call(self, scope, receive, send)

    monkeypatch.setattr(App, "__call__", counting)
    return seen


@pytest.fixture(scope="module")
def inline() -> Iterator[Running]:
    """A model whose requests are answered one by one as they are read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "predictors.pipeline.served_models.MicroBatcher",
            lambda proven, *rest: MicroBatcher(replace(proven, joint=None), *rest),
        )
        with in_thread(None, keep_alive=1) as server:
            yield server


def plain(reply: Reply) -> Reply:
    status, headers, body = reply
    passing = ("date", "x-request-id")  # another one each time
    return status, {name: value for name, value in headers.items() if name not in passing}, body


# -- order ----------------------------------------------------------------------------------------------------------


def quick(number: int) -> bytes:
    return text(row(number))


def long(number: int) -> bytes:
    return slow(row(number))


def invalid(number: int) -> bytes:
    return text({"instances": [[number]]})


def broken(number: int) -> bytes:
    return text(b"{" * (number + 1))


@pytest.mark.parametrize(
    "kinds",
    [
        [quick, quick],
        [quick, long, quick],
        [long, quick],
        [long, quick, quick, long, long, quick],
        [quick, invalid, quick],
        [broken, quick, invalid, long, broken, quick],
        [quick] * 50,
        [quick, long] * 25,
    ],
    ids=lambda kinds: f"{len(kinds)}",
)
@pytest.mark.parametrize("which", ["demo", "inline"])
def test_pipelined_requests_are_answered_in_order(which: str, kinds: Any, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(which)
    one, many = Raw(server), Raw(server)
    requests = [kind(number) for number, kind in enumerate(kinds)]
    expected = [plain(one.ask(data)) for data in requests]
    many.send(b"".join(requests))
    assert [plain(many.reply()) for _ in requests] == expected
    assert len({body for status, _, body in expected if status == 200}) == sum(k in (quick, long) for k in kinds)
    assert many.ask(HEALTH)[0] == 200
    one.close()
    many.close()


@pytest.mark.parametrize("path", [V1, V2, INVOCATIONS])
def test_a_small_request_takes_the_short_way(raw: Raw, long_ones: list[str], path: str) -> None:
    body = tensor() if path == V2 else GOOD
    assert raw.ask(text(body, path))[0] == 200
    assert long_ones == []
    assert raw.ask(slow(body, path))[0] == 200
    assert long_ones == [path]


def test_a_request_split_at_every_byte(demo: Running, raw: Raw) -> None:
    other = Raw(demo)
    data = text(row(1))
    expected = plain(raw.ask(data))
    assert expected[0] == 200
    for position in range(1, len(data)):
        raw.send(data[:position])
        other.ask(HEALTH)  # by now the server has read the first part
        raw.send(data[position:])
        assert plain(raw.reply()) == expected
    other.close()


def test_a_request_byte_by_byte_with_the_next_one_behind_it(demo: Running, raw: Raw) -> None:
    data = text(row(1)) + text(row(2))
    for position in range(len(data)):
        raw.send(data[position : position + 1])
    other = Raw(demo)
    assert [plain(raw.reply()), plain(raw.reply())] == [plain(other.ask(text(row(n)))) for n in (1, 2)]
    other.close()


# -- whatever is unusual --------------------------------------------------------------------------------------------


def test_http_1_0_and_connection_close(demo: Running) -> None:
    for data in (text(version="1.0"), text(headers={**JSON, "Connection": "close"})):
        connection = Raw(demo)
        status, headers, _ = connection.ask(data)
        assert (status, headers["connection"]) == (200, "close")
        assert connection.ended()
        connection.close()


def test_expect_100_continue(raw: Raw) -> None:
    data = text(headers={**JSON, "Expect": "100-continue"})
    head, _, body = data.partition(b"\r\n\r\n")
    raw.send(head + b"\r\n\r\n")
    assert raw.reply(bodiless=True)[0] == 100
    assert raw.ask(body)[0] == 200


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return text(parts + b"0\r\n\r\n", headers={**JSON, "Transfer-Encoding": "chunked"})


def test_chunks_and_compression(raw: Raw) -> None:
    body = json.dumps(GOOD).encode()
    expected = plain(raw.ask(text(body)))
    assert plain(raw.ask(chunked(body))) == expected
    assert plain(raw.ask(text(gzip.compress(body), headers={**JSON, "Content-Encoding": "gzip"}))) == expected
    assert plain(raw.ask(text(body, headers={**JSON, "Content-Encoding": "identity"}))) == expected


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON", 200),
        ("application/json; charset=UTF-8", 200),
        ("application/json;charset=utf-8", 200),
        ("application/json; charset=latin-1", 415),
        ("application/vnd.x+json", 200),
        ("text/plain", 200),
        ("application/x-www-form-urlencoded", 200),
        ("text/csv", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/octet-stream", 415),
        ("", 200),
    ],
)
def test_content_types(raw: Raw, kind: str, status: int) -> None:
    assert raw.ask(text(headers={"Content-Type": kind}))[0] == status
    assert raw.ask(text())[0] == 200


def test_no_content_type(raw: Raw) -> None:
    assert raw.ask(text(headers={}))[0] == 200
    assert raw.ask(text(path=INVOCATIONS, headers={}))[0] == 415


def test_other_verbs_on_the_short_paths(raw: Raw) -> None:
    for path in (V1, V2, INVOCATIONS):
        assert raw.ask(text(b"", path, verb="GET"))[0] == 405
        raw.send(text(b"", path, verb="HEAD"))
        assert raw.reply(bodiless=True)[0] == 405
        assert raw.ask(text(b"", path, verb="PUT"))[0] == 405
    assert raw.ask(text())[0] == 200


@pytest.mark.parametrize(
    ("size", "short"), [(MAX_FAST_BODY - 1, True), (MAX_FAST_BODY, True), (MAX_FAST_BODY + 1, False), (150_000, False)]
)
def test_bodies_around_the_limit_of_the_short_way(raw: Raw, long_ones: list[str], size: int, short: bool) -> None:
    body = json.dumps(GOOD).encode()
    expected = plain(raw.ask(slow(body)))
    long_ones.clear()
    assert plain(raw.ask(text(body.ljust(size)))) == expected
    assert long_ones == ([] if short else [V1])


@pytest.mark.parametrize("size", [120, 121])
def test_no_body_is_larger_than_allowed(size: int) -> None:
    with in_thread(None, max_body=120) as server:
        connection = Raw(server)
        body = json.dumps(GOOD).encode().ljust(size)
        assert connection.ask(text(body))[0] == (200 if size == 120 else 413)
        assert plain(connection.ask(text(body))) == plain(connection.ask(slow(body)))
        connection.close()


@pytest.mark.parametrize(("name", "path"), [("a b", "a%20b"), ("größe", "gr%C3%B6%C3%9Fe"), ("a%20b", "a%2520b")])
def test_names_that_urls_escape(name: str, path: str, long_ones: list[str]) -> None:
    with in_thread(None, model_name=name) as server:
        connection = Raw(server)
        for body, status in ((GOOD, 200), ({"instances": [[1]]}, 400)):
            short, other = (connection.ask(ask(body, f"/v1/models/{path}:predict")) for ask in (text, slow))
            assert plain(short) == plain(other)
            assert short[0] == status
        assert long_ones.count(f"/v1/models/{name}:predict") == 3  # all but the first
        connection.close()


def test_a_name_is_not_found_by_what_it_looks_like() -> None:
    """The path of another model, in a URL."""
    with in_thread(None, model_name="a%20b") as server:
        connection = Raw(server)
        assert connection.ask(text(GOOD, "/v1/models/a%20b:predict"))[0] == 404
        connection.close()


# -- the same replies on both ways ------------------------------------------------------------------------------------

RIGHT: list[tuple[str, Any]] = [
    (V1, GOOD),
    (V1, {"instances": [[64.2, 0.21, 3, 0.4], [91.5, 1.05, 41, 0.9]]}),
    (V1, {**GOOD, "parameters": {"probabilities": True}}),
    (V1, {**GOOD, "parameters": {"probabilities": False}}),
    (V1, {**GOOD, "parameters": {"method": "predict_proba"}}),
    (V1, {"inputs": {"temperature": [1], "vibration": [2], "months_since_service": [3], "load": [4]}}),
    (V2, tensor()),
    (V2, {**tensor(), "id": "7", "outputs": [{"name": "probabilities"}]}),
    (V2, {**tensor(), "parameters": {"binary_data_output": True}}),
    (V2, {**tensor(), "outputs": [{"name": "predictions", "parameters": {"binary_data": True}}]}),
    (V2, tensor(datatype="FP32", shape=[2, 4], data=[[1, 2, 3, 4], [5, 6, 7, 8]])),
    (INVOCATIONS, GOOD),
    (INVOCATIONS, {"dataframe_split": {"data": [[1, 2, 3, 4]]}}),
]


def test_both_ways_answer_alike(demo: Running, long_ones: list[str]) -> None:
    """Every good request and every mistake."""
    connection = Raw(demo)
    mistakes = [(str(case.values[0]), case.values[1]) for case in ALL]
    for path, body in [*RIGHT, *mistakes]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        long_ones.clear()
        short = plain(connection.ask(text(content, path)))
        assert (short[0] == 200) == ((path, body) in RIGHT), (path, body, short)
        assert short[0] != 200 or body.get("parameters", {}).get("method") or not long_ones, (path, body)
        assert short == plain(connection.ask(slow(content, path))), (path, body)
    connection.close()


@pytest.mark.parametrize("length", [None, "0", "-1", "1", "abc", "99999", "1e2", "", "00007", "9" * 25])
@pytest.mark.parametrize("size", [32, 31])
def test_both_ways_answer_binary_alike(raw: Raw, length: str | None, size: int) -> None:
    payload = struct.pack("<4d", 1, 2, 3, 4)
    body, headers = binary_request(size, payload, length)
    if length == "":
        headers["Inference-Header-Content-Length"] = ""
    short, long = plain(raw.ask(text(body, V2, headers))), plain(raw.ask(slow(body, V2, headers)))
    assert short == long
    assert short[0] == (200 if length is None and size == 32 else 400)


@pytest.mark.parametrize("path", [V1, V2, INVOCATIONS])
def test_both_ways_take_the_same_kinds(raw: Raw, path: str) -> None:
    """With and without the header that announces binary data."""
    body, binary = binary_request(32, struct.pack("<4d", 1, 2, 3, 4))
    codes = []
    for content in (json.dumps(tensor() if path == V2 else GOOD).encode(), body):
        for kind in ("application/json", "application/octet-stream", "text/plain"):
            for headers in ({"Content-Type": kind}, {**binary, "Content-Type": kind}):
                short = plain(raw.ask(text(content, path, headers)))
                assert short == plain(raw.ask(slow(content, path, headers))), headers
                codes.append(short[0])
    assert set(codes) == {200, 400, 415}


def test_both_ways_count_alike() -> None:
    with in_thread(None, model_name="weighed") as server:
        path = "/v1/models/weighed:predict"
        connection = Raw(server)

        def counted(data: bytes) -> dict[Any, float]:
            before = samples(server)
            connection.ask(data)
            increases = {
                key: value - before.get(key, 0) for key, value in samples(server).items() if "weighed" in str(key)
            }
            timely = ("_seconds_sum", "_seconds_bucket", "_created")
            return {key: value for key, value in increases.items() if value and not key[0].endswith(timely)}

        good, bad, unknown = row(1), {"instances": [[1]]}, {**tensor(), "outputs": [{"name": "other"}]}
        for body, where in ((good, path), (bad, path), (unknown, "/v2/models/weighed/infer"), (good, "/invocations")):
            quick, long = counted(text(body, where)), counted(slow(body, where))
            assert quick == long
            assert sum(value for (name, _), value in quick.items() if name == "model_predictions_total") == 1
            assert sum(value for (name, _), value in quick.items() if name == "model_requests_total") == 1
            succeeded = 1 if body is good else None
            for name in ("model_prediction_latency_seconds_count", "model_request_rows_count"):
                assert next((value for (one, _), value in quick.items() if one == name), None) == succeeded
        assert in_flight(server) == 0
        connection.close()


# -- what a parser would get wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [0, 10, -5, -20, None])
@pytest.mark.parametrize("framing", ["length", "chunked", "no body"])
def test_a_request_for_another_protocol_keeps_its_body(raw: Raw, framing: str, split: int | None) -> None:
    """As Java's client sends them. There is no other protocol; what follows is the body, then the next request."""
    upgrade = {**JSON, "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    if framing == "chunked":
        content = json.dumps(GOOD).encode()
        sent = text(
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content), headers={**upgrade, "Transfer-Encoding": "chunked"}
        )
    else:
        sent = (
            text(headers=upgrade)
            if framing == "length"
            else HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        )
    expected = plain(raw.ask(HEALTH if framing == "no body" else text()))
    for _ in range(2):
        if split is None:
            raw.send(sent + text() + sent)
        else:
            raw.send(sent[:split])
            raw.send(sent[split:] + text() + sent)
        assert [plain(raw.reply())[0] for _ in range(3)] == [200, 200, 200]
    assert plain(raw.ask(sent)) == expected


def test_fields_after_a_body_are_ignored(raw: Raw) -> None:
    """They would come too late for access control, and must not change how the body is read."""
    content = json.dumps(GOOD).encode()
    for field in ("Content-Encoding: gzip", "Host: other", "Content-Type: text/plain", "x: " + "y" * 60_000):
        body = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(content), content, field.encode())
        assert raw.ask(text(body, headers={**JSON, "Transfer-Encoding": "chunked"}))[0] == 200, field


def test_requests_before_a_malformed_one_are_answered(raw: Raw) -> None:
    raw.send(long(1) + quick(2) + long(3) + b"no request\r\n\r\n" + quick(4))
    assert [raw.reply()[0] for _ in range(4)] == [200, 200, 200, 400]
    assert raw.ended()


def test_what_is_wrong_with_a_request_is_said(raw: Raw) -> None:
    status, headers, body = raw.ask(b"GET /v2/health/live HTTP/1.1\r\n\r\n")
    assert (status, headers["connection"], body) == (400, "close", b"expected exactly one Host header, got 0\n")
    assert raw.ended()


@pytest.mark.parametrize("size", [SHARE - 1, SHARE, SHARE + 1, 3 * SHARE, 150_000])
def test_bodies_that_take_several_shares(raw: Raw, size: int) -> None:
    body = json.dumps(GOOD).encode()
    padded = body + b" " * (size - len(body))
    expected = plain(raw.ask(text()))
    raw.send((text(padded) + text()) * 3)
    assert [plain(raw.reply()) for _ in range(6)] == [expected] * 6


def test_requests_that_nobody_waits_for_are_not_read_ahead(demo: Running) -> None:
    """As long as a reply is not read, neither are the requests behind it, beyond what fits into buffers."""
    connection = Raw(demo, receive=4096)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection.socket.settimeout(3)
    sent, requests = 0, HEALTH * 1000
    with pytest.raises((TimeoutError, ConnectionResetError)):  # the server ends it after a while
        while sent < 100_000_000:
            sent += connection.socket.send(requests)
    assert sent < 20_000_000
    connection.close()


def in_flight(server: Running) -> float:
    labels = (("model_name", server.name),)
    return samples(server)["model_requests_in_flight", labels]


def test_every_request_shows_in_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    with in_thread(None, access_log=True) as server, caplog.at_level(logging.INFO, "predictors.access"):
        connection = Raw(server)
        for data in (text(), slow(), text({"instances": [[1]]}), text(tensor(), V2)):
            connection.ask(data)
        connection.close()
    lines = [record.getMessage() for record in caplog.records if "POST" in record.getMessage()]
    assert [line.split(" ")[:3] for line in lines] == [
        ["POST", f"'{path}'", status] for path, status in ((V1, "200"), (V1, "200"), (V1, "400"), (V2, "200"))
    ]


# -- connections that end ---------------------------------------------------------------------------------------------


def test_a_client_that_leaves_while_its_request_waits(watched: SpiedBatcher) -> None:
    with in_thread(None, model_name="left") as server:
        path = "/v1/models/left:predict"
        first, gone, rude, kept = (Raw(server) for _ in range(4))
        expected = plain(kept.ask(text(row(3), path)))
        watched.gate.clear()
        with watched.one_more():
            first.send(text(row(0), path))
        gone.send(text(row(1), path))
        rude.send(text(row(2), path) + text(row(2), path))
        kept.send(text(row(3), path))
        wait_for(lambda: in_flight(server) >= 4)
        gone.close()
        rude.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.close()
        Raw(server).ask(HEALTH)
        watched.gate.set()
        assert plain(kept.reply()) == expected
        assert first.reply()[0] == 200
        # Nobody computes for one who has left; of one who has sent more requests it cannot be known.
        assert watched.batches[-2:] == [[1], [1, 1]]
        wait_for(lambda: in_flight(server) == 0)
        labels = (("model_name", "left"), ("protocol", "v1"), ("status", "client_gone"))
        assert samples(server)["model_requests_total", labels] == 1
        first.close()
        kept.close()


def test_a_client_that_does_not_read(demo: Running) -> None:
    """Its replies wait, others do not, and at last it gets every one of them."""
    lazy, other = Raw(demo, receive=4096), Raw(demo)
    rows = [[60 + n, 0.5, 10, 0.5] for n in range(1000)]
    requests = [text({"instances": [[n, 0, 0, 0], *rows]}) for n in range(4)]
    lazy.socket.setblocking(False)
    sent, most = b"", b"".join(requests) * 200
    while select.select([], [lazy.socket], [], 0.3)[1] and len(sent) < len(most):
        sent += most[len(sent) : len(sent) + lazy.socket.send(most[len(sent) : len(sent) + 65536])]
        assert other.ask(HEALTH)[0] == 200
    assert len(sent) < len(most), "the server reads on and on"
    assert other.ask(text())[0] == 200
    expected = [plain(other.ask(data)) for data in requests]
    lazy.socket.settimeout(30)
    whole = len(sent) // sum(map(len, requests)) * 4
    assert whole >= 4
    for number in range(whole):
        assert plain(lazy.reply()) == expected[number % 4]
    lazy.close()
    other.close()


def test_idle_connections_end(inline: Running) -> None:
    idle, never = Raw(inline), Raw(inline)
    assert idle.ask(text())[0] == 200
    assert idle.ended()
    never.close()


def test_idle_connections_end_where_slow_clients_do_not() -> None:
    with in_thread(None, keep_alive=1, read_timeout=0) as server:
        idle, slow_client = Raw(server), Raw(server)
        slow_client.send(text()[:-10])
        assert idle.ask(text())[0] == 200
        assert idle.ended()
        assert slow_client.ask(text()[-10:])[0] == 200
        slow_client.close()


def test_a_connection_with_half_a_request_is_not_idle(inline: Running) -> None:
    """Though the request before it, in the same packet, has been answered at once."""
    connection, data = Raw(inline), text(row(2))
    connection.send(text(row(1)) + data[:-10])
    assert connection.reply()[0] == 200
    assert not select.select([connection.socket], [], [], 3.1)[0], "it has ended"
    assert connection.ask(data[-10:])[0] == 200
    connection.close()


def test_connections_leave_nothing_behind(demo: Running) -> None:
    def left() -> int:
        return sum(type(one) is HttpConnection for one in gc.get_objects())

    demo.get("/v2/health/live")
    gc.collect()
    gc.disable()
    try:
        before = left()
        for _ in range(20):
            connection = Raw(demo)
            assert connection.ask(text())[0] == 200
            connection.close()
        wait_for(lambda: left() <= before, seconds=30)
    finally:
        gc.enable()


# -- the end, and models that come and go -----------------------------------------------------------------------------


def test_a_reply_while_the_server_ends_closes_its_connection(
    watched: SpiedBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before the connections are told: until then clients would send more."""
    pipelines = []
    answer = fast_answers.answer

    def noting(pipeline: Pipeline, call: FastCall) -> None:
        pipelines.append(pipeline)
        answer(pipeline, call)

    monkeypatch.setattr(fast_answers, "answer", noting)
    with in_thread(None) as server:
        connection = Raw(server)
        watched.gate.clear()
        with watched.one_more():
            connection.send(text())
        pipelines[0].draining = True
        watched.gate.set()
        status, headers, _ = connection.reply()
        assert (status, headers.get("connection")) == (200, "close")
        assert connection.ended()
        connection.close()


def test_requests_in_batches_are_answered_before_the_end(watched: SpiedBatcher) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        # The grace period is only an upper bound: a busy machine may take long to notice that connections are refused.
        with in_thread(None, model_name="ending", grace_period=60) as server:
            path = "/v1/models/ending:predict"
            clients = [Raw(server) for _ in range(8)]
            expected = [plain(client.ask(text(row(n), path)))[2] for n, client in enumerate(clients)]
            watched.gate.clear()
            for n, client in enumerate(clients):
                client.send(text(row(n), path))
            wait_for(lambda: in_flight(server) == len(clients))

            def open_once_it_ends() -> None:
                wait_for(lambda: refused(server))
                watched.gate.set()

            opened = pool.submit(open_once_it_ends)
        opened.result()
    for client, body in zip(clients, expected, strict=True):
        status, headers, content = client.reply()
        assert (status, headers.get("connection"), content) == (200, "close", body)
        assert client.ended()
        client.close()


def refused(server: Running) -> bool:
    try:
        Raw(server).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_signal_drops_no_request(tmp_path: Path) -> None:
    with process(tmp_path, "--grace-period", "20") as started:
        server = started.running
        clients = [Raw(server) for _ in range(5)]
        expected = []
        for n, client in enumerate(clients):
            data = text(row(n))
            expected.append(plain(client.ask(data))[2])
            client.send(data + data[:-5])  # the reply shows that the half of the next has arrived as well
            assert client.reply()[0] == 200
        started.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refused(server))
        for n, client in enumerate(clients):
            client.send(text(row(n))[-5:])
            status, headers, body = client.reply()
            assert (status, headers.get("connection"), body) == (200, "close", expected[n])
            assert client.ended()
            client.close()
        assert started.process.wait(30) == 0


def test_a_model_that_goes_while_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unloaded between the end of its loading and its serving, it stays unloaded."""
    pipelines = []
    answer, load = fast_answers.answer, MLflowModel.load

    def noting(pipeline: Pipeline, call: FastCall) -> None:
        pipelines.append(pipeline)
        answer(pipeline, call)

    def loading(self: MLflowModel) -> bool:
        done = load(self)
        for pipeline in pipelines[:1]:
            pipeline.served_models.unload()
        return done

    monkeypatch.setattr(fast_answers, "answer", noting)
    monkeypatch.setattr(MLflowModel, "load", loading)
    with in_thread(None) as server:
        connection = Raw(server)
        assert connection.ask(text())[0] == 200
        assert server.post("/v2/repository/models/model/load").status_code == 409
        assert connection.ask(text())[0] == 503
        assert server.post("/v2/repository/index").json()[0]["reason"] == "unloaded"
        connection.close()


def test_requests_while_the_model_comes_and_goes() -> None:
    with in_thread(None) as server:
        asking = True
        expected: dict[int, bytes] = {}

        def ask(number: int) -> dict[int, int]:
            connection, counts = Raw(server), dict.fromkeys((200, 503), 0)
            while asking:
                for data in (text(row(number)), slow(row(number))):
                    status, _, body = connection.ask(data)
                    counts[status] = counts.get(status, 0) + 1
                    assert status != 200 or body == expected[number]
                time.sleep(0.002)  # the model that comes needs the interpreter as well
            connection.close()
            return counts

        connection = Raw(server)
        expected = {number: connection.ask(text(row(number)))[2] for number in range(4)}
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(ask, number) for number in range(4)]
            try:
                for _ in range(2):
                    assert server.post("/v2/repository/models/model/unload").status_code == 200
                    assert connection.ask(text())[0] == 503
                    assert server.post("/v2/repository/models/model/load").status_code == 200
                    assert connection.ask(text())[0] == 200
                for _ in range(2):
                    assert server.post("/v2/repository/models/model/load").status_code == 200
            finally:
                asking = False
            for client in clients:
                counts = client.result(30)
                assert set(counts) == {200, 503}
                assert all(counts.values())
        assert in_flight(server) == 0
        connection.close()


def test_many_pipelined_requests_are_no_long_headers(inline: Running) -> None:
    """However much of them arrives together, and wherever that is cut."""
    connection, times = Raw(inline), 3000
    sender = threading.Thread(target=connection.send, args=(text(row(1)) * times,))
    sender.start()
    assert {connection.reply()[0] for _ in range(times)} == {200}
    sender.join()
    connection.close()
