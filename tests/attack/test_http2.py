"""HTTP/2 as RFC 9113 asks for it: each case is what a client sends, and what must become of it.

A stream error spares the other streams of a connection, which may be those of other people behind one proxy; a server
may make a connection error of it where the RFC says so (5.4.2), and the cases say which of them are taken.
"""

from __future__ import annotations

import struct

import pytest

from tests.attack import http2
from tests.attack.attacked import Attacked, good_message
from tests.attack.cases import LAST, SERVED, Case, case, check, check_others, connection, either
from tests.attack.http2 import INFER, MAX_WINDOW, block, call, client, fields, good_call, headers, priority
from tests.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
    packed,
    reset,
    settings,
    window_update,
)

RESERVED = 1 << 31
HALF = packed(good_message().SerializeToString())[:7]
"""The beginning of a message, after which a call is open."""
OPEN = headers(1, INFER) + frame(DATA, 0, 1, HALF)


PREFACES = [
    case("not the preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + settings(), {"closed", "connection:PROTOCOL_ERROR"}),
    case("PING comes first", PREFACE + frame(PING, payload=bytes(8)), connection("PROTOCOL_ERROR")),
    case("HEADERS come first", PREFACE + call(1), connection("PROTOCOL_ERROR")),
    case("WINDOW_UPDATE comes first", PREFACE + window_update(0, 1), connection("PROTOCOL_ERROR")),
    case("an ACK of SETTINGS comes first", PREFACE + frame(SETTINGS, ACK), connection("PROTOCOL_ERROR")),
    case("an unknown frame comes first", PREFACE + frame(0x42) + settings(), connection("PROTOCOL_ERROR")),
    case("SETTINGS come first", PREFACE + settings() + call(1), SERVED),
]


@pytest.mark.parametrize("one", PREFACES)
def test_preface(server: Attacked, one: Case) -> None:
    check(server, one, begin=False)


FRAMES = [
    # 4.1: what is unknown is ignored
    case("unknown type", frame(0x42, 0xFF, 7, b"anything") + call(1), SERVED),
    case("unknown type of stream 0", frame(0xFF, 0, 0, bytes(100)) + call(1), SERVED),
    case("unknown flags of PING", frame(PING, 0xFE, 0, bytes(8)) + call(1), SERVED),
    case("unknown flags of SETTINGS", frame(SETTINGS, 0xFE) + call(1), SERVED),
    case("unknown flags of DATA", headers(1) + frame(DATA, END_STREAM | 0xF6, 1, packed()), SERVED),
    case("reserved bit of a stream", frame(HEADERS, END_HEADERS, RESERVED | 1, block(fields())) + frame(DATA, END_STREAM, RESERVED | 1, packed()), SERVED),
    case("reserved bit of an increment", window_update(0, RESERVED | 1) + call(1), SERVED),
    # 4.2: sizes
    case("HEADERS too long", frame(HEADERS, END_HEADERS, 1, bytes(2**20 + 1)), connection("FRAME_SIZE_ERROR")),
    case("unknown type too long", frame(0x42, 0, 0, b"", length=2**24 - 1), connection("FRAME_SIZE_ERROR")),
    case("PING too long", frame(PING, payload=bytes(9)), connection("FRAME_SIZE_ERROR")),
    case("PING too short", frame(PING, payload=bytes(7)), connection("FRAME_SIZE_ERROR")),
    case("PING without payload", frame(PING), connection("FRAME_SIZE_ERROR")),
    case("RST_STREAM too short", OPEN + frame(RST_STREAM, 0, 1, bytes(3)), connection("FRAME_SIZE_ERROR")),
    case("RST_STREAM too long", OPEN + frame(RST_STREAM, 0, 1, bytes(5)), connection("FRAME_SIZE_ERROR")),
    case("WINDOW_UPDATE too short", frame(WINDOW_UPDATE, 0, 0, bytes(3)), connection("FRAME_SIZE_ERROR")),
    case("WINDOW_UPDATE too long", OPEN + frame(WINDOW_UPDATE, 0, 1, bytes(5)), connection("FRAME_SIZE_ERROR")),
    case("SETTINGS of 5 bytes", frame(SETTINGS, payload=bytes(5)), connection("FRAME_SIZE_ERROR")),
    case("SETTINGS of 7 bytes", frame(SETTINGS, payload=bytes(7)), connection("FRAME_SIZE_ERROR")),
    case("ACK of SETTINGS with a payload", frame(SETTINGS, ACK, 0, bytes(6)), connection("FRAME_SIZE_ERROR")),
    case("GOAWAY too short", frame(GOAWAY, payload=bytes(7)), connection("FRAME_SIZE_ERROR")),
    case("PRIORITY too short", OPEN + frame(PRIORITY, 0, 1, bytes(4)), "stream:FRAME_SIZE_ERROR"),
    case("PRIORITY too long", OPEN + frame(PRIORITY, 0, 1, bytes(6)), "stream:FRAME_SIZE_ERROR"),
    case("HEADERS without their priority", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, bytes(4)), connection("FRAME_SIZE_ERROR", "PROTOCOL_ERROR")),
    # 6.1, 6.2: padding
    case("padded DATA", headers(1) + frame(DATA, END_STREAM | PADDED, 1, b"\x03" + packed() + bytes(3)), SERVED),
    case("padded HEADERS", frame(HEADERS, END_HEADERS | PADDED, 1, b"\x03" + block(fields()) + bytes(3)) + frame(DATA, END_STREAM, 1, packed()), SERVED),
    case("padded HEADERS with a priority", frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 1, b"\x03" + priority(0) + block(fields()) + bytes(3)) + frame(DATA, END_STREAM, 1, packed()), SERVED),
    case("DATA of 16,384 bytes", headers(1) + frame(DATA, END_STREAM, 1, packed(b"\x0a\xfa\x7f" + bytes(16_376))), {"status:0", "status:3"}),
    case("more padding than DATA", headers(1) + frame(DATA, PADDED, 1, b"\x06" + bytes(5)), connection("PROTOCOL_ERROR")),
    case("padding of empty DATA", headers(1) + frame(DATA, PADDED, 1), connection("FRAME_SIZE_ERROR")),
    case("more padding than HEADERS", frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + block(fields())), connection("PROTOCOL_ERROR")),
    case("padding of empty HEADERS", frame(HEADERS, END_HEADERS | PADDED, 1), connection("FRAME_SIZE_ERROR")),
    # 6: frames that belong to a stream, or to none
    case("DATA of stream 0", frame(DATA, 0, 0, b"x"), connection("PROTOCOL_ERROR")),
    case("HEADERS of stream 0", headers(0), connection("PROTOCOL_ERROR")),
    case("PRIORITY of stream 0", frame(PRIORITY, 0, 0, priority(1)), connection("PROTOCOL_ERROR")),
    case("RST_STREAM of stream 0", reset(0), connection("PROTOCOL_ERROR")),
    case("CONTINUATION of stream 0", frame(CONTINUATION, END_HEADERS, 0, b""), connection("PROTOCOL_ERROR")),
    case("SETTINGS of a stream", frame(SETTINGS, 0, 1), connection("PROTOCOL_ERROR")),
    case("PING of a stream", frame(PING, 0, 1, bytes(8)), connection("PROTOCOL_ERROR")),
    case("GOAWAY of a stream", frame(GOAWAY, 0, 1, bytes(8)), connection("PROTOCOL_ERROR")),
    case("PUSH_PROMISE of a client", OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block(fields())), connection("PROTOCOL_ERROR")),
    # 6.4
    case("RST_STREAM of an idle stream", reset(5), connection("PROTOCOL_ERROR")),
    case("RST_STREAM of an idle even stream", reset(2), connection("PROTOCOL_ERROR")),
    # 6.7
    case("PING answers", frame(PING, ACK, 0, b"answered") + call(1), SERVED),
    # 6.8
    case("GOAWAY lets calls end", headers(1) + frame(GOAWAY, payload=bytes(8)) + frame(DATA, END_STREAM, 1, packed()), SERVED),
    case("GOAWAY with an unknown code", frame(GOAWAY, payload=b"\xff" * 8 + b"words") + call(1), SERVED),
]  # fmt: skip


