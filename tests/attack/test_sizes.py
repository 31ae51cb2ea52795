"""Bodies around --max-body, however they come: a larger one is refused with 413, a smaller one is answered."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterator

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import http2_frames
from tests.attack import http1, http2
from tests.attack.attacked import INVOCATIONS, PREDICT, Attacked, attacked, good_message
from tests.attack.http1 import RawResponse, request

LIMIT = 40_000
CASES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.one_of(st.integers(LIMIT - 3, LIMIT + 3), st.integers(200, 2 * LIMIT), st.integers(LIMIT + 1, 40 * LIMIT))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """A server that takes bodies of up to 40,000 bytes, and many of them."""
    folder = tmp_path_factory.mktemp("small")
    with attacked(folder, "--max-body", str(LIMIT), "--max-in-flight-bytes", "64MiB") as server:
        yield server
        server.check_correct()
        server.check_log()


def body_of(size: int) -> bytes:
    """Rows that a model takes, with spaces in which nothing repeats to be compressed much."""
    chance = random.Random(size)
    rows = [[chance.random(), chance.random(), chance.randrange(90), chance.random()] for _ in range(size // 90 or 1)]
    body = b'{"instances":' + orjson.dumps(rows[:1000]) + b"}"
    return body + b" " * (size - len(body))


def check(response: RawResponse, size: int) -> None:
    assert response.status == (200 if size <= LIMIT else 413), (size, response.body[:200])


@CASES
@given(size=SIZES, path=st.sampled_from([PREDICT, INVOCATIONS]))
def test_content_length(small: Attacked, size: int, path: str) -> None:
    check(http1.ask(small.http, request(path, body_of(size))), size)


@CASES
@given(size=SIZES, piece=st.integers(100, 50_000), path=st.sampled_from([PREDICT, INVOCATIONS]))
def test_chunks(small: Attacked, size: int, piece: int, path: str) -> None:
    head = request(path, None, "content-type: application/json", "transfer-encoding: chunked", method="POST")
    check(http1.ask(small.http, head + http1.chunked(body_of(size), piece)), size)


@CASES
@given(size=SIZES, encoding=st.sampled_from(["gzip", "deflate"]), chunked=st.booleans())
def test_compressed_bodies(small: Attacked, size: int, encoding: str, chunked: bool) -> None:
    body = body_of(size)
    packed = gzip.compress(body, mtime=0) if encoding == "gzip" else zlib.compress(body)
    if chunked:
        headers = ("content-type: application/json", "transfer-encoding: chunked", f"content-encoding: {encoding}")
        sent = request(PREDICT, None, *headers, method="POST") + http1.chunked(packed, 1000)
    else:
        sent = request(PREDICT, packed, f"content-encoding: {encoding}")
    check(http1.ask(small.http, sent), size)


@CASES
@given(
    rows=st.one_of(st.integers(1, 3000), st.integers(1240, 1250)),
    encoding=st.sampled_from(["identity", "gzip", "deflate"]),
)
def test_messages(small: Attacked, rows: int, encoding: str) -> None:
    body = good_message(rows).SerializeToString()
    packers: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
    packed = packers[encoding](body)
    with http2.client(small.grpc, timeout=10) as peer:
        peer.send(http2.headers(1, http2.INFER, ("grpc-encoding", encoding)))
        peer.send(http2.data(1, http2_frames.packed(packed, compressed=encoding != "identity")))
        assert peer.outcome(1, wait=True) == ("status:0" if len(body) <= LIMIT else "status:8"), len(body)
