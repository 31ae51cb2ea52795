"""One HTTP/2 connection: frames in, streams, flow control both ways, frames out (RFC 9113, the server's side)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TypeAlias, cast

from hpack import Decoder, HPACKError

from predictors.rpc import frames
from predictors.rpc.frames import frame

log = logging.getLogger("predictors")

Headers: TypeAlias = "tuple[tuple[bytes, bytes], ...]"
# A client that resets more streams than this before it lets one end is at war with us.
MOST_RESETS = 2000
MOST_CONTROL = 10_000
HTTP1_REPLY = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 34\r\n\r\n"
    b"this port speaks gRPC over HTTP/2\n"
)


class ConnectionFault(Exception):
    """The peer broke the protocol; the connection ends."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Stream:
    """One request and its reply. Subclasses say what they make of it."""

    def __init__(self, connection: Connection, number: int, headers: Headers) -> None:
        self.connection = connection
        self.number = number
        self.headers = headers
        self.send_window = connection.peer_window
        self.received = 0
        """Bytes since the peer was last told that it may send more."""
        self.waiting: deque[tuple[bytes, bool]] = deque()
        """What flow control holds back: bytes of data, or of a whole frame of trailers."""
        self.closed = False
        """No more of it goes out."""
        self.ended = False
        """No more of it comes in."""

    def data(self, chunk: bytes) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """The peer has sent all."""
        raise NotImplementedError

    def cancelled(self) -> None:
        """The peer, or the connection, has gone."""


Opener: TypeAlias = "Callable[[Connection, int, Headers], Stream]"


