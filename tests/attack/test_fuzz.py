"""Valid conversations with something changed: the server answers others rightly, and its log has no traceback."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable

import orjson
import pytest

from tests import http2_frames
from tests.attack import http1, http2
from tests.attack.attacked import GOOD_BODY, INFER, INVOCATIONS, MIB, PREDICT, ROW, Attacked, good_message
from tests.attack.http1 import request

SEED = int(os.environ.get("ATTACK_SEED", "20"))
SECONDS = float(os.environ.get("ATTACK_SECONDS", "4"))  # for each protocol
MUTATIONS = int(os.environ.get("ATTACK_MUTATIONS", "300"))
SILENCE = 0.015  # seconds
BATCH = 50  # after which the server is looked at
GROWTH = 96 * MIB

Mutation = Callable[[random.Random, bytes], bytes]


def flip(rng: random.Random, data: bytes) -> bytes:
    """Some bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: random.Random, data: bytes) -> bytes:
    """Some bytes, with those that mean something."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 10, 13, 32, 34, 44, 58, 91, 123))
    return bytes(changed)


def random_slice(rng: random.Random, data: bytes, longest: int = 200) -> slice:
    begin = rng.randrange(len(data))
    return slice(begin, begin + rng.randrange(1, longest))


def cut(rng: random.Random, data: bytes) -> bytes:
    where = random_slice(rng, data)
    return data[: where.start] + data[where.stop :]


def end(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def repeat(rng: random.Random, data: bytes) -> bytes:
    where = random_slice(rng, data)
    return data[: where.start] + data[where] * rng.choice((2, 3, 50)) + data[where.stop :]


def swap(rng: random.Random, data: bytes) -> bytes:
    """Two parts."""
    first, second = sorted((random_slice(rng, data), random_slice(rng, data)), key=lambda one: one.start)
    between = data[first.stop : second.start]
    return data[: first.start] + data[second] + between + data[first] + data[second.stop :]


def insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.choice((1, 4, 9, 100))) + data[at:]


def insert_frame(rng: random.Random, data: bytes) -> bytes:
    """A frame of any type, whose payload may be one that is right, between two others."""
    ends, at = [], len(http2_frames.PREFACE)
    while at + 9 <= len(data):
        ends.append(at)
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    where = rng.choice(ends or [len(data)])
    size = rng.choice((0, 1, 4, 5, 6, 8, 100))
    kind, flags, stream = rng.randrange(12), rng.randrange(256), rng.choice((0, 1, 1, 3, 5, 2, 2**31 - 1))
    return data[:where] + http2_frames.frame(kind, flags, stream, rng.randbytes(size)) + data[where:]


BYTES: tuple[Mutation, ...] = (flip, overwrite, cut, end, repeat, swap, insert)

JSON_ROWS = orjson.dumps({"instances": [ROW] * 20, "parameters": {"method": "predict_proba"}})
TENSORS = orjson.dumps({"id": "a", "inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP64", "data": ROW * 2}]})
CSV = b"temperature,vibration,months_since_service,load\n91.5,1.05,41,0.9\n64.2,0.21,3,0.4\n"
HTTP1 = [
    request(PREDICT, GOOD_BODY) + request() + request(INFER, TENSORS),
    request(PREDICT, JSON_ROWS, "x-request-id: abc", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    request(PREDICT, None, "transfer-encoding: chunked", "content-type: application/json", method="POST") + http1.chunked(JSON_ROWS, 50),
    request(INVOCATIONS, CSV).replace(b"application/json", b"text/csv") + http1.last("/v2/models/model"),
    request("/v2/models/model/infer", TENSORS, "accept-encoding: gzip", "expect: 100-continue"),
]  # fmt: skip
HTTP2 = [
    http2_frames.PREFACE + http2_frames.settings((4, 100_000), (5, 16_384)) + http2.good_call(1) + http2.call(3) + http2_frames.frame(http2_frames.PING, payload=bytes(8)),
    http2_frames.PREFACE + http2_frames.settings() + http2_frames.window_update(0, 1000) + http2.good_call(1)[:100] + http2_frames.reset(1) + http2.good_call(3),
    http2_frames.PREFACE + http2_frames.settings() + http2_frames.frame(http2_frames.HEADERS, 0, 1, http2.block(http2.fields())[:30]) + http2_frames.frame(http2_frames.CONTINUATION, 4, 1, http2.block(http2.fields())[30:]) + http2.data(1, http2_frames.packed()),
    http2_frames.PREFACE + http2_frames.settings() + http2.call(1, "/grpc.health.v1.Health/Watch") + http2.call(3, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"\x3a\x00") + http2.priority(1),
]  # fmt: skip
MESSAGES = [
    good_message().SerializeToString(),
    good_message(20).SerializeToString(),
    b"\x0a\x05model",
    b"\x3a\x00",
]
PATHS = (
    http2.INFER, "/inference.GRPCInferenceService/ModelMetadata", "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/RepositoryModelLoad", "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)  # fmt: skip


def mutated(rng: random.Random, data: bytes, mutations: tuple[Mutation, ...]) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(mutations)(rng, data) or data
    return data


def in_message(rng: random.Random) -> bytes:
    """A call that is right as HTTP/2, with a message that is not."""
    body = mutated(rng, rng.choice(MESSAGES), BYTES)
    packed = http2_frames.packed(body, compressed=rng.random() < 0.1)
    call = http2.headers(1, rng.choice(PATHS)) + http2.data(1, packed if rng.random() < 0.8 else flip(rng, packed))
    return http2_frames.PREFACE + http2_frames.settings() + call


def send(address: http1.Address, data: bytes) -> None:
    """Sends it, in one piece or two, and hears what comes of it until the server is silent."""
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=1) as sock:
        half = len(data) // 2 if len(data) % 2 else len(data)
        sock.sendall(data[:half])
        sock.sendall(data[half:])
        sock.settimeout(SILENCE)
        while sock.recv(1 << 20):
            pass


KINDS: dict[str, tuple[str, Callable[[random.Random], bytes]]] = {
    "HTTP/1.1": ("http", lambda rng: mutated(rng, rng.choice(HTTP1), BYTES)),
    "HTTP/2": ("grpc", lambda rng: mutated(rng, rng.choice(HTTP2), (*BYTES, insert_frame, insert_frame))),
    "gRPC": ("grpc", in_message),
}


@pytest.mark.parametrize("kind", KINDS)
def test_mutations(server: Attacked, kind: str) -> None:
    where, make = KINDS[kind]
    address = getattr(server, where)
    deadline, memory = time.monotonic() + SECONDS, server.memory
    for first in range(0, MUTATIONS, BATCH):
        for seed in range(first, first + BATCH):
            send(address, make(random.Random(f"{SEED}-{kind}-{seed}")))
        seeds = f"seeds {first} to {first + BATCH - 1} of {SEED}"
        server.check_correct()
        assert "Traceback" not in server.log, f"{seeds}: {server.log[-3000:]}"
        assert server.memory - memory < GROWTH, f"{seeds}: {(server.memory - memory) // MIB} MiB more"
        if time.monotonic() > deadline:
            break