@pytest.mark.parametrize("one", FRAMES)
def test_framing(server: Attacked, one: Case) -> None:
    check(server, one)


VALUES = [
    case("ENABLE_PUSH 0", settings((ENABLE_PUSH, 0)) + call(1), SERVED),
    case("ENABLE_PUSH 1", settings((ENABLE_PUSH, 1)) + call(1), SERVED),
    case("ENABLE_PUSH 2", settings((ENABLE_PUSH, 2)), connection("PROTOCOL_ERROR")),
    case("INITIAL_WINDOW_SIZE at its most", settings((INITIAL_WINDOW_SIZE, MAX_WINDOW)) + call(1), SERVED),
    case("INITIAL_WINDOW_SIZE above it", settings((INITIAL_WINDOW_SIZE, 2**31)), connection("FLOW_CONTROL_ERROR")),
    case("MAX_FRAME_SIZE at its least", settings((MAX_FRAME_SIZE, 2**14)) + call(1), SERVED),
    case("MAX_FRAME_SIZE below it", settings((MAX_FRAME_SIZE, 2**14 - 1)), connection("PROTOCOL_ERROR")),
    case("MAX_FRAME_SIZE at its most", settings((MAX_FRAME_SIZE, 2**24 - 1)) + call(1), SERVED),
    case("MAX_FRAME_SIZE above it", settings((MAX_FRAME_SIZE, 2**24)), connection("PROTOCOL_ERROR")),
    case("HEADER_TABLE_SIZE 0", settings((HEADER_TABLE_SIZE, 0)) + call(1), SERVED),
    case("HEADER_TABLE_SIZE at its most", settings((HEADER_TABLE_SIZE, 2**32 - 1)) + call(1), SERVED),
    case("MAX_CONCURRENT_STREAMS 0", settings((MAX_CONCURRENT_STREAMS, 0)) + call(1), SERVED),
    case("unknown setting", settings((0xFFFF, 2**32 - 1)) + call(1), SERVED),
    case("the last of several windows counts", settings((INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 2**15)) + call(1), SERVED),
    case("the last of several counts", settings((MAX_FRAME_SIZE, 2**14), (MAX_FRAME_SIZE, 1)), connection("PROTOCOL_ERROR")),
    case("an ACK that nobody waits for", frame(SETTINGS, ACK) * 3 + call(1), SERVED),
]  # fmt: skip


