"""Header blocks of one connection, compressed with HPACK (RFC 7541): clients send the same few again and again."""

from __future__ import annotations

from typing import TypeAlias

from hpack import Decoder, HPACKError, OversizedHeaderListError

from predictors.grpc.transport import frames

Headers: TypeAlias = "tuple[tuple[bytes, bytes], ...]"
MAX_KNOWN = 4096  # bytes of the fields of a block that is remembered


class HeaderBlocks:
    def __init__(self) -> None:
        self.decoder = Decoder(max_header_list_size=frames.MAX_BLOCK)
        self.known: dict[bytes, Headers] = {}
        """Blocks that leave the tables as they are."""

    def decode(self, block: bytes) -> tuple[Headers, bool]:
        """The fields of a block, and whether they are larger than announced."""
        headers = self.known.get(block)
        if headers is not None:
            return headers, False
        if len(block) > frames.MAX_BLOCK:
            raise frames.ConnectionFault(frames.ENHANCE_YOUR_CALM, "the headers are too long")
        before = table_state(self.decoder)
        try:
            decoded = self.decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise frames.ConnectionFault(frames.ENHANCE_YOUR_CALM, "the headers are too long") from None
        except HPACKError:
            raise frames.ConnectionFault(frames.COMPRESSION_ERROR, "the headers cannot be decoded") from None
        headers = tuple((bytes(name), bytes(value)) for name, value in decoded)
        size = sum(32 + len(name) + len(value) for name, value in headers)
        after = table_state(self.decoder)
        # By identity: an equal entry may be a new one, with other entries behind it.
        if after[0] is not before[0] or after[1:] != before[1:]:
            self.known.clear()
        elif size < MAX_KNOWN:
            if len(self.known) >= 100:
                self.known.clear()
            self.known[block] = headers
        return headers, size > frames.MAX_HEADERS


def table_state(decoder: Decoder) -> tuple[object, int, int]:
    """A state that differs after any change of a decoder's table, which adds its entries at the head."""
    table = decoder.header_table
    entries = table.dynamic_entries
    return entries[0] if entries else None, len(entries), table.maxsize
