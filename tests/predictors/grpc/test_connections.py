"""How HTTP/2 connections begin and end, and how the server shuts down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import grpc
import pytest

from predictors.grpc.transport import connection as connection_module
from tests.http2_frames import (
    ACK,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    PING,
    PREFACE,
    REFUSED_STREAM,
    SETTINGS,
    frame,
    settings,
)
from tests.predictors.grpc.serving import MAX_MESSAGE, SECONDS, Http2Wire, serving
from tests.predictors.grpc.wire import Http2Peer, call, lives
from tests.serving import wait_for


def test_preface_in_single_bytes(wire: Http2Wire) -> None:
    with Http2Peer(wire.address, begin=False) as peer:
        for byte in PREFACE + settings() + call(1):
            peer.send(bytes((byte,)))
        assert peer.reply(1).message == b"hello"
        announced = peer.frames[0]
        assert announced.kind == SETTINGS
        values = dict(struct.iter_unpack(">HI", announced.payload))
        assert values[MAX_CONCURRENT_STREAMS] == 1024
        assert values[INITIAL_WINDOW_SIZE] > MAX_MESSAGE
        assert peer.first(SETTINGS, ACK).payload == b""


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"POST /v2/models HTTP/1.1\r\n", b"PUT / HTTP/1.0"]
)
def test_http_1_is_told_so(wire: Http2Wire, line: bytes) -> None:
    with socket.create_connection(wire.address, timeout=SECONDS) as sock:
        sock.sendall(line)
        said = b""
        while more := sock.recv(4096):
            said += more
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert f"content-length: {len(body)}".encode() in head
    assert b"gRPC" in body
    lives(wire)


def test_tls_is_hung_up_on(wire: Http2Wire) -> None:
    with socket.create_connection(wire.address, timeout=SECONDS) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
        assert sock.recv(100) == b""


def test_who_says_nothing_is_hung_up_on(wire: Http2Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_STALL", 0.05)
    with socket.create_connection(wire.address, timeout=SECONDS) as sock:
        sock.sendall(PREFACE[:5])
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""


def test_who_has_begun_may_be_silent(wire: Http2Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_STALL", 0.05)
    with Http2Peer(wire.address) as peer:
        peer.first(SETTINGS, ACK)
        peer.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.read()
        peer.sock.settimeout(SECONDS)
        peer.send(call(1))
        assert peer.reply(1).message == b"hello"


def test_the_client_leaves_with_calls_in_flight(wire: Http2Wire) -> None:
    with Http2Peer(wire.address) as peer:
        peer.send(b"".join(call(2 * i + 1, "/t/Wait") for i in range(20)) + call(51, "/t/Deaf"))
        wait_for(lambda: len(wire.service.started) == 21, seconds=SECONDS)
    wait_for(lambda: wire.service.cancelled == 21 and not wire.server.connections, seconds=SECONDS)
    lives(wire)


def test_calls_in_flight_finish_at_shutdown() -> None:
    with serving() as wire, Http2Peer(wire.address) as peer, Http2Peer(wire.address) as idle:
        idle.first(SETTINGS, ACK)
        peer.send(call(1, "/t/Wait", b"first"))
        wait_for(lambda: wire.service.started, seconds=SECONDS)
        stopping = asyncio.run_coroutine_threadsafe(wire.server.stop(SECONDS), wire.loop)
        ping = peer.first(PING)
        assert (peer.first(GOAWAY).payload[:4], peer.first(GOAWAY).code) == (b"\x7f\xff\xff\xff", NO_ERROR)
        peer.send(call(3, "/t/Wait", b"was on its way"))
        peer.send(frame(PING, ACK, 0, ping.payload) + call(5, "/t/Wait", b"came late"))
        assert peer.reply(5).reset == REFUSED_STREAM
        last = [one for one in peer.frames if one.kind == GOAWAY][-1]
        assert (last.payload[:4], last.code) == (b"\0\0\0\3", NO_ERROR)
        wire.soon(wire.service.release.set)
        assert (peer.reply(1).message, peer.reply(3).message) == (b"first", b"was on its way")
        assert peer.read() is None
        while idle.read() is not None:  # does not answer the ping, and is not waited for
            pass
        stopping.result(SECONDS)


def test_real_clients_at_shutdown() -> None:
    """They answer the ping, so that the server need not wait for those that are idle."""
    with serving() as wire, grpc.insecure_channel(wire.target) as busy, grpc.insecure_channel(wire.target) as idle:
        assert idle.unary_unary("/t/Echo")(b"hello", timeout=SECONDS) == b"hello"
        future = busy.unary_unary("/t/Wait").future(b"in flight", timeout=SECONDS)
        wait_for(lambda: wire.service.started, seconds=SECONDS)
        stopping = asyncio.run_coroutine_threadsafe(wire.server.stop(SECONDS), wire.loop)
        wait_for(lambda: all(one.leaving for one in wire.server.connections), seconds=SECONDS)
        assert not stopping.done()
        wire.soon(wire.service.release.set)
        assert future.result() == b"in flight"
        stopping.result(SECONDS)


def test_connections_that_have_not_begun_do_not_keep_the_server() -> None:
    with serving() as wire, Http2Peer(wire.address, begin=False) as peer:
        wait_for(lambda: wire.server.connections, seconds=SECONDS)
        asyncio.run_coroutine_threadsafe(wire.server.stop(SECONDS), wire.loop).result(SECONDS / 2)
        assert peer.read() is None


def test_calls_that_take_longer_than_the_grace() -> None:
    with serving() as wire, Http2Peer(wire.address) as peer:
        peer.send(call(1, "/t/Wait"))
        wait_for(lambda: wire.service.started, seconds=SECONDS)
        asyncio.run_coroutine_threadsafe(wire.server.stop(0.05), wire.loop).result(SECONDS)
        wait_for(lambda: wire.service.cancelled == 1, seconds=SECONDS)
        while peer.read() is not None:
            pass
        assert not peer.replies[1].done