@pytest.mark.parametrize("one", VALUES)
def test_settings(server: Attacked, one: Case) -> None:
    check(server, one)


def test_settings_are_acknowledged(server: Attacked) -> None:
    with client(server.grpc) as peer:
        peer.send(settings((INITIAL_WINDOW_SIZE, 100)) + settings())
        assert peer.round_trip()
        assert [one.payload for one in peer.frames if one.kind == SETTINGS and one.flags & ACK] == [b""] * 3


def test_pings_are_answered_once(server: Attacked) -> None:
    with client(server.grpc) as peer:
        peer.send(frame(PING, payload=b"question") + frame(PING, ACK, payload=b"answered"))
        assert peer.round_trip()
        assert [one.payload for one in peer.frames if one.kind == PING][:-1] == [b"question"]


STATES = [
    # 5.1: idle
    case("DATA of an idle stream", frame(DATA, END_STREAM, 1, packed()), connection("PROTOCOL_ERROR")),
    case("WINDOW_UPDATE of an idle stream", window_update(1, 1), connection("PROTOCOL_ERROR")),
    case("CONTINUATION of an idle stream", frame(CONTINUATION, END_HEADERS, 1, block(fields())), connection("PROTOCOL_ERROR")),
    case("PRIORITY of an idle stream", frame(PRIORITY, 0, 7, priority(0)) + call(1), SERVED),
    # half closed: the client has ended its side, and the server has not answered
    case("DATA after its end", headers(1, "/inference.GRPCInferenceService/ModelInfer") + frame(DATA, END_STREAM, 1, good_call(1)[-1:]) + frame(DATA, 0, 1, b"x"), either("STREAM_CLOSED") | {"status:12"}),
    case("CONTINUATION after the end", headers(1, INFER, flags=END_HEADERS | END_STREAM) + frame(CONTINUATION, END_HEADERS, 1, block(fields())), connection("PROTOCOL_ERROR", "STREAM_CLOSED")),
    case("PRIORITY after the end", call(1) + frame(PRIORITY, 0, 1, priority(0)), SERVED),
    case("WINDOW_UPDATE after the end", call(1) + window_update(1, 1), SERVED),
    # closed
    case("DATA after RST_STREAM", OPEN + reset(1) + frame(DATA, 0, 1, b"x"), "stream:STREAM_CLOSED"),
    case("HEADERS after RST_STREAM", OPEN + reset(1) + headers(1), connection("STREAM_CLOSED")),
    case("CONTINUATION after RST_STREAM", OPEN + reset(1) + frame(CONTINUATION, END_HEADERS, 1), connection("PROTOCOL_ERROR", "STREAM_CLOSED")),
    case("RST_STREAM with an unknown code", OPEN + reset(1, 0xFFFF_FFFF) + call(3), SERVED, stream=3),
    case("RST_STREAM twice", OPEN + reset(1) + reset(1) + call(3), SERVED, stream=3),
    case("WINDOW_UPDATE after RST_STREAM", OPEN + reset(1) + window_update(1, 1) + call(3), SERVED, stream=3),
    case("PRIORITY after RST_STREAM", OPEN + reset(1) + frame(PRIORITY, 0, 1, priority(0)) + call(3), SERVED, stream=3),
    # closed by the server, which the client does not know yet
    case("the rest of a call that was refused", headers(1, "/no/such") + frame(DATA, 0, 1, b"x") + frame(HEADERS, END_HEADERS | END_STREAM, 1, block([("x", "y")])) + call(3), SERVED, stream=3),
    case("the rest of a malformed call", frame(HEADERS, END_HEADERS, 1) + frame(DATA, END_STREAM, 1, b"x") + call(3), SERVED, stream=3),
    case("HEADERS after the end of a call that was refused", headers(1, "/no/such") + frame(DATA, END_STREAM, 1, b"x") + headers(1), connection("STREAM_CLOSED")),
    case("DATA after the end of a call that was refused", headers(1, "/no/such") + frame(DATA, END_STREAM, 1, b"x") * 2 + call(3), SERVED, stream=3),
    # 5.3: priorities are not used, and must be valid
    case("HEADERS that depend on themselves", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, priority(1) + block(fields())), "stream:PROTOCOL_ERROR"),
    case("HEADERS that depend on another stream", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, priority(RESERVED | 3) + block(fields())) + frame(DATA, END_STREAM, 1, packed()), SERVED),
    case("trailers that depend on themselves", OPEN + frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, priority(1)), "stream:PROTOCOL_ERROR"),
    case("PRIORITY that depends on itself", OPEN + frame(PRIORITY, 0, 1, priority(1)), "stream:PROTOCOL_ERROR"),
    case("PRIORITY of an idle stream that depends on itself", frame(PRIORITY, 0, 7, priority(RESERVED | 7)), connection("PROTOCOL_ERROR")),
    case("PRIORITY of an idle stream that is too short", frame(PRIORITY, 0, 7, bytes(4)), connection("FRAME_SIZE_ERROR")),
    case("PRIORITY of a closed stream that is too long", OPEN + reset(1) + frame(PRIORITY, 0, 1, bytes(6)), connection("FRAME_SIZE_ERROR")),
    # 5.1.1: numbers
    case("an even stream", headers(2), connection("PROTOCOL_ERROR")),
    case("a stream below the last", headers(5, INFER) + headers(3, INFER), connection("PROTOCOL_ERROR", "STREAM_CLOSED")),
    case("a stream below the last, that ends", headers(5, INFER) + headers(3, INFER, flags=END_HEADERS | END_STREAM), connection("PROTOCOL_ERROR", "STREAM_CLOSED")),
    case("DATA of a stream that was left out", headers(5, INFER) + frame(DATA, 0, 3, b"x"), connection("STREAM_CLOSED", "PROTOCOL_ERROR")),
    case("the first number is not 1", call(7) + headers(5), connection("PROTOCOL_ERROR")),
    case("WINDOW_UPDATE of a stream that cannot be", call(5) + window_update(2, 1), connection("PROTOCOL_ERROR")),
    case("the last number", call(LAST), SERVED, stream=LAST),
    # 8.1: what comes after what
    case("HEADERS in the middle", OPEN + headers(1), "stream:PROTOCOL_ERROR"),
    case("HEADERS after the end", headers(1, INFER, flags=END_HEADERS | END_STREAM) + headers(1, INFER), connection("STREAM_CLOSED")),
    # 6.10
    case("headers in three frames", frame(HEADERS, 0, 1, block(fields())[:20]) + frame(CONTINUATION, 0, 1, block(fields())[20:40]) + frame(CONTINUATION, END_HEADERS, 1, block(fields())[40:]) + frame(DATA, END_STREAM, 1, packed()), SERVED),
    case("headers in an empty frame and another", frame(HEADERS, 0, 1) + frame(CONTINUATION, END_HEADERS, 1, block(fields())) + frame(DATA, END_STREAM, 1, packed()), SERVED),
    case("CONTINUATION after the last", headers(1) + frame(CONTINUATION, END_HEADERS, 1), connection("PROTOCOL_ERROR")),
    case("CONTINUATION after DATA", OPEN + frame(CONTINUATION, END_HEADERS, 1), connection("PROTOCOL_ERROR")),
    case("CONTINUATION of another stream", frame(HEADERS, 0, 1, block(fields())) + frame(CONTINUATION, END_HEADERS, 3), connection("PROTOCOL_ERROR")),
    case("DATA within headers", frame(HEADERS, 0, 1, block(fields())) + frame(DATA, 0, 1, b"x"), connection("PROTOCOL_ERROR")),
    case("HEADERS within headers", frame(HEADERS, 0, 1, block(fields())) + headers(3), connection("PROTOCOL_ERROR")),
    case("PING within headers", frame(HEADERS, 0, 1, block(fields())) + frame(PING, payload=bytes(8)), connection("PROTOCOL_ERROR")),
    case("PRIORITY within headers", frame(HEADERS, 0, 1, block(fields())) + frame(PRIORITY, 0, 1, priority(0)), connection("PROTOCOL_ERROR")),
    case("an unknown frame within headers", frame(HEADERS, 0, 1, block(fields())) + frame(0x42), connection("PROTOCOL_ERROR")),
    case("headers without end", frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * 20_000, connection("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR")),
    case("headers that are far too long", frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1, bytes(16_384)) * 100, connection("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "COMPRESSION_ERROR")),
]  # fmt: skip


