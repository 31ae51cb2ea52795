"""Header blocks: their limits, and the ones that a connection remembers."""

from __future__ import annotations

import asyncio
import contextlib
import copy

import hpack
from hypothesis import given
from hypothesis import strategies as st

from predictors.grpc.transport.connection import Http2Connection
from predictors.grpc.transport.fields import Headers
from predictors.grpc.transport.headers import HeaderBlocks
from tests.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PREFACE,
    frame,
    number,
    packed,
    settings,
)
from tests.predictors.grpc.serving import SECONDS, Http2Wire
from tests.predictors.grpc.wire import Http2Peer, Nowhere, Seen, call, fields_of, lives, plain
from tests.serving import wait_for


def test_too_many_headers_end_only_their_call(wire: Http2Wire, peer: Http2Peer) -> None:
    """Behind one proxy are many callers: the large headers of one must not end the calls of the others."""
    peer.send(call(1, "/t/Wait"))
    wait_for(lambda: wire.service.started, seconds=SECONDS)
    peer.send(call(3, "/t/Echo", b"hello", ("x-large", "y" * 40_000)))
    assert peer.reply(3).reset == ENHANCE_YOUR_CALM  # which gRPC knows as RESOURCE_EXHAUSTED
    wire.soon(wire.service.release.set)
    assert peer.reply(1).message == b"hello"


def test_header_bombs(wire: Http2Wire) -> None:
    bomb = b"\x40\x01x" + number(3000) + b"y" * 3000 + b"\xbe" * 10_000  # thirty megabytes when unpacked
    with Http2Peer(wire.address) as peer:
        peer.send(frame(HEADERS, END_HEADERS, 1, bomb))
        assert peer.goaway() == ENHANCE_YOUR_CALM
    with Http2Peer(wire.address) as peer:
        peer.send(frame(HEADERS, END_HEADERS, 1, b"\x00\x01x\x7f" + b"\x80" * 900_000))
        assert peer.goaway() == ENHANCE_YOUR_CALM
    lives(wire)


def test_continuation_floods(wire: Http2Wire) -> None:
    with Http2Peer(wire.address) as peer:
        peer.send(frame(HEADERS, 0, 1, b""))
        assert peer.flood(frame(CONTINUATION, 0, 1), 60_000) == ENHANCE_YOUR_CALM
    with Http2Peer(wire.address) as peer:
        peer.send(frame(HEADERS, 0, 1, b""))
        assert peer.flood(frame(CONTINUATION, 0, 1, bytes(1000)), 100) == ENHANCE_YOUR_CALM
    lives(wire)


def test_table_changes_between_calls(peer: Http2Peer) -> None:
    for i in range(40):
        size = (4096, 0, 200, 4096)[i // 10]
        if i % 10 == 0:
            peer.encoder.header_table_size = size
        block = peer.encoder.encode(fields_of("/t/Metadata", ("x-a", f"{i % 3}" * 500), ("x-b", str(i % 2))))
        peer.send(frame(HEADERS, END_HEADERS, 2 * i + 1, block) + frame(DATA, END_STREAM, 2 * i + 1, packed(b"")))
        expected = (("x-a", f"{i % 3}" * 500), ("x-b", str(i % 2)))
        assert peer.reply(2 * i + 1).message == repr(expected).encode()


def decoded_by_connection(encoded: list[bytes]) -> list[Headers]:
    """What one connection makes of a sequence of header blocks."""
    blocks = HeaderBlocks()
    return [(blocks.known.get(one) or blocks.decode(one)).headers for one in encoded]


def added(value: bytes) -> bytes:
    """A field that enters the table."""
    return b"\x40\x01x" + number(len(value)) + value


INSTRUCTIONS = [
    *(bytes((0x80 | 61 + i,)) for i in range(1, 5)),  # the newest entries of the table
    *(added(letter * size) for letter in (b"a", b"b") for size in (1, 1300, 3000, 5000)),
    b"\x82", b"\x00\x01y\x01z", b"\x10\x01y\x01z", b"\x7e\x01v",
]  # fmt: skip
RESIZED = [b"", b"", b"", b"\x20", b"\x3f\x45", b"\x3f\xe1\x1f", b"\x20\x3f\xe1\x1f"]  # to 0, 100 and 4096 bytes
BLOCKS = st.builds(
    lambda resized, fields: resized + b"".join(fields),
    st.sampled_from(RESIZED),
    st.lists(st.sampled_from(INSTRUCTIONS), min_size=1, max_size=4),
)


@given(st.lists(BLOCKS, min_size=1, max_size=4).flatmap(lambda few: st.lists(st.sampled_from(few), max_size=25)))
def test_remembered_headers_are_never_stale(blocks: list[bytes]) -> None:
    """Against a decoder that remembers nothing but its table, with the same few blocks again and again."""
    decoder = hpack.Decoder()
    sent, expected = [], []
    for block in blocks:
        attempt = copy.deepcopy(decoder)
        with contextlib.suppress(hpack.HPACKError):
            fields = tuple((bytes(name), bytes(value)) for name, value in attempt.decode(block, raw=True))
            sent.append(block)
            expected.append(fields)
            decoder = attempt
    assert decoded_by_connection(sent) == expected


def test_an_entry_in_the_place_of_another() -> None:
    """Two new entries, each of which drives out all before it: what is first then may lie where the first lay."""
    newest = b"\xbe"
    for _ in range(20):
        blocks = [added(b"a" * 3000), newest, newest, added(b"b" * 3000) + added(b"c" * 3000), newest]
        *_, last = decoded_by_connection(blocks)
        assert last == ((b"x", b"c" * 3000),)


def test_an_entry_like_another() -> None:
    """What is added again drives out what is last; the first entry and their number look as before."""
    first, second, last = added(b"a" * 2000), added(b"b" * 2000), b"\xbf"
    *_, before, _, after = decoded_by_connection([first, second, last, last, second, last])
    assert (before, after) == (((b"x", b"a" * 2000),), ((b"x", b"b" * 2000),))


def test_headers_that_vary_are_remembered_anew() -> None:
    async def run() -> bool:
        connection = Http2Connection(Seen, set(), 2**20)
        connection.connection_made(Nowhere())  # type: ignore[arg-type]  # only what a connection asks of one
        connection.data_received(PREFACE + settings())
        for i in range(500):
            block = plain("/t/Echo", ("x", str(i)))
            connection.data_received(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, block))
            if block not in connection.header_blocks.known or len(connection.header_blocks.known) > 100:
                return False
        connection.connection_lost(None)
        return True

    assert asyncio.run(run())
