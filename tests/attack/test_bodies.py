"""Bodies that are small and ask for much: memory and work are bounded by what was sent and by --max-body."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests import http2_frames
from tests.attack import http1, http2
from tests.attack.attacked import (
    COLUMNS,
    HELD,
    INFER,
    INVOCATIONS,
    MAX_BODY,
    MIB,
    PREDICT,
    ROW,
    Attacked,
)
from tests.attack.http1 import RawResponse, request
from tests.predictors.protocol.test_tables import nested_file
from tests.serving import wait_for

GROWTH = 64 * MIB
"""More than what a body of a few megabytes may take, and far less than what an attack takes."""
REFUSALS = (400, 413)
ALLOWED = int(1.5 * HELD)
PARQUET, CSV = "application/vnd.apache.parquet", "text/csv"


def ask(server: Attacked, path: str, body: bytes, content_type: str = "application/json", *headers: str) -> RawResponse:
    sent = request(path, body, *headers).replace(b"application/json", content_type.encode())
    return http1.ask(server.http, sent, 20)


def check_refused(response: RawResponse, statuses: tuple[int, ...] = REFUSALS) -> None:
    assert response.status in statuses, response.body[:300]
    assert len(response.body) < 2000


# -- many names -------------------------------------------------------------------------------------------------------


def records(rows: int) -> list[dict[str, int]]:
    """Rows of one key each, which no other row has."""
    return [{f"k{i}": 1} for i in range(rows)]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (PREDICT, "instances"),
        (INVOCATIONS, "instances"),
        (INVOCATIONS, "dataframe_records"),
    ],
)
def test_rows_with_keys_of_their_own(server: Attacked, path: str, form: str) -> None:
    with server.bounded(GROWTH):
        response = ask(server, path, orjson.dumps({form: records(5000)}))
    check_refused(response)


def test_work_for_a_client_that_has_gone(server: Attacked) -> None:
    """Nobody waits for it, so it ends."""
    with http1.connection(server.http) as sock:
        sock.sendall(request(PREDICT, orjson.dumps({"instances": records(7000)})))
        time.sleep(0.3)
    before = server.cpu_seconds
    time.sleep(3)
    assert server.cpu_seconds - before < 0.5


def inputs(count: int) -> list[dict[str, Any]]:
    return [{"name": f"k{i}", "shape": [1], "datatype": "FP64", "data": [1]} for i in range(count)]


def whole() -> dict[str, Any]:
    return {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ROW}


JSON_BODIES: dict[str, tuple[str, Callable[[], Any]]] = {
    "a row of 200,000 keys": (PREDICT, lambda: {"instances": [{f"k{i}": 1 for i in range(200_000)}]}),
    "200,000 columns": (PREDICT, lambda: {"inputs": {f"k{i}": [1] for i in range(200_000)}}),
    "200,000 columns of /invocations": (INVOCATIONS, lambda: {"inputs": {f"k{i}": 1 for i in range(200_000)}}),
    "200,000 columns, split": (INVOCATIONS, lambda: {"dataframe_split": {"columns": list(range(200_000)), "data": [[1] * 200_000]}}),
    "rows of no columns, split": (INVOCATIONS, lambda: {"dataframe_split": {"columns": [], "data": [[]] * 500_000}}),
    "100,000 tensors": (INFER, lambda: {"inputs": inputs(100_000)}),
    "one tensor again and again": (INFER, lambda: {"inputs": inputs(1) * 100_000}),
    "10,000 outputs": (INFER, lambda: {"inputs": [whole()], "outputs": [{"name": f"k{i}"} for i in range(10_000)]}),
    "an output again and again": (INFER, lambda: {"inputs": [whole()], "outputs": [{"name": "predictions"}] * 10_000}),
    "100,000 parameters": (INFER, lambda: {"inputs": inputs(1), "parameters": {f"k{i}": 1 for i in range(100_000)}}),
    "100,000 unknown keys": (PREDICT, lambda: {f"k{i}": 1 for i in range(100_000)}),
    "a shape of 100,000 dimensions": (INFER, lambda: {"inputs": [{"name": "x", "shape": [1] * 100_000, "datatype": "FP64", "data": [1]}]}),
    "a text among 20,000 numbers": (INFER, lambda: {"inputs": [{"name": "x", "shape": [20_001], "datatype": "INT64", "data": ["v" * 10_000, *[1] * 20_000]}]}),
    "a shape that says too much": (INFER, lambda: {"inputs": [{"name": "x", "shape": [2**40, 2**22], "datatype": "FP64", "data": [1]}]}),
    "a shape of nothing": (INFER, lambda: {"inputs": [{"name": "x", "shape": [0, 2**62], "datatype": "FP64", "data": []}]}),
    "a negative shape": (INFER, lambda: {"inputs": [{"name": "x", "shape": [-1, -4], "datatype": "FP64", "data": ROW}]}),
    "a million empty rows": (PREDICT, lambda: {"instances": [[]] * 1_000_000}),
    "a million empty records": (PREDICT, lambda: {"instances": [{}] * 1_000_000}),
    "a row of a million values": (PREDICT, lambda: {"instances": [[1] * 1_000_000]}),
    "rows of more and more values": (PREDICT, lambda: {"instances": [[1] * i for i in range(1400)]}),
    "a name of 4 MiB": (PREDICT, lambda: {"instances": [{"k" * 4 * MIB: 1}]}),
    "a value of 4 MiB": (PREDICT, lambda: {"instances": [[*ROW[:3], "v" * 4 * MIB]]}),
    "a method of 4 MiB": (PREDICT, lambda: {"instances": [ROW], "parameters": {"method": "m" * 4 * MIB}}),
    "a datatype of 4 MiB": (INFER, lambda: {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "F" * 4 * MIB, "data": ROW}]}),
}  # fmt: skip
TEXTS: dict[str, tuple[str, bytes]] = {
    "a million brackets": (PREDICT, b'{"instances":' + b"[" * 1_000_000),
    "a million brackets that are closed": (PREDICT, b'{"instances":' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "a hundred thousand objects in one another": (PREDICT, b'{"instances":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}"),
    "five hundred brackets": (PREDICT, b'{"instances":' + b"[" * 500 + b"1" + b"]" * 500 + b"}"),
    "a number of a million digits": (PREDICT, b'{"instances":[[' + b"9" * 1_000_000 + b",1,1,1]]}"),
    "an exponent of a million digits": (PREDICT, b'{"instances":[[1e' + b"9" * 1_000_000 + b",1,1,1]]}"),
    "a million NaN": (PREDICT, b'{"instances":[[' + b"NaN," * 1_000_000 + b"1]]}"),
    "the same key a hundred thousand times": (PREDICT, b'{"instances":[{' + b'"load":1,' * 100_000 + b'"load":1}]}'),
    "no UTF-8": (PREDICT, b'{"instances":[["' + b"\xff" * 1_000_000 + b'"]]}'),
    "half a surrogate": (PREDICT, b'{"instances":[{"\\ud800":1}]}'),
    "NUL in a name": (PREDICT, b'{"instances":[{"\\u0000":1}]}'),
}  # fmt: skip


@pytest.mark.parametrize("name", JSON_BODIES)
def test_json_that_asks_for_much(server: Attacked, name: str) -> None:
    path, make = JSON_BODIES[name]
    body = orjson.dumps(make(), option=orjson.OPT_NON_STR_KEYS)
    with server.bounded(GROWTH + 20 * len(body)):
        response = ask(server, path, body)
    check_refused(response)
    server.check_log()


@pytest.mark.parametrize("name", TEXTS)
def test_json_that_is_odd(server: Attacked, name: str) -> None:
    path, body = TEXTS[name]
    with server.bounded(GROWTH + 20 * len(body)):
        response = ask(server, path, body)
    check_refused(response)
    server.check_log()


def message(**fields: Any) -> bytes:
    return bytes(pb.ModelInferRequest(model_name="model", **fields).SerializeToString())


def tensor(name: str = "x", shape: tuple[int, ...] = (1, 4), datatype: str = "FP64", **contents: Any) -> Any:
    return pb.ModelInferRequest.InferInputTensor(name=name, shape=shape, datatype=datatype, contents=contents)


MESSAGES: dict[str, Callable[[], bytes]] = {
    "100,000 tensors": lambda: message(inputs=[tensor(f"k{i}", (1,), fp64_contents=[1]) for i in range(100_000)]),
    "100,000 raw tensors for one": lambda: message(inputs=[tensor()], raw_input_contents=[b"x"] * 100_000),
    "a shape that says too much": lambda: message(inputs=[tensor(shape=(2**40, 2**22), fp64_contents=ROW)]),
    "a shape that says too much, raw": lambda: message(inputs=[tensor(shape=(2**40, 2**22))], raw_input_contents=[bytes(32)]),
    "a shape of 100,000 dimensions": lambda: message(inputs=[tensor(shape=(1,) * 100_000, fp64_contents=ROW)]),
    "a negative shape": lambda: message(inputs=[tensor(shape=(-1, 4), fp64_contents=ROW)]),
    "lengths that lie": lambda: message(inputs=[tensor(datatype="BYTES")], raw_input_contents=[b"\xff\xff\xff\x7f" * 4]),
    "a name of 4 MiB": lambda: message(inputs=[tensor("k" * 4 * MIB, fp64_contents=ROW), tensor()]),
    "a datatype of 4 MiB": lambda: message(inputs=[tensor(datatype="F" * 4 * MIB, fp64_contents=ROW)]),
    "100,000 parameters": lambda: message(inputs=[tensor(fp64_contents=ROW)], parameters={f"k{i}": pb.InferParameter(int64_param=1) for i in range(100_000)}),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_that_ask_for_much(server: Attacked, name: str) -> None:
    body = MESSAGES[name]()
    with server.bounded(GROWTH + 20 * len(body)), http2.client(server.grpc, timeout=30) as peer:
        peer.send(http2.call(1, http2.INFER, body))
        assert peer.outcome(1, wait=True) in ("status:3", "status:8")
    server.check_log()


# -- tables -----------------------------------------------------------------------------------------------------------


def parquet(table: Any, **options: Any) -> bytes:
    written = io.BytesIO()
    pq.write_table(table, written, compression="zstd", **options)
    return written.getvalue()


def constant(rows: int, names: tuple[str, ...] = COLUMNS) -> bytes:
    column = pa.array(np.zeros(rows))
    return parquet(pa.table(dict.fromkeys(names, column)))


def texts(rows: int, length: int) -> bytes:
    """One text in many rows, which the file holds once."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * length]))
    return parquet(pa.table(dict.fromkeys(COLUMNS, column.cast(pa.string()))))


