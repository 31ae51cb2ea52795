"""Large bodies that are valid: what reads and writes them holds the interpreter's lock, and others must have their turn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TypeVar

import numpy as np
import orjson
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.attack import http1, http2
from tests.attack.attacked import (
    COLUMNS,
    INFER,
    INVOCATIONS,
    MAX_BODY,
    PREDICT,
    PROBABILITY,
    ROW,
    Attacked,
    Health,
    good_message,
)
from tests.attack.http1 import request
from tests.http2_frames import INITIAL_WINDOW_SIZE, window_update

pytestmark = pytest.mark.slow
T = TypeVar("T")
COUNT = int(os.environ.get("ATTACK_CLIENTS", "12"))
"""At once; the server holds four of these bodies at a time."""
SECONDS = 120.0  # for all of them, on a busy machine
LASTING = float(os.environ.get("ATTACK_SECONDS", "0"))
"""Seconds for which they are sent again and again; once at least."""
HEALTH_SECONDS = 1.5
"""The bar is 100 ms on an idle machine; the clients of this test keep theirs busy."""
OVERLOADED = {429, 503}
DEFAULT_WINDOW = 65_535


def check(health: Health) -> None:
    if os.getloadavg()[0] < 4 * (os.cpu_count() or 1):  # else it says nothing about the server
        health.check(HEALTH_SECONDS)


def ask_at_once(ask: Callable[[int], T]) -> Iterator[T]:
    end = time.monotonic() + LASTING
    with ThreadPoolExecutor(COUNT) as clients:
        yield from clients.map(ask, range(COUNT))
        while time.monotonic() < end:
            yield from clients.map(ask, range(COUNT))


def filled(before: bytes, row: bytes, after: bytes) -> bytes:
    """As many rows as a body may hold."""
    rows = (MAX_BODY - len(before) - len(after)) // (len(row) + 1)
    return before + b",".join(repeat(row, rows)) + after


def v2_body() -> bytes:
    head = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[%d,4],"data":['
    row, after = orjson.dumps(ROW)[1:-1], b"]}]}"
    rows = (MAX_BODY - len(head) - 20) // (len(row) + 1)
    return head % rows + b",".join(repeat(row, rows)) + after


def columns() -> bytes:
    rows = MAX_BODY // (len(orjson.dumps(ROW)) + 1)
    return orjson.dumps({"inputs": {name: [value] * rows for name, value in zip(COLUMNS, ROW, strict=True)}})


JSON_BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "rows": (PREDICT, lambda: filled(b'{"instances":[', orjson.dumps(ROW), b"]}")),
    "rows of integers": (PREDICT, lambda: filled(b'{"instances":[', b"[1,1,1,1]", b"]}")),
    "records": (
        PREDICT,
        lambda: filled(b'{"instances":[', orjson.dumps(dict(zip(COLUMNS, ROW, strict=True))), b"]}"),
    ),
    "columns": (PREDICT, columns),
    "tensors": (INFER, v2_body),
    "split": (
        INVOCATIONS,
        lambda: filled(b'{"dataframe_split":{"columns":%b,"data":[' % orjson.dumps(COLUMNS), orjson.dumps(ROW), b"]}}"),
    ),
    "rows that end with a text": (PREDICT, lambda: filled(b'{"instances":[', orjson.dumps(ROW), b',[1,1,1,"1"]]}')),
    "rows that are not closed": (PREDICT, lambda: filled(b'{"instances":[', orjson.dumps(ROW), b"")),
}
REFUSED = {"rows that end with a text", "rows that are not closed"}


@pytest.mark.parametrize("name", JSON_BODIES)
def test_large_json(server: Attacked, name: str) -> None:
    path, make = JSON_BODIES[name]
    sent = request(path, make())

    def ask(_: int) -> int:
        return http1.ask(server.http, sent, SECONDS).status

    with server.probed() as health:
        statuses = set(ask_at_once(ask))
    right = 400 if name in REFUSED else 200
    assert right in statuses <= {right, *OVERLOADED}
    check(health)
    server.check_log()


def integers() -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="model")
    rows = MAX_BODY // 16  # a byte each, which become eight
    message.inputs.add(name="x", datatype="INT64", shape=[rows, 4]).contents.int64_contents.extend([1] * 4 * rows)
    return message


def raw() -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="model")
    rows = MAX_BODY // 32 - 100
    message.inputs.add(name="x", datatype="FP64", shape=[rows, 4])
    message.raw_input_contents.append(np.array(ROW * rows).tobytes())
    return message


MESSAGES: dict[str, Callable[[], pb.ModelInferRequest]] = {
    "doubles": lambda: good_message(MAX_BODY // 32 - 100),
    "integers": integers,
    "raw": raw,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_large_messages(server: Attacked, name: str) -> None:
    sent = MESSAGES[name]().SerializeToString()

    def ask(_: int) -> str:
        with http2.client(server.grpc, (INITIAL_WINDOW_SIZE, http2.MAX_WINDOW), timeout=SECONDS) as peer:
            peer.send(window_update(0, http2.MAX_WINDOW - DEFAULT_WINDOW))  # for the reply, which is as large
            peer.send(http2.call(1, http2.INFER, sent))
            return peer.outcome(1, wait=True)

    with server.probed() as health:
        outcomes = set(ask_at_once(ask))
    assert "status:0" in outcomes <= {"status:0", "status:8", "status:14"}
    check(health)
    server.check_log()


def test_large_bodies_are_answered_as_small_ones(server: Attacked) -> None:
    """Row by row, whatever form they have."""
    wanted = http1.ask(server.http, request(PREDICT, orjson.dumps({"instances": [ROW]}))).json
    assert wanted["probabilities"][0][1] == PROBABILITY
    for name, (path, make) in JSON_BODIES.items():
        if path == PREDICT and name not in {*REFUSED, "rows of integers"}:
            reply = orjson.loads(http1.ask(server.http, request(path, make()), SECONDS).body)
            count = len(reply["predictions"])
            assert reply["predictions"] == wanted["predictions"] * count
            assert reply["probabilities"] == wanted["probabilities"] * count