@pytest.mark.parametrize("one", STATES)
def test_stream_states(server: Attacked, one: Case) -> None:
    check(server, one)


def test_data_after_a_reply(server: Attacked) -> None:
    with client(server.grpc) as peer:
        peer.send(call(1))
        assert peer.outcome(1, wait=True) == SERVED
        peer.send(frame(DATA, 0, 1, b"x"))
        assert peer.outcome(1) == "stream:STREAM_CLOSED"
        check_others(peer)


def test_headers_after_a_reply(server: Attacked) -> None:
    with client(server.grpc) as peer:
        peer.send(call(1))
        assert peer.outcome(1, wait=True) == SERVED
        peer.send(headers(1))
        assert peer.outcome(1) == "connection:STREAM_CLOSED"


def test_the_rest_of_many_calls_that_were_refused(server: Attacked) -> None:
    """More than a server can remember."""
    with client(server.grpc) as peer:
        refused = range(1, 4001, 2)
        peer.send(b"".join(headers(stream, "/no/such") for stream in refused))
        peer.send(b"".join(frame(DATA, END_STREAM, stream, b"x") for stream in refused))
        assert peer.outcome(1) == "status:12"
        peer.send(good_call(4001))
        assert peer.outcome(4001, wait=True) == SERVED


def test_more_streams_than_announced(server: Attacked) -> None:
    with client(server.grpc) as peer:
        announced = peer.read_until(SETTINGS)
        assert announced is not None
        most = dict(struct.iter_unpack(">HI", announced.payload))[MAX_CONCURRENT_STREAMS]
        peer.send(b"".join(headers(2 * i + 1, INFER) for i in range(most + 1)))
        assert peer.outcome(2 * most + 1) in either("REFUSED_STREAM", "PROTOCOL_ERROR")
    server.check_correct()


