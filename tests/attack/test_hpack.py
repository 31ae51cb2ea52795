"""Header blocks as RFC 7541 asks for them: what cannot be decoded ends the connection with COMPRESSION_ERROR."""

from __future__ import annotations

import pytest

from tests.attack.attacked import Attacked
from tests.attack.cases import SERVED, Case, case, check, connection
from tests.attack.http2 import block, client, fields
from tests.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame, literal, packed, string

BROKEN = connection("COMPRESSION_ERROR")
ALL = block(fields())
STATIC = 61  # entries of the static table; the dynamic one begins after it
INDEXED, INCREMENTAL, SIZE_UPDATE, NEVER = 0x80, 0x40, 0x20, 0x10
MAX_TABLE = b"\x3f\xe1\x1f"  # a size update to 4,096 bytes, which every peer starts with
EMPTY_TABLE = b"\x20"


def calls(*blocks: bytes) -> bytes:
    """A call with each of these blocks, the last of which is what the case is about."""
    return b"".join(
        frame(HEADERS, END_HEADERS, 2 * i + 1, one) + frame(DATA, END_STREAM, 2 * i + 1, packed())
        for i, one in enumerate(blocks)
    )


def incremental(name: str, value: str) -> bytes:
    """A field that enters the dynamic table."""
    return bytes((INCREMENTAL,)) + string(name.encode()) + string(value.encode())


def huffman(text: bytes) -> bytes:
    """A string that says it is Huffman coded."""
    return bytes((0x80 | len(text),)) + text


def field_with_value(value: bytes) -> bytes:
    """The field `x` with a value as it is coded."""
    return b"\x00" + string(b"x") + value


CASES = [
    # 6.1, 2.3.3: indexes
    case("index 0", calls(ALL + b"\x80"), BROKEN),
    case("the first index after the tables", calls(ALL + bytes((INDEXED | STATIC + 1,))), BROKEN),
    case("an index far after the tables", calls(ALL + b"\xff\x80\x80\x04"), BROKEN),
    case("a name's index after the tables", calls(ALL + b"\x7e\x01x"), BROKEN),
    case("a name's index after them, not kept", calls(ALL + b"\x0f\x30\x01x"), BROKEN),
    case("a name's index after them, never to be kept", calls(ALL + b"\x1f\x30\x01x"), BROKEN),
    case("an entry of the dynamic table", calls(ALL + incremental("x", "y"), ALL + bytes((INDEXED | STATIC + 1,))), SERVED, stream=3),
    case("a name of the dynamic table", calls(ALL + incremental("x", "y"), ALL + b"\x7e\x01z"), SERVED, stream=3),
    case("an entry beyond the dynamic table", calls(ALL + incremental("x", "y"), ALL + bytes((INDEXED | STATIC + 2,))), BROKEN, stream=3),
    case("an entry that has been evicted", calls(ALL + incremental("x", "y"), EMPTY_TABLE + ALL + bytes((INDEXED | STATIC + 1,))), BROKEN, stream=3),
    case("an entry that is larger than the table", calls(ALL + incremental("x", "y") + incremental("x", "z" * 5000), ALL + bytes((INDEXED | STATIC + 1,))), BROKEN, stream=3),
    # 4.2, 6.3: the size of the table
    case("a size update first", calls(MAX_TABLE + ALL), SERVED),
    case("two size updates first", calls(EMPTY_TABLE + MAX_TABLE + ALL), SERVED),
    case("a size update to more than allowed", calls(b"\x3f\xe2\x1f" + ALL), BROKEN),
    case("a size update to four billion", calls(b"\x3f\xe0\xff\xff\xff\x0f" + ALL), BROKEN),
    case("a size update after a field", calls(literal(":method", "POST") + EMPTY_TABLE + block(fields()[1:])), BROKEN),
    case("a size update last", calls(ALL + MAX_TABLE), BROKEN),
    # 5.1: integers
    case("an integer that goes on and on", calls(ALL + b"\xff" + b"\x80" * 1000 + b"\x00"), BROKEN),
    case("an integer of a thousand digits", calls(ALL + b"\xff" + b"\xff" * 1000 + b"\x7f"), BROKEN),
    case("an integer that is too large", calls(ALL + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), BROKEN),
    case("an integer without end", calls(ALL + b"\xff\x80"), BROKEN),
    case("an integer without more", calls(ALL + b"\xff"), BROKEN),
    case("a length that is too large", calls(ALL + field_with_value(b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x01")), BROKEN),
    # 5.2: strings
    case("a field without name", calls(ALL + b"\x00"), BROKEN),
    case("a field without value", calls(ALL + b"\x00\x01x"), BROKEN),
    case("a name that is cut off", calls(ALL + b"\x00\x05xy"), BROKEN),
    case("a value that is cut off", calls(ALL + field_with_value(b"\x05y")), BROKEN),
    case("a Huffman string", calls(ALL + field_with_value(huffman(b"\xf2\xb2\x4a\x84\xff\x83"))), SERVED),
    case("a Huffman string that is cut off", calls(ALL + field_with_value(b"\x86\xf2\xb2")), BROKEN),
    case("a Huffman string that ends within a code", calls(ALL + field_with_value(huffman(b"\xff\xfc"))), BROKEN),
    case("a Huffman string with EOS", calls(ALL + field_with_value(huffman(b"\xff\xff\xff\xff"))), BROKEN),
    case("Huffman padding of eight bits", calls(ALL + field_with_value(huffman(b"\x1f\xff"))), BROKEN),
    case("Huffman padding of zeros", calls(ALL + field_with_value(huffman(b"\x18"))), BROKEN),
    # what costs more than it brings
    case("headers that unfold", calls(ALL + incremental("x", "y" * 3000) + bytes((INDEXED | STATIC + 1,)) * 5000), connection("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "COMPRESSION_ERROR") | {"stream:ENHANCE_YOUR_CALM", "http:431"}),
    case("thousands of headers", calls(ALL + literal("x", "") * 20_000), connection("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "COMPRESSION_ERROR") | {"stream:ENHANCE_YOUR_CALM", "http:431"}),
]  # fmt: skip


@pytest.mark.parametrize("one", CASES)
def test_header_blocks(server: Attacked, one: Case) -> None:
    check(server, one)


def test_the_table_is_kept_where_a_call_is_refused(server: Attacked) -> None:
    """Headers of a call that nobody answers change the table like any others."""
    last = bytes((INDEXED | STATIC + 1,))
    refused = block(fields("/no/such")) + incremental("x", "y")
    with client(server.grpc) as peer:
        peer.send(calls(refused, ALL + last, ALL + last))
        assert peer.outcome(1, wait=True) == "status:12"
        assert [peer.outcome(stream, wait=True) for stream in (3, 5)] == [SERVED] * 2
