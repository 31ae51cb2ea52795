"""What one connection does reaches no other: stalls, floods of requests, signals and the end of file descriptors."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import hmac
import re
import signal
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from tests import http2_frames
from tests.attack import http1, http2
from tests.attack.attacked import GOOD_BODY, INFER, INVOCATIONS, PREDICT, READ_TIMEOUT, SECRET, Attacked
from tests.attack.http1 import request

# -- stalls -----------------------------------------------------------------------------------------------------------

HEAD = request(PREDICT, bytes(5000))[:-5000]


CHUNKED = request(PREDICT, None, "transfer-encoding: chunked", method="POST")


def test_bodies_that_never_come(server: Attacked) -> None:
    """But for a route that takes no body: it need not come."""
    beginnings = [HEAD.replace(PREDICT.encode(), path) for path in (b"/v2/repository/index", b"/invocations")]
    beginnings += [HEAD, HEAD + b"{", CHUNKED, CHUNKED + b"ff\r\nhello", CHUNKED + b"1\r\n[\r\n"]
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(http1.connection(server.http)) for _ in beginnings]
        for sock, beginning in zip(socks, beginnings, strict=True):
            sock.sendall(beginning)
        assert [http1.next_response(sock).status for sock in socks] == [200] + [408] * (len(socks) - 1)
        time.sleep(2.5)  # in which the server looks at its connections again
        server.check_correct()


def test_requests_that_stall(server: Attacked) -> None:
    """Each of them ends once its time is over."""
    beginnings = {
        "nothing": b"",
        "a part of the first line": b"POST /v1/mod",
        "a part of the headers": HEAD[:-10],
        "a second request": request() + request()[:20],
    }
    with contextlib.ExitStack() as stack:
        socks = {name: stack.enter_context(http1.connection(server.http)) for name in beginnings}
        for name, sock in socks.items():
            sock.sendall(beginnings[name])
        calls = [stack.enter_context(http2.client(server.grpc)) for _ in range(3)]
        calls[0].send(http2.headers(1, http2.INFER))
        calls[1].send(
            http2.headers(1, http2.INFER) + http2_frames.frame(http2_frames.DATA, 0, 1, bytes((0, 0, 0, 9, 9, 1)))
        )
        calls[2].send(http2.good_call(1)[:-3])
        begin = time.monotonic()
        for name, sock in socks.items():
            received = http1.read_all(sock)
            assert not received or http1.parse(received)[-1].status in (200, 408), name
        assert READ_TIMEOUT - 1 < time.monotonic() - begin < READ_TIMEOUT + 4
        assert [one.outcome(1, wait=True) for one in calls[:2]] == ["status:4"] * 2
        assert calls[2].outcome(1) == "connection:ENHANCE_YOUR_CALM"
        time.sleep(1.5)
    server.check_correct()
    server.check_log()


def test_replies_that_nobody_reads(server: Attacked) -> None:
    body = b'{"instances":[' + b",".join([b"[91.5,1.05,41,0.9]"] * 20_000) + b"]}"
    with contextlib.ExitStack() as stack, server.bounded(64 * 2**20, cpu=10):
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(10)
            sock.connect(server.http)
            http1.sent(sock, request(PREDICT, body))
        time.sleep(READ_TIMEOUT + 2)
        server.check_correct()
    server.check_log()


# -- requests that hold others up -------------------------------------------------------------------------------------


def test_thousands_of_pipelined_requests(server: Attacked) -> None:
    with server.probed() as health, http1.connection(server.http, 30) as sock:
        sock.sendall(request() * 20_000 + http1.last())
        assert http1.read_all(sock).count(b"HTTP/1.1 200") == 20_001
    health.check()


def test_thousands_of_pipelined_predictions(server: Attacked) -> None:
    with server.probed() as health, http1.connection(server.http, 30) as sock:
        sock.sendall(request(PREDICT, GOOD_BODY) * 5_000 + http1.last())
        assert http1.read_all(sock).count(b"HTTP/1.1 200") == 5_001
    health.check()


def test_requests_that_are_sent_without_end(server: Attacked) -> None:
    """Nobody reads their replies, so they are not read either."""
    with server.probed() as health, server.bounded(32 * 2**20, cpu=6):
        for path in ("/health/live", PREDICT):
            with http1.connection(server.http, 1) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                requests = request(path, None if path != PREDICT else GOOD_BODY, "x: slow", "expect: nothing") * 500
                with contextlib.suppress(TimeoutError, ConnectionError):
                    for _ in range(2000):
                        sock.sendall(requests)
                    raise AssertionError("all of it was read")
    health.check()
    server.check_correct()


@pytest.mark.parametrize("size", [1, 2])
def test_a_body_of_tiny_chunks(server: Attacked, size: int) -> None:
    body = b'{"instances":[' + b",".join([b"[91.5,1.05,41,0.9]"] * 10_000) + b"]}"
    sent = request(PREDICT, None, "transfer-encoding: chunked", "content-type: application/json", method="POST")
    with server.probed() as health, server.bounded(64 * 2**20, cpu=5):
        assert http1.ask(server.http, sent + http1.chunked(body, size), 20).status == 200
    health.check()


def test_a_bomb_in_chunks_and_what_follows_it(server: Attacked) -> None:
    """A body that is refused leaves the connection in order for the next request, or ends it."""
    bomb = gzip.compress(bytes(12 * 2**20), mtime=0)
    for kind in ("content-encoding: gzip", "content-encoding: deflate", "content-encoding: br"):
        head = request(PREDICT, None, "transfer-encoding: chunked", kind, method="POST")
        with server.bounded(8 * 2**20):
            responses = http1.conversation(server.http, head + http1.chunked(bomb, 1000) + http1.last())
        assert [one.status for one in responses] in ([413, 200], [415, 200], [413], [415]), kind
    server.check_log()


def test_clients_that_expect_to_be_told_to_go_on(server: Attacked) -> None:
    """They are told so, and end like all others that send nothing; who is refused is not told to send a body."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(http1.connection(server.http)) for _ in range(20)]
        for sock in socks:
            sock.sendall(HEAD.replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"))
        assert [sock.recv(25) for sock in socks] == [b"HTTP/1.1 100 Continue\r\n\r\n"] * 20
        assert [http1.next_response(sock).status for sock in socks] == [408] * 20
    large = request(PREDICT, None, "content-length: 99999999999", "expect: 100-continue", method="POST")
    with http1.connection(server.http) as sock:
        sock.sendall(large)
        assert http1.read_all(sock).startswith(b"HTTP/1.1 413 ")
    server.check_log()


# -- small things that cost a 500, or more ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PREDICT, INFER, INVOCATIONS, "/hooks/mlflow", "/v2/repository/models/model/load"])
def test_a_length_of_thousands_of_digits(server: Attacked, path: str) -> None:
    zeros = "0" * 5000
    head = request(path, GOOD_BODY).replace(b"content-length: ", f"content-length: {zeros}".encode())
    assert http1.ask(server.http, head).status == 400
    server.check_log()


@pytest.mark.parametrize("sent", ["1" * 5000, "0" * 5000, "²"])
def test_a_webhook_from_far_away_in_time(server: Attacked, sent: str) -> None:
    response = http1.ask(server.http, delivery(sent))
    assert response.status in (400, 401)
    server.check_log()


def test_webhooks_that_are_odd(server: Attacked) -> None:
    now = str(int(time.time()))
    for body in (b"", b"[]", b"{", b"[" * 100_000, b'{"data":[]}', b'{"data":{"name":{}}}', b"\xff"):
        assert http1.ask(server.http, delivery(now, body)).status < 500, body[:50]
    assert http1.ask(server.http, delivery("9" * 30, b"{}")).status == 401
    server.check_log()


def delivery(sent: str, body: bytes = b"{}") -> bytes:
    """A webhook of a registry, signed as it should be."""
    number = str(time.monotonic_ns())
    digest = hmac.new(SECRET.encode(), f"{number}.{sent}.".encode("latin-1") + body, hashlib.sha256).digest()
    signature = base64.b64encode(digest).decode()
    headers = (f"x-mlflow-delivery-id: {number}", f"x-mlflow-timestamp: {sent}", f"x-mlflow-signature: v1,{signature}")
    return request("/hooks/mlflow", body, *headers)


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/models/{}"),
        ("GET", "/v2/models/{}"),
        ("GET", "/v2/models/{}/ready"),
        ("GET", "/v2/models/model/versions/{}"),
        ("POST", "/v1/models/{}:predict"),
        ("POST", "/v2/models/{}/infer"),
        ("POST", "/v2/models/model/versions/{}/infer"),
        ("POST", "/v2/repository/models/{}/load"),
    ],
)
def test_names_of_60_kilobytes(server: Attacked, verb: str, path: str) -> None:
    response = http1.ask(server.http, request(path.format("x" * 60_000), GOOD_BODY if verb == "POST" else None))
    assert response.status == 404
    assert len(response.body) < 1500