WINDOWS = [
    case("an increment of 0", window_update(0, 0), connection("PROTOCOL_ERROR")),
    case("an increment of 0 of a stream", OPEN + window_update(1, 0), "stream:PROTOCOL_ERROR"),
    case("a window that is too large", window_update(0, MAX_WINDOW), connection("FLOW_CONTROL_ERROR")),
    case("a window that grows too large", window_update(0, MAX_WINDOW - 65_535) + window_update(0, 1), connection("FLOW_CONTROL_ERROR")),
    case("the largest window", window_update(0, MAX_WINDOW - 65_535) + call(1), SERVED),
    case("a stream's window that is too large", OPEN + window_update(1, MAX_WINDOW), "stream:FLOW_CONTROL_ERROR"),
    case("a stream's window that grows too large", OPEN + window_update(1, 2**30) * 2, "stream:FLOW_CONTROL_ERROR"),
    case("a stream's largest window", OPEN + window_update(1, MAX_WINDOW - 65_535) + frame(DATA, END_STREAM, 1, packed(good_message().SerializeToString())[7:]), SERVED),
    case("SETTINGS that make it too large", OPEN + window_update(1, MAX_WINDOW - 65_535) + settings((INITIAL_WINDOW_SIZE, 65_536)), connection("FLOW_CONTROL_ERROR")),
]  # fmt: skip