def lists(length: int) -> bytes:
    """One row of long lists."""
    column = pa.ListArray.from_arrays(pa.array([0, length], pa.int32()), pa.array(np.zeros(length)))
    return parquet(pa.table(dict.fromkeys(COLUMNS, column)))


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "Parquet of 3 million rows": (PARQUET, lambda: constant(3_000_000)),
    "Parquet of 5,000 columns": (PARQUET, lambda: constant(1, tuple(f"k{i}" for i in range(5_000)))),
    "Parquet of long texts": (PARQUET, lambda: texts(2_000, 100_000)),
    "Parquet of long lists": (PARQUET, lambda: lists(3_000_000)),
    "Parquet of columns in one another": (PARQUET, lambda: nested_file(9_000)),
    "CSV of rows that leave everything out": (CSV, lambda: b",".join(b"k%d" % i for i in range(5_000)) + b"\n1" * MIB),
    "CSV of 20,000 columns": (CSV, lambda: b",".join(b"k%d" % i for i in range(20_000)) + b"\n" + b"1," * 19_999 + b"1\n"),
    "CSV of 10,000 names only": (CSV, lambda: b",".join(b"k%d" % i for i in range(10_000)) + b"\n"),
    "CSV of one long line": (CSV, lambda: b"x" * 4 * MIB),
    "CSV of quotes": (CSV, lambda: b'"' * 4 * MIB),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_tables_that_unfold(server: Attacked, name: str) -> None:
    content_type, make = FILES[name]
    body = make()
    assert len(body) < MAX_BODY
    with server.bounded(ALLOWED, cpu=0.75):
        response = ask(server, INVOCATIONS, body, content_type)
    check_refused(response)
    server.check_log()