# -- signals and resources --------------------------------------------------------------------------------------------


def test_a_hangup_of_the_terminal(server: Attacked) -> None:
    server.server.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    server.check_correct()


def test_other_signals(server: Attacked) -> None:
    for number in (signal.SIGWINCH, signal.SIGPIPE, signal.SIGCHLD, signal.SIGURG, signal.SIGCONT):
        server.server.process.send_signal(number)
    time.sleep(0.2)
    server.check_correct()


@contextlib.contextmanager
def file_descriptors(server: Attacked, more: int) -> Iterator[None]:
    """The server may open so many more."""
    process = psutil.Process(server.pid)
    before = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + more, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, before)


def test_no_more_file_descriptors(server: Attacked) -> None:
    """One line says so; then callers are served as soon as others have gone."""
    cpu = server.cpu_seconds
    with file_descriptors(server, 5), contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(server.http))
        time.sleep(2)
        used = server.cpu_seconds - cpu
    server.check_correct()
    assert used < 1, f"{used:.1f} s of CPU while nobody could be served"
    lines = [one for one in server.log.splitlines() if re.search("(?i)open files|descriptors", one)]
    assert 1 <= len(lines) <= 2
    server.check_log()


def test_thousands_of_connections(server: Attacked) -> None:
    with contextlib.ExitStack() as stack, server.bounded(64 * 2**20, cpu=5):
        for i in range(400):
            stack.enter_context(socket.create_connection(server.http if i % 2 else server.grpc))
        server.check_correct()


# -- tasks of the server ----------------------------------------------------------------------------------------------