@pytest.mark.parametrize("one", WINDOWS)
def test_flow_control(server: Attacked, one: Case) -> None:
    check(server, one)


def data_of(peer: http2.Http2Client) -> int:
    assert peer.round_trip()
    return sum(len(one.payload) for one in peer.frames if one.kind == DATA)


def test_windows_are_kept_to(server: Attacked) -> None:
    """A stream's window, one that SETTINGS make negative, and the connection's."""
    with client(server.grpc, (INITIAL_WINDOW_SIZE, 10)) as peer:
        peer.send(good_call(1))
        peer.read_until(DATA, 1)
        assert data_of(peer) == 10
        peer.send(settings((INITIAL_WINDOW_SIZE, 0)) + window_update(1, 10))
        assert data_of(peer) == 10
        peer.send(window_update(1, 1))
        assert data_of(peer) == 11
        peer.send(settings((INITIAL_WINDOW_SIZE, 3)))
        assert data_of(peer) == 14
        peer.send(window_update(1, 10_000))
        assert peer.outcome(1, wait=True) == SERVED


def test_a_body_larger_than_its_window(server: Attacked) -> None:
    with client(server.grpc) as peer:
        announced = peer.read_until(SETTINGS)
        assert announced is not None
        window = dict(struct.iter_unpack(">HI", announced.payload))[INITIAL_WINDOW_SIZE]
        peer.send(headers(1, INFER) + frame(DATA, 0, 1, struct.pack(">BI", 0, 2**20)))
        peer.send(frame(DATA, 0, 1, bytes(2**19)) * (window // 2**19 + 2))
        # The gRPC status says the same: the message is too long.
        assert peer.outcome(1) in {*either("FLOW_CONTROL_ERROR"), "status:8", "status:12"}
    server.check_correct()
