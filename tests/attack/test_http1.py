"""HTTP/1.1 as RFC 9112 asks for it: what could be read in two ways is refused, and nothing after it is answered."""

from __future__ import annotations

import socket

import pytest

from tests.attack import http1
from tests.attack.attacked import GOOD_BODY, INVOCATIONS, PREDICT, PROBABILITY, Attacked
from tests.attack.http1 import request

LENGTH = f"content-length: {len(GOOD_BODY)}"
JSON = "content-type: application/json"
SMUGGLED = http1.last("/metrics")


def raw(*lines: str | bytes, body: bytes = b"") -> bytes:
    """A request of these lines, as they are."""
    return b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in (*lines, "")) + body


def predict(*headers: str | bytes, body: bytes = GOOD_BODY) -> bytes:
    return raw(f"POST {PREDICT} HTTP/1.1", "host: test", JSON, *headers, body=body)


def chunks(body: bytes) -> bytes:
    return predict("transfer-encoding: chunked", body=body)


def get(*headers: str | bytes, line: str = "GET /health/live HTTP/1.1") -> bytes:
    return raw(line, *headers)


GOOD = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY)
REFUSED = {
    # RFC 9112, 3.2: exactly one Host
    "no host": get(),
    "two hosts": get("host: a", "host: b"),
    "the same host twice": get("host: a", "host: a"),
    "a host with a space": get("host: a b"),
    "no host of a prediction": raw(f"POST {PREDICT} HTTP/1.1", JSON, LENGTH, body=GOOD_BODY),
    "two hosts of a prediction": predict("host: another", LENGTH),
    # the first line
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "HTTP/0.9 said aloud": get("host: a", line="GET /health/live HTTP/0.9"),
    "HTTP/2.0": get("host: a", line="GET /health/live HTTP/2.0"),
    "HTTP/1.10": get("host: a", line="GET /health/live HTTP/1.10"),
    "no version": get("host: a", line="GET /health/live"),
    "another protocol": get("host: a", line="GET /health/live SIP/1.1"),
    "a space in the path": get("host: a", line="GET /health/ live HTTP/1.1"),
    "a tab for a space": get("host: a", line="GET\t/health/live\tHTTP/1.1"),
    "a method that is no token": get("host: a", line="G@T /health/live HTTP/1.1"),
    "a method in lowercase": get("host: a", line="get /health/live HTTP/1.1"),
    "NUL in the path": get("host: a", line="GET /health\0/live HTTP/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    # headers
    "a space before the colon": get("host : a"),
    "a space before the colon of a length": predict(f"content-length : {len(GOOD_BODY)}"),
    "a folded header": get("host: a", "x: y", " z"),
    "a first line that is folded": get(" host: a"),
    "a header without colon": get("host: a", "x"),
    "a header without name": get("host: a", ": x"),
    "a space in a name": get("host: a", "x y: z"),
    "NUL in a name": get("host: a", "x\0: z"),
    "NUL in a value": get("host: a", "x: y\0z"),
    "CR in a value": get("host: a", b"x: y\rz"),
    "a line that ends with LF only, before another": get("host: a", b"x: y\nz w: 1"),
    # lengths: RFC 9112, 6.3
    "two lengths": predict(LENGTH, "content-length: 5"),
    "a list of lengths": predict(f"content-length: {len(GOOD_BODY)}, 5"),
    "a negative length": predict("content-length: -1"),
    "a length with a sign": predict(f"content-length: +{len(GOOD_BODY)}"),
    "a length in hexadecimal": predict(f"content-length: {len(GOOD_BODY):#x}"),
    "a length that is no number": predict("content-length: five"),
    "an empty length": predict("content-length:"),
    "a length beyond 64 bits": predict("content-length: 18446744073709551617"),
    "a length and chunks": predict(LENGTH, "transfer-encoding: chunked", body=GOOD + SMUGGLED),
    "chunks and a length": predict("transfer-encoding: chunked", LENGTH, body=GOOD + SMUGGLED),
    "a transfer coding that nobody knows": predict("transfer-encoding: cow", LENGTH),
    "chunks that are not last": predict("transfer-encoding: chunked, identity", body=GOOD),
    "chunks that are spelled otherwise": predict("transfer-encoding: xchunked", body=GOOD),
    "chunks in HTTP/1.0": raw(f"POST {PREDICT} HTTP/1.0", JSON, "transfer-encoding: chunked", body=GOOD),
    # chunks: RFC 9112, 7.1
    "a chunk of no size": chunks(b"\r\n" + GOOD),
    "a chunk of a negative size": chunks(b"-1\r\n" + GOOD),
    "a chunk of 0x5": chunks(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk of five and a space": chunks(b"5 5\r\nhello\r\n0\r\n\r\n"),
    "a chunk of a sign": chunks(b"+5\r\nhello\r\n0\r\n\r\n"),
    "a chunk beyond 64 bits": chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "a chunk without its end": chunks(b"5\r\nhelloXX0\r\n\r\n"),
    "a chunk that is longer than said": chunks(b"4\r\nhello\r\n0\r\n\r\n"),
    "a chunk that ends with LF": chunks(b"%x\n%b\n0\n\n" % (len(GOOD_BODY), GOOD_BODY)),
    "letters for a size": chunks(b"hello\r\n0\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in REFUSED.items()])
def test_requests_that_are_refused(server: Attacked, data: bytes) -> None:
    """One reply of 400 (or that the method or version is unknown), then the end: what follows is not answered."""
    responses = http1.conversation(server.http, data + SMUGGLED)
    assert [one.status for one in responses] in ([400], [501], [505], []), responses
    server.check_alive()


ACCEPTED = {
    "HTTP/1.0 without host": raw(f"POST {PREDICT} HTTP/1.0", JSON, LENGTH, body=GOOD_BODY),
    "the same length twice": predict(LENGTH),
    "a name in capitals": predict(LENGTH.upper()),
    "spaces around a value": predict(f"content-length: \t {len(GOOD_BODY)} \t "),
    "an empty line before": b"\r\n" + predict(LENGTH),
    "an absolute target": predict(LENGTH).replace(b"POST /", b"POST http://test/", 1),
    "a query": predict(LENGTH).replace(b":predict ", b":predict?x=y ", 1),
    "chunks": chunks(GOOD),
    "chunks of a byte": chunks(http1.chunked(GOOD_BODY, 1)),
    "chunks with extensions": chunks(b"%x;name=value\r\n%b\r\n0;x\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY)),
    "chunks with trailers": chunks(b"%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY)),
    "zeros before a chunk's size": chunks(b"000%x\r\n%b\r\n000\r\n\r\n" % (len(GOOD_BODY), GOOD_BODY)),
    "zeros before a length": predict(f"content-length: 000{len(GOOD_BODY)}"),
    "expect": predict(LENGTH, "expect: 100-continue"),
    "a header of 8 KiB": predict(LENGTH, f"x: {'y' * 8192}"),
    "a hundred headers": predict(LENGTH, *(f"x{i}: y" for i in range(100))),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in ACCEPTED.items()])
def test_requests_that_are_served(server: Attacked, data: bytes) -> None:
    response = http1.ask(server.http, data)
    assert response.status == 200, response
    assert response.json["probabilities"][0][1] == PROBABILITY


HUGE = {
    "a header of 1 MB": get("host: a", f"x: {'y' * 1_000_000}"),
    "a name of 1 MB": get("host: a", f"{'x' * 1_000_000}: y"),
    "a path of 1 MB": get("host: a", line=f"GET /{'x' * 1_000_000} HTTP/1.1"),
    "a method of 1 MB": get("host: a", line=f"{'G' * 1_000_000} / HTTP/1.1"),
    "a hundred thousand headers": get("host: a", *(f"x{i}: y" for i in range(100_000))),
    "headers without end": b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 200_000,
    "trailers without end": chunks(b"0\r\n" + b"x: y\r\n" * 200_000),
    "an extension of 1 MB": chunks(b"1;" + b"x" * 1_000_000 + b"\r\n1\r\n0\r\n\r\n"),
    "a size of a million zeros": chunks(b"0" * 1_000_000 + b"1\r\n1\r\n0\r\n\r\n"),
    "empty lines": b"\r\n" * 500_000,
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in HUGE.items()])
def test_heads_that_are_huge(server: Attacked, data: bytes) -> None:
    with server.bounded(32 * 2**20):
        responses = http1.conversation(server.http, data + SMUGGLED)
    statuses = [one.status for one in responses]
    assert statuses in ([400], [404], [413], [414], [431], [501], [400, 200], [200], []), responses
    server.check_alive()


def test_pipelined_requests_are_answered_in_turn(server: Attacked) -> None:
    bodies = [b'{"instances":[[%d,1.05,41,0.9]]}' % i for i in range(50)]
    alone = [http1.ask(server.http, request(PREDICT, body)).body for body in bodies[::10]]
    paths = [PREDICT, INVOCATIONS]
    asked = b"".join(request(paths[i % 3 == 1], body) + request() for i, body in enumerate(bodies))
    *responses, _ = http1.conversation(server.http, asked + http1.last())
    assert [one.status for one in responses] == [200] * 100
    answers = responses[::2]
    assert [one.body for i, one in enumerate(answers) if i % 10 == 0 and i % 3 != 1] == [
        body for i, body in zip(range(0, 50, 10), alone, strict=True) if i % 3 != 1
    ]
    assert all(one.json == {"status": "alive", "live": True} for one in responses[1::2])


def test_nothing_is_answered_after_an_end(server: Attacked) -> None:
    responses = http1.conversation(server.http, http1.last() + SMUGGLED)
    assert [one.status for one in responses] == [200]


def test_a_body_that_looks_like_a_request(server: Attacked) -> None:
    """What is left of a body that nobody read is no request."""
    for path in ("/no/such", "/health/live", PREDICT):
        responses = http1.conversation(server.http, request(path, SMUGGLED) + http1.last())
        assert len(responses) == 2, path
        assert responses[1].json["status"] == "alive"


def test_requests_that_are_cut_off(server: Attacked) -> None:
    """Nobody waits for the rest of a request whose client has gone."""
    whole = predict(LENGTH)
    for cut in range(1, len(whole), 7):
        with http1.connection(server.http) as sock:
            sock.sendall(whole[:cut])
            sock.shutdown(socket.SHUT_WR)
            assert [one.status for one in http1.parse(http1.read_all(sock))] in ([], [400])
    server.check_correct()


def test_requests_byte_by_byte(server: Attacked) -> None:
    with http1.connection(server.http) as sock:
        for byte in predict(LENGTH) + chunks(GOOD):
            sock.sendall(bytes((byte,)))
        sock.sendall(http1.last())
        assert [one.status for one in http1.parse(http1.read_all(sock))] == [200, 200, 200]
    server.check_log()