def test_columns_beside_those_of_the_model_take_nothing(server: Attacked) -> None:
    """They are ignored, and not read: with them the table would be larger than a body may be."""
    body = constant(100_000, (*COLUMNS, *(f"k{i}" for i in range(200))))
    assert len(body) < MAX_BODY < 100_000 * 200 * 8
    with server.bounded(ALLOWED, cpu=0.75):
        response = ask(server, INVOCATIONS, body, PARQUET)
    assert (response.status, response.headers["x-ignored"][:18]) == (200, "column=k0, column=")
    server.check_log()


@pytest.mark.parametrize("cut", [0, 3, 4, 100, -1, -4, -8, -50])
def test_parquet_that_is_broken(server: Attacked, cut: int) -> None:
    check_refused(ask(server, INVOCATIONS, constant(10)[:cut], PARQUET))
    server.check_log()


# -- compressed bodies ------------------------------------------------------------------------------------------------

ZEROS = gzip.compress(bytes(MAX_BODY - 1000), mtime=0)
BOMBS = 30
MIXED = random.Random(0).randbytes(1500) + bytes(98_500)
COMPRESSED = {
    "zeros": lambda: ZEROS,  # refused for its ratio
    "within the ratio": lambda: gzip.compress(MIXED * ((MAX_BODY - 1000) // len(MIXED)), compresslevel=1, mtime=0),
}
many_kinds = pytest.mark.parametrize("kind", COMPRESSED)


def check_released(server: Attacked, before: int) -> None:
    wait_for(lambda: server.memory - before < 24 * MIB, seconds=5)


@many_kinds
def test_many_bodies_that_inflate(server: Attacked, kind: str) -> None:
    before = server.memory
    bomb = request(PREDICT, COMPRESSED[kind](), "content-encoding: gzip")
    with server.probed() as health, contextlib.ExitStack() as stack, server.bounded(ALLOWED, cpu=10):
        socks = [stack.enter_context(http1.connection(server.http, 60)) for _ in range(BOMBS)]
        for sock in socks:
            sock.sendall(bomb)
        statuses = {http1.next_response(sock).status for sock in socks}
    assert statuses <= {400, 413, 429, 503}
    health.check()
    check_released(server, before)


@many_kinds
def test_many_messages_that_inflate(server: Attacked, kind: str) -> None:
    before = server.memory
    streams, body = range(1, 2 * BOMBS, 2), COMPRESSED[kind]()
    bombs = [
        http2.headers(i, http2.INFER, ("grpc-encoding", "gzip"))
        + http2.data(i, http2_frames.packed(body, compressed=True))
        for i in streams
    ]
    with server.probed() as health, http2.client(server.grpc, timeout=30) as peer, server.bounded(ALLOWED, cpu=10):
        peer.send(b"".join(bombs))
        outcomes = {peer.outcome(i, wait=True) for i in streams}
    assert outcomes <= {"status:3", "status:8", "status:13", "status:14", "connection:ENHANCE_YOUR_CALM"}
    health.check()
    check_released(server, before)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_inflates_a_thousandfold(server: Attacked, encoding: str) -> None:
    """It is refused before it is large."""
    import zlib

    body = ZEROS if encoding == "gzip" else zlib.compress(bytes(MAX_BODY - 1000))
    with server.bounded(8 * MIB):
        response = ask(server, PREDICT, body, "application/json", f"content-encoding: {encoding}")
    check_refused(response)


@pytest.mark.parametrize("cut", [0, 1, 5, 10, 30, -1, -8])
def test_compressed_bodies_that_are_broken(server: Attacked, cut: int) -> None:
    body = gzip.compress(orjson.dumps({"instances": [ROW] * 100, "parameters": {}}), mtime=0)
    assert ask(server, PREDICT, body, "application/json", "content-encoding: gzip").status == 200
    check_refused(ask(server, PREDICT, body[:cut], "application/json", "content-encoding: gzip"))
    check_refused(ask(server, PREDICT, body + body, "application/json", "content-encoding: gzip"))
    check_refused(ask(server, PREDICT, body, "application/json", "content-encoding: gzip, gzip"), (400, 415))
    server.check_log()