class Connection(asyncio.Protocol):
    def __init__(self, opener: Opener, connections: set[Connection], window: int) -> None:
        self.opener = opener
        self.connections = connections
        self.window = window
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # there is one before anything else
        self.buffer = bytearray()
        self.begun = False
        self.streams: dict[int, Stream] = {}
        self.last = 0
        """The highest number of a stream that the peer opened."""
        self.leaving = False
        self.decoder = Decoder(max_header_list_size=frames.MOST_HEADERS)
        self.known: dict[bytes, Headers] = {}
        """Header blocks that leave the tables as they are: clients send the same few again and again."""
        self.block: tuple[int, int, bytearray] | None = None
        """Headers that go on in the next frame: stream, flags, what has come so far."""
        self.peer_window = frames.DEFAULT_WINDOW
        self.peer_frame = frames.DEFAULT_FRAME
        self.send_window = frames.DEFAULT_WINDOW
        self.received = 0
        self.resets = 0
        self.control = 0
        """Frames since the last one with headers or data: pings and the like cost work and bring nothing."""
        self.out: list[bytes] = []
        self.handlers = (
            self.on_data, self.on_headers, self.on_priority, self.on_reset, self.on_settings,
            self.on_push, self.on_ping, self.on_goaway, self.on_window_update, self.on_continuation,
        )  # fmt: skip

    # -- the transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.closed = True
            stream.cancelled()

    def pause_writing(self) -> None:
        """A peer that does not read is not read from: it cannot make the server keep replies for it."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            self.take(data)
        except ConnectionFault as fault:
            self.fail(fault.code, str(fault))
        except Exception:
            log.exception("a gRPC connection failed")
            self.fail(frames.INTERNAL_ERROR, "internal error")

    def take(self, data: bytes) -> None:
        if self.buffer:
            self.buffer += data
            data = bytes(self.buffer)
            self.buffer.clear()
        at = 0
        if not self.begun:
            at = self.begin(data)
            if not self.begun:
                self.buffer += data
                return
        size = len(data)
        while size - at >= frames.HEAD:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > frames.OUR_FRAME:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a frame is too long")
            start = at + frames.HEAD
            end = start + length
            if end > size:
                break
            kind, flags = data[at + 3], data[at + 4]
            number = int.from_bytes(data[at + 5 : start], "big") & frames.LARGEST_WINDOW
            if self.block is not None and kind != frames.CONTINUATION:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "headers are interrupted")
            if kind > frames.CONTINUATION:
                pass  # extensions are ignored
            else:
                self.handlers[kind](number, flags, data[start:end])
            at = end
        if at < size:
            self.buffer += data[at:]

    def begin(self, data: bytes) -> int:
        """The first bytes of a connection; how many of them are done with."""
        length = len(frames.PREFACE)
        if data[:length] != frames.PREFACE[: len(data)]:
            if data[:4].isalpha() or b" HTTP/1" in data[:4096]:
                self.transport.write(HTTP1_REPLY)
            self.transport.close()
            return 0
        if len(data) < length:
            return 0
        self.begun = True
        self.write(frames.settings(self.window))
        self.write(frames.window_update(0, frames.LARGEST_WINDOW - frames.DEFAULT_WINDOW))
        return length

    # -- frames in ----------------------------------------------------------------------------------------------

    def on_headers(self, number: int, flags: int, payload: bytes) -> None:
        if number == 0:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "headers without a stream")
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = unpadded(payload, flags)
            if flags & frames.WITH_PRIORITY:
                payload = payload[5:]
        if flags & frames.END_HEADERS:
            self.headers_complete(number, flags, payload)
        else:
            self.block = (number, flags, bytearray(payload))

    def on_continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self.block is None or self.block[0] != number:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, block = self.block
        block += payload
        self.count_control()
        if len(block) > frames.MOST_HEADERS:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "the headers are too long")
        if flags & frames.END_HEADERS:
            self.block = None
            self.headers_complete(number, first_flags, bytes(block))

    def headers_complete(self, number: int, flags: int, block: bytes) -> None:
        headers = self.known.get(block)
        if headers is None:
            headers = self.decoded(block)
        self.control = 0
        stream = self.streams.get(number)
        if stream is not None:  # trailers
            if not flags & frames.END_STREAM or stream.ended:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "headers in the middle of a stream")
            stream.ended = True
            stream.end()
            return
        if number <= self.last or number % 2 == 0:
            if number <= self.last and number % 2:
                return  # trailers of a stream that has ended
            raise ConnectionFault(frames.PROTOCOL_ERROR, "streams must have odd and rising numbers")
        self.last = number
        if self.leaving or len(self.streams) >= frames.MOST_STREAMS:
            self.write(frames.reset(number, frames.REFUSED_STREAM))
            return
        stream = self.streams[number] = self.opener(self, number, headers)
        if flags & frames.END_STREAM:
            stream.ended = True
            stream.end()

    def decoded(self, block: bytes) -> Headers:
        before = table_state(self.decoder)
        try:
            decoded = self.decoder.decode(block, raw=True)
        except HPACKError:
            raise ConnectionFault(frames.COMPRESSION_ERROR, "the headers cannot be decoded") from None
        headers: Headers = tuple((bytes(name), bytes(value)) for name, value in decoded)
        if table_state(self.decoder) != before:
            self.known.clear()
        elif len(self.known) < 100 and len(block) < 1000:
            self.known[block] = headers
        return headers

    def on_data(self, number: int, flags: int, payload: bytes) -> None:
        length = len(payload)
        self.received += length
        if self.received > frames.LARGEST_WINDOW // 2:
            self.write(frames.window_update(0, self.received))
            self.received = 0
        stream = self.streams.get(number)
        if stream is None or stream.ended:
            if number > self.last or number == 0:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "data without a stream")
            return  # it was on its way when the stream ended
        if flags & frames.PADDED:
            payload = unpadded(payload, flags)
        stream.received += length
        if stream.received > self.window // 2 and not flags & frames.END_STREAM:
            self.write(frames.window_update(number, stream.received))
            stream.received = 0
        if payload:
            self.control = 0
            stream.data(payload)
        else:
            self.count_control()
        if flags & frames.END_STREAM and not stream.ended:
            stream.ended = True
            stream.end()

    def on_reset(self, number: int, flags: int, payload: bytes) -> None:
        if number == 0 or number > self.last or len(payload) != 4:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a reset of nothing")
        stream = self.streams.pop(number, None)
        if stream is not None:
            self.resets += 1
            if self.resets > MOST_RESETS:
                raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "too many resets")
            stream.closed = stream.ended = True
            stream.cancelled()
            self.finish_leaving()

    def on_settings(self, number: int, flags: int, payload: bytes) -> None:
        if number or len(payload) % 6 or (flags & frames.ACK and payload):
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "broken settings")
        if flags & frames.ACK:
            return
        self.count_control()
        for at in range(0, len(payload), 6):
            key, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
            if key == frames.INITIAL_WINDOW_SIZE:
                if value > frames.LARGEST_WINDOW:
                    raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the window is too large")
                for stream in self.streams.values():
                    stream.send_window += value - self.peer_window
                self.peer_window = value
            elif key == frames.MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME <= value <= frames.LARGEST_FRAME:
                    raise ConnectionFault(frames.PROTOCOL_ERROR, "no such size of frames")
                self.peer_frame = value
        self.write(frame(frames.SETTINGS, frames.ACK, 0))
        self.send_waiting()

    def on_window_update(self, number: int, flags: int, payload: bytes) -> None:
        size = int.from_bytes(payload, "big") & frames.LARGEST_WINDOW
        if len(payload) != 4 or (size == 0 and number == 0):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a broken window update")
        if number == 0:
            self.send_window += size
            if self.send_window > frames.LARGEST_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the window is too large")
            self.send_waiting()
        elif (stream := self.streams.get(number)) is not None:
            stream.send_window += size
            if stream.send_window > frames.LARGEST_WINDOW or size == 0:
                self.reset(stream, frames.FLOW_CONTROL_ERROR)
            else:
                self.send_some(stream)

    def on_ping(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 8 or number:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a broken ping")
        if not flags & frames.ACK:
            self.count_control()
            self.write(frame(frames.PING, frames.ACK, 0, payload))

    def on_goaway(self, number: int, flags: int, payload: bytes) -> None:
        """The peer opens no more streams; those that it has opened are answered."""

    def on_priority(self, number: int, flags: int, payload: bytes) -> None:
        self.count_control()

    def on_push(self, number: int, flags: int, payload: bytes) -> None:
        raise ConnectionFault(frames.PROTOCOL_ERROR, "clients do not push")

    def count_control(self) -> None:
        self.control += 1
        if self.control > MOST_CONTROL:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "too many frames that say nothing")

    # -- frames out ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """All that is written in one turn of the event loop leaves together."""
        if not self.out:
            self.loop.call_soon(self.flush)
        self.out.append(data)

    def flush(self) -> None:
        if self.out and not self.transport.is_closing():
            self.transport.write(b"".join(self.out))
        self.out.clear()

    def send_reply(self, stream: Stream, headers: bytes, message: bytes, trailers: bytes) -> None:
        """A whole reply; `headers` and `trailers` are blocks of header fields."""
        number, length = stream.number, len(message)
        if length <= self.peer_frame and length <= self.send_window and length <= stream.send_window:
            self.send_window -= length
            self.write(
                frame(frames.HEADERS, frames.END_HEADERS, number, headers)
                + frame(frames.DATA, 0, number, message)
                + frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number, trailers)
            )
            self.forget(stream)
        else:
            self.send_headers(stream, headers)
            self.send_data(stream, message)
            self.send_trailers(stream, trailers)

    def send_headers(self, stream: Stream, block: bytes) -> None:
        if not stream.closed:
            self.write(frame(frames.HEADERS, frames.END_HEADERS, stream.number, block))

    def send_data(self, stream: Stream, data: bytes) -> None:
        stream.waiting.append((data, False))
        self.send_some(stream)

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """The end of a stream, after whatever still waits."""
        flags = frames.END_HEADERS | frames.END_STREAM
        stream.waiting.append((frame(frames.HEADERS, flags, stream.number, block), True))
        self.send_some(stream)

    def send_waiting(self) -> None:
        for stream in [one for one in self.streams.values() if one.waiting]:
            self.send_some(stream)

    def send_some(self, stream: Stream) -> None:
        """As much of what waits as the windows allow."""
        while stream.waiting and not stream.closed:
            data, last = stream.waiting[0]
            if last:
                self.write(data)
                self.forget(stream)
                return
            room = min(self.send_window, stream.send_window, self.peer_frame)
            if room <= 0 and data:
                return
            part, rest = data[:room], data[room:]
            self.write(frame(frames.DATA, 0, stream.number, part))
            self.send_window -= len(part)
            stream.send_window -= len(part)
            if rest:
                stream.waiting[0] = (rest, False)
            else:
                stream.waiting.popleft()

    def forget(self, stream: Stream) -> None:
        """Our side of a stream has ended; so has the other if the peer was still sending."""
        stream.closed = True
        stream.waiting.clear()
        self.resets = 0
        self.streams.pop(stream.number, None)
        if not stream.ended:
            stream.ended = True
            self.write(frames.reset(stream.number, frames.NO_ERROR))
        self.finish_leaving()

    def reset(self, stream: Stream, code: int) -> None:
        self.write(frames.reset(stream.number, code))
        stream.closed = stream.ended = True
        self.streams.pop(stream.number, None)
        stream.cancelled()
        self.finish_leaving()

    def fail(self, code: int, words: str) -> None:
        log.debug("a gRPC connection is closed: %s", words)
        self.write(frames.goaway(self.last, code, words.encode()))
        self.flush()
        self.transport.close()

    def leave(self) -> None:
        """No more streams; the connection ends with the last that is open."""
        self.leaving = True
        self.write(frames.goaway(self.last, frames.NO_ERROR))
        self.finish_leaving()

    def finish_leaving(self) -> None:
        if self.leaving and not self.streams:
            self.flush()
            self.transport.close()


def table_state(decoder: Decoder) -> tuple[int, int, int]:
    """What differs after any change of a decoder's table, whose entries come at its head."""
    table = decoder.header_table
    entries = table.dynamic_entries
    return len(entries), id(entries[0]) if entries else 0, table.maxsize


def unpadded(payload: bytes, flags: int) -> bytes:
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(frames.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]
