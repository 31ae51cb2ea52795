"""Header blocks of one connection, compressed with HPACK (RFC 7541): clients send the same few again and again."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from hpack import Decoder, HPACKError, OversizedHeaderListError

from predictors.grpc.transport import frames
from predictors.grpc.transport.fields import Headers, Malformed, check_request
from predictors.grpc.transport.work import BLOCK_SHIFT, FIELD

log = logging.getLogger("predictors")

MAX_KNOWN = 4096  # bytes of the fields of a block that is remembered


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """The fields of a block, and what the first block of a request must know of them."""

    headers: Headers
    refusal: int
    """The error with which a request with these headers is refused; NO_ERROR for none."""
    content_length: int | None
    cost: int
    """Of decoding and checking it."""


class HeaderBlocks:
    def __init__(self) -> None:
        self.decoder = Decoder(max_header_list_size=frames.MAX_BLOCK)
        self.known: dict[bytes, HeaderBlock] = {}
        """Blocks that leave the tables as they are."""

    def decode(self, block: bytes) -> HeaderBlock:
        """The fields of a block that is not known yet."""
        if len(block) > frames.MAX_BLOCK:
            raise frames.ConnectionFault(frames.ENHANCE_YOUR_CALM, "the headers are too long")
        before = table_state(self.decoder)
        try:
            fields = self.decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise frames.ConnectionFault(frames.ENHANCE_YOUR_CALM, "the headers are too long") from None
        except HPACKError:
            raise frames.ConnectionFault(frames.COMPRESSION_ERROR, "the headers cannot be decoded") from None
        headers = tuple((bytes(name), bytes(value)) for name, value in fields)
        size = sum(32 + len(name) + len(value) for name, value in headers)
        decoded = checked(headers, size, FIELD * len(headers) + (len(block) >> BLOCK_SHIFT))
        after = table_state(self.decoder)
        # By identity: an equal entry may be a new one, with other entries behind it.
        if after[0] is not before[0] or after[1:] != before[1:]:
            self.known.clear()
        elif size < MAX_KNOWN:
            if len(self.known) >= 100:
                self.known.clear()
            self.known[block] = decoded
        return decoded


def checked(headers: Headers, size: int, cost: int) -> HeaderBlock:
    if size > frames.MAX_HEADERS:
        return HeaderBlock(headers, frames.ENHANCE_YOUR_CALM, None, cost)
    try:
        return HeaderBlock(headers, frames.NO_ERROR, check_request(headers), cost)
    except Malformed as error:
        log.debug("a request over HTTP/2 is malformed: %s", error)
        return HeaderBlock(headers, frames.PROTOCOL_ERROR, None, cost)


def table_state(decoder: Decoder) -> tuple[object, int, int]:
    """A state that differs after any change of a decoder's table, which adds its entries at the head."""
    table = decoder.header_table
    entries = table.dynamic_entries
    return entries[0] if entries else None, len(entries), table.maxsize
