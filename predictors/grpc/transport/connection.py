"""One HTTP/2 connection: frames in, streams, flow control both ways, frames out (RFC 9113, the server's side)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TypeAlias, cast

from predictors.grpc.transport import frames
from predictors.grpc.transport.frames import ConnectionFault, frame
from predictors.grpc.transport.headers import HeaderBlocks, Headers
from predictors.grpc.transport.stream import Stream
from predictors.queueing.byte_budget import ByteBudget, NoRoom
from predictors.queueing.slow_clients import MAX_STALL, Arrival, Backlog

log = logging.getLogger("predictors")

# A client that resets more streams than this in a minute, and lets none end, is attacking the server.
MAX_RESETS = 2000
MAX_CONTROL = 10_000  # a minute too: pings that keep an idle connection alive add up over the days
MINUTE = 60.0
MAX_HELD = 512 * 1024**2  # bytes of requests that one connection may have open at a time
ENOUGH = 32 * 1024  # bytes that are returned to a window at a time; less than a window has beyond a whole message
LAST_WORDS = 1.0  # seconds for a peer to hear that the connection will end
FAREWELL = b"farewell"
HTTP1_REPLY = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 34\r\n\r\n"
    b"this port speaks gRPC over HTTP/2\n"
)


Opener: TypeAlias = "Callable[[Http2Connection, int, Headers], Stream]"


class Http2Connection(asyncio.Protocol):
    def __init__(
        self, opener: Opener, connections: set[Http2Connection], window: int, room: ByteBudget | None = None
    ) -> None:
        self.opener = opener
        self.connections = connections
        self.window = window
        self.room = room or ByteBudget()
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # there is one before anything else
        self.peer = ""
        """The address at the other end."""
        self.buffer = bytearray()
        self.needed = 0
        """How long the buffer must be for its first frame to be whole."""
        self.arriving: bytearray | None = None
        self.arrival = Arrival()
        """Of the preface, then of anything that arrives in parts: a frame, or headers of several frames."""
        self.backlog = Backlog()
        self.begun = False
        self.streams: dict[int, Stream] = {}
        self.held_back: dict[int, Stream] = {}
        """The streams whose output waits for a window or a reader, so that frequent window updates cost little."""
        self.last = 0
        """The highest number of a stream that the peer opened."""
        self.leaving = False
        self.header_blocks = HeaderBlocks()
        self.block: tuple[int, int, bytearray] | None = None
        """Headers that continue in the next frame: stream, flags, bytes so far."""
        self.peer_window = frames.DEFAULT_WINDOW
        self.peer_frame = frames.DEFAULT_FRAME
        self.send_window = frames.DEFAULT_WINDOW
        self.received = 0
        self.held = 0
        """Bytes that all open streams hold."""
        self.most_held = max(MAX_HELD, 4 * window)
        self.resets = 0
        self.control = 0
        """Frames since the last one with headers or data: pings and the like cost work and bring nothing."""
        self.minute = self.loop.time() + MINUTE
        self.out: list[bytes] = []
        self.paused = False
        """The peer does not read."""
        self.handlers = (
            self.on_data, self.on_headers, self.on_priority, self.on_reset, self.on_settings,
            self.on_push, self.on_ping, self.on_goaway, self.on_window_update, self.on_continuation,
        )  # fmt: skip

    # -- the transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connections.add(self)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) and name else ""
        # A peer whose machine is gone says no goodbye.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        streams, self.streams = self.streams, {}
        self.held_back.clear()
        self.room.held -= self.held
        self.held = 0
        for stream in streams.values():
            stream.closed = True
            stream.cancelled()

    def pause_writing(self) -> None:
        """A peer that does not read is not read from: it cannot make the server keep replies for it."""
        self.paused = True
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.paused = False
        if not self.transport.is_closing():
            self.backlog = Backlog()
            self.transport.resume_reading()
            self.send_waiting()

    def close_if_slow(self, now: float, read_timeout: float) -> None:
        """Ends connections and streams whose peer sends too slowly or does not read; `read_timeout` 0 is no limit."""
        unread = self.transport.get_write_buffer_size() if self.paused else 0
        if self.backlog.is_stuck(now, unread, MAX_STALL):
            self.transport.abort()
        elif not self.begun:
            if self.arrival.is_slow(now, 0, MAX_STALL):
                self.transport.abort()
        elif read_timeout:
            if self.frame_is_slow(now, read_timeout):
                self.fail(frames.ENHANCE_YOUR_CALM, "a frame takes too long to arrive")
                return
            for stream in list(self.streams.values()):
                self.end_if_slow(stream, now, read_timeout)

    def frame_is_slow(self, now: float, seconds: float) -> bool:
        part = self.buffer if self.block is None else self.block[2]
        if self.paused or not part or part is not self.arriving:
            self.arriving = part
            self.arrival.begin()
        return bool(part) and not self.paused and self.arrival.is_slow(now, len(part), seconds)

    def end_if_slow(self, stream: Stream, now: float, seconds: float) -> None:
        if self.paused:  # nothing moves until the peer reads
            stream.arrival = stream.backlog = None
            return
        if not stream.ended:
            stream.arrival = stream.arrival or Arrival()
            if stream.arrival.is_slow(now, stream.received + len(self.buffer), seconds):
                stream.too_slow()
        stream.backlog = stream.backlog or Backlog()
        if stream.backlog.is_stuck(now, sum(len(data) for data, _ in stream.waiting), seconds):
            self.reset(stream, frames.CANCEL)  # it keeps its request and its replies here

    def data_received(self, data: bytes) -> None:
        try:
            self.consume(data)
        except ConnectionFault as fault:
            self.fail(fault.code, str(fault))
        except Exception:
            log.exception("a gRPC connection failed")
            self.fail(frames.INTERNAL_ERROR, "internal error")

    def consume(self, data: bytes) -> None:
        if self.buffer:
            self.buffer += data
            if len(self.buffer) < self.needed:
                return
            data = bytes(self.buffer)
            self.buffer = bytearray()
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
                self.needed = end - at
                break
            kind, flags = data[at + 3], data[at + 4]
            number = int.from_bytes(data[at + 5 : start], "big") & frames.MAX_WINDOW
            if self.block is not None and kind != frames.CONTINUATION:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "headers are interrupted")
            if kind > frames.CONTINUATION:
                self.count_control()  # extensions are ignored
            else:
                self.handlers[kind](number, flags, data[start:end])
            at = end
        else:
            self.needed = frames.HEAD
        if at < size:
            self.buffer += data[at:]

    def begin(self, data: bytes) -> int:
        """Reads the connection preface; returns the number of bytes consumed."""
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
        self.write(frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW))
        return length

    # -- frames in ----------------------------------------------------------------------------------------------

    def on_headers(self, number: int, flags: int, payload: bytes) -> None:
        if number == 0:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "headers without a stream")
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = unpadded(payload, flags)
            if flags & frames.WITH_PRIORITY:
                if len(payload) < 5:
                    raise ConnectionFault(frames.FRAME_SIZE_ERROR, "headers without their priority")
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
        if len(block) > frames.MAX_BLOCK:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "the headers are too long")
        if flags & frames.END_HEADERS:
            self.block = None
            self.headers_complete(number, first_flags, bytes(block))

    def headers_complete(self, number: int, flags: int, block: bytes) -> None:
        headers, too_large = self.header_blocks.decode(block)
        self.control = 0
        stream = self.streams.get(number)
        if stream is not None:  # trailers
            if not flags & frames.END_STREAM or stream.ended:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "headers in the middle of a stream")
            stream.ended = True
            stream.end()
            return
        if number <= self.last or number % 2 == 0:
            if number % 2 and flags & frames.END_STREAM:
                return  # trailers of a stream that has ended
            raise ConnectionFault(frames.PROTOCOL_ERROR, "streams must have odd and rising numbers")
        self.last = number
        if self.leaving or len(self.streams) >= frames.MAX_STREAMS:
            self.write(frames.reset(number, frames.REFUSED_STREAM))
            return
        if too_large:  # other streams may be those of other people, behind one proxy
            self.write(frames.reset(number, frames.ENHANCE_YOUR_CALM))
            return
        stream = self.streams[number] = self.opener(self, number, headers)
        stream.ended = bool(flags & frames.END_STREAM)
        stream.begin()
        if flags & frames.END_STREAM:
            stream.end()

    def on_data(self, number: int, flags: int, payload: bytes) -> None:
        length = len(payload)
        self.received += length
        if self.received > frames.MAX_WINDOW // 2:
            self.write(frames.window_update(0, self.received))
            self.received = 0
        if flags & frames.PADDED:
            payload = unpadded(payload, flags)
        if payload:
            self.control = 0
        else:
            self.count_control()
        stream = self.streams.get(number)
        if stream is None:
            if number > self.last or number % 2 == 0:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "data without a stream")
            return  # it was on its way when the stream ended
        if stream.ended:
            self.reset(stream, frames.STREAM_CLOSED)
            return
        self.held += length
        self.room.held += length
        stream.received = received = stream.received + length
        if received > self.window:
            self.reset(stream, frames.FLOW_CONTROL_ERROR)
            return
        if self.held > self.most_held:
            self.reset(stream, frames.ENHANCE_YOUR_CALM)
            return
        if not self.room.has(0):
            stream.no_room()
            return
        if flags & frames.PADDED:
            self.allow(stream, length - len(payload))
        if payload:
            stream.data(payload)
        if flags & frames.END_STREAM and not stream.ended:
            stream.ended = True
            stream.end()

    def hold(self, stream: Stream, size: int) -> None:
        """Counts bytes that a stream holds beside those that it received; raises NoRoom."""
        if size > 0 and not self.room.has(size):
            raise NoRoom
        stream.inflated += size
        self.held += size
        self.room.held += size

    def allow(self, stream: Stream, size: int) -> None:
        """Returns bytes that have been consumed to the window of a stream."""
        stream.consumed += size
        if stream.consumed > ENOUGH and not stream.ended:
            self.write(frames.window_update(stream.number, stream.consumed))
            stream.received -= stream.consumed
            self.held -= stream.consumed
            self.room.held -= stream.consumed
            stream.consumed = 0

    def on_reset(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a broken reset")
        if number > self.last or number % 2 == 0:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a reset of nothing")
        stream = self.streams.get(number)
        if stream is not None:
            self.this_minute()
            self.resets += 1
            if self.resets > MAX_RESETS:
                raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "too many resets")
            self.drop(stream)
            stream.cancelled()
            self.finish_leaving()

    def on_settings(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "broken settings")
        self.count_control()
        if flags & frames.ACK:
            return
        window = self.peer_window
        for at in range(0, len(payload), 6):
            key, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
            if key == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the window is too large")
                window = value
            elif key == frames.MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME <= value <= frames.MAX_FRAME:
                    raise ConnectionFault(frames.PROTOCOL_ERROR, "no such size of frames")
                self.peer_frame = value
            elif key == frames.ENABLE_PUSH and value > 1:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "neither yes nor no")
        if window != self.peer_window:
            for stream in self.streams.values():
                stream.send_window += window - self.peer_window
                if stream.send_window > frames.MAX_WINDOW:
                    raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the window is too large")
            self.peer_window = window
        self.write(frame(frames.SETTINGS, frames.ACK, 0))
        self.send_waiting()

    def on_window_update(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a broken window update")
        size = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        if number > self.last or (size == 0 and number == 0):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a window update of nothing")
        if number == 0:
            self.send_window += size
            if self.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the window is too large")
            self.send_waiting()
        elif (stream := self.streams.get(number)) is not None:
            stream.send_window += size
            if size == 0:
                self.reset(stream, frames.PROTOCOL_ERROR)
            elif stream.send_window > frames.MAX_WINDOW:
                self.reset(stream, frames.FLOW_CONTROL_ERROR)
            else:
                self.send_some(stream)

    def on_ping(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a broken ping")
        self.count_control()
        if not flags & frames.ACK:
            self.write(frame(frames.PING, frames.ACK, 0, payload))
        elif payload == FAREWELL:
            self.leave()

    def on_goaway(self, number: int, flags: int, payload: bytes) -> None:
        """The peer opens no more streams; those that it has opened are answered."""
        self.count_control()

    def on_priority(self, number: int, flags: int, payload: bytes) -> None:
        self.count_control()

    def on_push(self, number: int, flags: int, payload: bytes) -> None:
        raise ConnectionFault(frames.PROTOCOL_ERROR, "clients do not push")

    def count_control(self) -> None:
        self.this_minute()
        self.control += 1
        if self.control > MAX_CONTROL:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "too many frames that say nothing")

    def this_minute(self) -> None:
        """Starts the counts anew each minute: connections may be days old, and only bursts are attacks."""
        now = self.loop.time()
        if now > self.minute:
            self.minute = now + MINUTE
            self.control = self.resets = 0

    # -- frames out ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Everything written in one iteration of the event loop leaves together."""
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
        """Ends a stream, after the data that still waits."""
        flags = frames.END_HEADERS | frames.END_STREAM
        stream.waiting.append((frame(frames.HEADERS, flags, stream.number, block), True))
        self.send_some(stream)

    def send_waiting(self) -> None:
        for stream in list(self.held_back.values()):
            self.send_some(stream)

    def send_some(self, stream: Stream) -> None:
        """Sends as much of the waiting data as the windows and the peer's reading allow."""
        while stream.waiting and not stream.closed:
            data, last = stream.waiting[0]
            if last:
                self.write(bytes(data))
                self.forget(stream)
                return
            room = min(self.send_window, stream.send_window, self.peer_frame)
            if room <= 0 or self.paused:
                self.held_back[stream.number] = stream
                return
            part = data[:room]
            self.write(frame(frames.DATA, 0, stream.number, part))
            self.send_window -= len(part)
            stream.send_window -= len(part)
            if len(part) < len(data):
                stream.waiting[0] = (memoryview(data)[room:], False)
            else:
                stream.waiting.popleft()
        if not stream.waiting:
            self.held_back.pop(stream.number, None)
            stream.drained()

    def forget(self, stream: Stream) -> None:
        """Our side of a stream has ended; so has the other if the peer was still sending."""
        if not stream.ended:
            self.write(frames.reset(stream.number, frames.NO_ERROR))
        self.resets = 0
        self.drop(stream)
        self.finish_leaving()

    def reset(self, stream: Stream, code: int) -> None:
        self.write(frames.reset(stream.number, code))
        self.drop(stream)
        stream.cancelled()
        self.finish_leaving()

    def drop(self, stream: Stream) -> None:
        stream.closed = stream.ended = True
        stream.waiting.clear()
        self.held_back.pop(stream.number, None)
        if self.streams.pop(stream.number, None) is not None:
            self.held -= stream.received + stream.inflated
            self.room.held -= stream.received + stream.inflated

    def fail(self, code: int, words: str) -> None:
        log.debug("a gRPC connection is closed: %s", words)
        self.write(frames.goaway(self.last, code, words.encode()))
        self.flush()
        self.transport.close()
        # The peer may not read even this.
        self.loop.call_later(LAST_WORDS, self.transport.abort)

    def prepare_to_leave(self) -> None:
        """Tells the peer to open no more streams; those that are on their way by then are still answered."""
        if not self.begun:
            self.transport.close()
            return
        self.write(frames.goaway(frames.MAX_WINDOW, frames.NO_ERROR) + frame(frames.PING, 0, 0, FAREWELL))
        self.loop.call_later(LAST_WORDS, self.leave)

    def leave(self) -> None:
        """No more streams; the connection ends with the last that is open."""
        if not self.leaving and not self.transport.is_closing():
            self.leaving = True
            self.write(frames.goaway(self.last, frames.NO_ERROR))
            self.finish_leaving()

    def finish_leaving(self) -> None:
        if self.leaving and not self.streams:
            self.flush()
            self.transport.close()


def unpadded(payload: bytes, flags: int) -> bytes:
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(frames.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]
