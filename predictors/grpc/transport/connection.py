"""One HTTP/2 connection: frames in, streams, flow control both ways, frames out (RFC 9113, the server's side)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TypeAlias, cast

from predictors.grpc.transport import frames, work
from predictors.grpc.transport.closed_streams import ClosedStreams
from predictors.grpc.transport.fields import Headers, Malformed, check_trailers
from predictors.grpc.transport.frames import ConnectionFault, frame
from predictors.grpc.transport.headers import HeaderBlock, HeaderBlocks
from predictors.grpc.transport.stream import Stream
from predictors.queueing.byte_budget import BudgetExhausted, ByteBudget
from predictors.queueing.slow_clients import MAX_STALL, Arrival, Backlog

log = logging.getLogger("predictors")

MAX_HELD = 512 * 1024**2  # bytes of requests that one connection may have open at a time
ALWAYS_HELD = 1024  # bytes of a request that need no room: probes are answered when there is none
WINDOW_STEP = 32 * 1024  # bytes that are returned to a window at a time; less than a window has beyond a whole message
CLOSE_SECONDS = 1.0  # seconds for a peer to hear that the connection will end
LAST_PING = b"farewell"
SELF_DEPENDENT = 0x100  # a flag of our own: the headers say that their stream depends on itself
HTTP1_REPLY = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 34\r\n\r\n"
    b"this port speaks gRPC over HTTP/2\n"
)


Opener: TypeAlias = "Callable[[Http2Connection, int, Headers], Stream]"
Handler: TypeAlias = "Callable[[int, int, bytes], int]"
"""Of one kind of frame: its stream, flags and payload; returns what the work cost."""


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
        self.greeted = False
        """Whether the peer's first frame, its SETTINGS, has come."""
        self.streams: dict[int, Stream] = {}
        self.closed_streams = ClosedStreams()
        self.held_back: dict[int, Stream] = {}
        """The streams with a window of their own, whose output waits for the connection's window or for a reader."""
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
        self.max_held = max(MAX_HELD, 4 * window)
        self.budget = work.WorkBudget()
        self.left_of_turn = work.TURN
        self.interrupted = False
        """Whether frames wait for the next turn."""
        self.failed = False
        """Whether a fault has ended the connection, and the peer is being told so."""
        self.out: list[bytes] = []
        self.paused = False
        """The peer does not read."""
        self.handlers: tuple[Handler, ...] = (self.on_first,) * 4 + (self.on_first_settings,) + (self.on_first,) * 5

    def greet(self) -> None:
        """From the first frame on, all kinds are taken."""
        self.greeted = True
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
        self.cancel_streams()

    def cancel_streams(self) -> None:
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
            if self.interrupted:
                self.loop.call_soon(self.go_on)
            else:
                self.transport.resume_reading()
            self.send_waiting()

    def take_part_of_turn(self, left: int) -> None:
        """Counts for what is still read in this iteration of the event loop: a transport may read several times."""
        if self.left_of_turn == work.TURN:
            self.loop.call_soon(self.begin_turn)
        self.left_of_turn = left

    def begin_turn(self) -> None:
        self.left_of_turn = work.TURN
        self.go_on()

    def interrupt(self) -> None:
        """Other connections have their turn before the frames that wait."""
        self.interrupted = True
        self.needed = frames.HEADER_SIZE
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def go_on(self) -> None:
        if not self.interrupted or self.paused or self.failed or self.transport.is_closing():
            return
        self.interrupted = False
        self.data_received(b"")
        if not (self.interrupted or self.paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def close_if_slow(self, now: float, read_timeout: float) -> None:
        """Ends connections and streams whose peer sends too slowly or does not read; `read_timeout` 0 is no limit."""
        if self.failed:
            return
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
        if self.failed:
            return
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
            if self.interrupted or len(self.buffer) < self.needed:
                return
            data = bytes(self.buffer)
            self.buffer = bytearray()
        at = 0
        if not self.begun:
            at = self.begin(data)
            if not self.begun:
                self.buffer += data
                return
        size, left = len(data), self.left_of_turn
        while size - at >= frames.HEADER_SIZE:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > frames.MAX_RECEIVED_FRAME:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a frame is too long")
            start = at + frames.HEADER_SIZE
            end = start + length
            if end > size:
                self.needed = end - at
                break
            kind, flags = data[at + 3], data[at + 4]
            number = int.from_bytes(data[at + 5 : start], "big") & frames.MAX_WINDOW
            if self.block is not None and kind != frames.CONTINUATION:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "headers are interrupted")
            if kind > frames.CONTINUATION:
                left -= self.on_unknown(length)
            else:
                left -= self.handlers[kind](number, flags, data[start:end])
            at = end
            if left <= 0 and at < size:
                self.interrupt()
                break
        else:
            self.needed = frames.HEADER_SIZE
        if at < size:
            self.buffer += data[at:]
        if left < work.TURN - work.UNCOUNTED:
            self.take_part_of_turn(left)

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

    def on_first(self, number: int, flags: int, payload: bytes) -> int:
        raise ConnectionFault(frames.PROTOCOL_ERROR, "the first frame must be SETTINGS")

    def on_first_settings(self, number: int, flags: int, payload: bytes) -> int:
        if flags & frames.ACK:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "the first frame must be SETTINGS of the client")
        self.greet()
        return self.on_settings(number, flags, payload)

    def on_unknown(self, length: int) -> int:
        """Extensions are ignored."""
        if not self.greeted:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        return self.budget.charge(work.SMALL_FRAME + (length >> work.IGNORED_SHIFT))

    def on_headers(self, number: int, flags: int, payload: bytes) -> int:
        if number == 0:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "headers without a stream")
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = unpadded(payload, flags)
            if flags & frames.WITH_PRIORITY:
                if len(payload) < 5:
                    raise ConnectionFault(frames.FRAME_SIZE_ERROR, "headers without their priority")
                if depends_on_itself(number, payload):
                    flags |= SELF_DEPENDENT
                payload = payload[5:]
        if flags & frames.END_HEADERS:
            return self.headers_complete(number, flags, payload)
        self.block = (number, flags, bytearray(payload))
        return work.SMALL_FRAME

    def on_continuation(self, number: int, flags: int, payload: bytes) -> int:
        if self.block is None or self.block[0] != number:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, block = self.block
        block += payload
        cost = self.budget.charge(work.SMALL_FRAME)
        if len(block) > frames.MAX_BLOCK:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "the headers are too long")
        if flags & frames.END_HEADERS:
            self.block = None
            cost += self.headers_complete(number, first_flags, bytes(block))
        return cost

    def headers_complete(self, number: int, flags: int, encoded: bytes) -> int:
        block, cost = self.header_blocks.known.get(encoded), work.SMALL_FRAME
        if block is None:
            block = self.header_blocks.decode(encoded)
            cost = block.cost
            free = work.FREE_HEADERS if number > self.last else 0
            if cost > free:
                self.budget.charge(cost - free)
        if number <= self.last or number % 2 == 0:
            return cost + self.on_trailers(number, flags, block)
        if number > self.last + 2:
            self.closed_streams.leave_out(self.last, number)
        self.last = number
        if self.leaving or len(self.streams) >= frames.MAX_STREAMS:
            return cost + self.refuse(number, flags, frames.REFUSED_STREAM)
        if block.refusal or flags & SELF_DEPENDENT or (flags & frames.END_STREAM and block.content_length):
            # Other streams may be those of other people, behind one proxy.
            return cost + self.refuse(number, flags, block.refusal or frames.PROTOCOL_ERROR)
        stream = self.streams[number] = self.opener(self, number, block.headers)
        if block.content_length is not None:
            stream.content_left = block.content_length
        stream.ended = bool(flags & frames.END_STREAM)
        stream.begin()
        if flags & frames.END_STREAM:
            stream.end()
            cost += work.CALL_COST
        return cost

    def refuse(self, number: int, flags: int, code: int) -> int:
        """Refuses a stream that the peer opens."""
        self.write(frames.reset(number, code))
        if not flags & frames.END_STREAM:
            self.closed_streams.close(number)
        return self.budget.charge(work.REFUSAL)

    def on_trailers(self, number: int, flags: int, block: HeaderBlock) -> int:
        stream = self.streams.get(number)
        if stream is None:
            if not self.late(number, flags):
                raise ConnectionFault(frames.STREAM_CLOSED, "headers of a stream that the client has ended")
            return self.budget.charge(work.SMALL_FRAME)
        if stream.ended:
            return self.end_faulty(stream, frames.STREAM_CLOSED)
        if stream.content_left or not are_trailers(flags, block.headers):
            return self.end_faulty(stream, frames.PROTOCOL_ERROR)
        stream.ended = True
        stream.end()
        return work.CALL_COST

    def end_faulty(self, stream: Stream, code: int) -> int:
        """Ends a stream on which the peer broke the protocol; others go on."""
        self.reset(stream, code)
        return self.budget.charge(work.RESET)

    def late(self, number: int, flags: int) -> bool:
        """Whether a frame was on its way when this server closed its stream, and is to be ignored."""
        if self.is_idle(number) or self.closed_streams.was_left_out(number):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a frame of a stream that has not begun")
        if not self.closed_streams.may_send(number):
            return False
        if flags & frames.END_STREAM:
            self.closed_streams.finish(number)
        return True

    def on_data(self, number: int, flags: int, payload: bytes) -> int:
        length = len(payload)
        self.received += length
        if self.received > frames.MAX_WINDOW // 2:
            self.write(frames.window_update(0, self.received))
            self.received = 0
        if flags & frames.PADDED:
            payload = unpadded(payload, flags)
        ends = flags & frames.END_STREAM
        if not ends and len(payload) < work.MIN_DATA:
            self.budget.charge(work.SMALL_FRAME)
        stream = self.streams.get(number)
        if stream is None:
            if self.late(number, flags):
                return self.budget.charge(work.SMALL_FRAME)
            self.write(frames.reset(number, frames.STREAM_CLOSED))
            return self.budget.charge(work.RESET)
        if stream.ended:
            return self.end_faulty(stream, frames.STREAM_CLOSED)
        self.held += length
        self.room.held += length
        stream.received = received = stream.received + length
        if received > self.window:
            return self.end_faulty(stream, frames.FLOW_CONTROL_ERROR)
        if self.held > self.max_held:
            return self.end_faulty(stream, frames.ENHANCE_YOUR_CALM)
        if received > ALWAYS_HELD and not self.room.has(0):
            stream.budget_exhausted()
            return work.SMALL_FRAME
        if stream.content_left is not None:
            stream.content_left -= len(payload)
            if stream.content_left < 0 or (ends and stream.content_left):
                return self.end_faulty(stream, frames.PROTOCOL_ERROR)
        if flags & frames.PADDED:
            self.allow(stream, length - len(payload))
        if payload:
            stream.data(payload)
        if ends and not stream.ended:
            stream.ended = True
            stream.end()
            return work.CALL_COST + (length >> work.DATA_SHIFT)
        return work.SMALL_FRAME + (length >> work.DATA_SHIFT)

    def is_idle(self, number: int) -> bool:
        """Whether nobody has opened this stream, or ever will."""
        return number > self.last or number % 2 == 0

    def hold(self, stream: Stream, size: int) -> None:
        """Counts bytes that a stream holds beside those that it received; raises BudgetExhausted."""
        if size > 0 and not self.room.has(size):
            raise BudgetExhausted
        stream.inflated += size
        self.held += size
        self.room.held += size

    def allow(self, stream: Stream, size: int) -> None:
        """Returns bytes that have been consumed to the window of a stream."""
        stream.consumed += size
        if stream.consumed > WINDOW_STEP and not stream.ended:
            self.write(frames.window_update(stream.number, stream.consumed))
            stream.received -= stream.consumed
            self.held -= stream.consumed
            self.room.held -= stream.consumed
            stream.consumed = 0

    def on_reset(self, number: int, flags: int, payload: bytes) -> int:
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a broken reset")
        if self.is_idle(number):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a reset of nothing")
        stream = self.streams.get(number)
        if stream is None:
            self.closed_streams.finish(number)
            return self.budget.charge(work.SMALL_FRAME)
        cost = self.budget.charge(work.RESET)
        stream.ended = True
        self.drop(stream)
        stream.cancelled()
        self.finish_leaving()
        return cost

    def on_settings(self, number: int, flags: int, payload: bytes) -> int:
        if number:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "broken settings")
        cost = self.budget.charge(work.SMALL_FRAME + len(payload) // 6)
        if flags & frames.ACK:
            return cost
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
            cost += self.budget.charge(len(self.streams) // work.STREAMS_PER_UNIT)
            self.change_windows(window)
        self.write(frame(frames.SETTINGS, frames.ACK, 0))
        return cost

    def change_windows(self, window: int) -> None:
        """Gives streams, those that are open as well, another window to begin with."""
        more, self.peer_window = window - self.peer_window, window
        for stream in self.streams.values():
            stream.send_window += more
            if stream.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the window is too large")
        if more > 0:
            for stream in [one for one in self.streams.values() if one.waiting]:
                self.send_some(stream)

    def on_window_update(self, number: int, flags: int, payload: bytes) -> int:
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a broken window update")
        size = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        if size == 0 if number == 0 else self.is_idle(number):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a window update of nothing")
        cost = self.budget.charge(work.SMALL_FRAME)
        if number == 0:
            self.send_window += size
            if self.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the window is too large")
            self.send_waiting()
        elif (stream := self.streams.get(number)) is not None:
            stream.send_window += size
            if size == 0:
                return self.end_faulty(stream, frames.PROTOCOL_ERROR)
            if stream.send_window > frames.MAX_WINDOW:
                return self.end_faulty(stream, frames.FLOW_CONTROL_ERROR)
            self.send_some(stream)
        return cost

    def on_ping(self, number: int, flags: int, payload: bytes) -> int:
        if number:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a broken ping")
        cost = self.budget.charge(work.SMALL_FRAME)
        if not flags & frames.ACK:
            self.write(frame(frames.PING, frames.ACK, 0, payload))
        elif payload == LAST_PING:
            self.leave()
        return cost

    def on_goaway(self, number: int, flags: int, payload: bytes) -> int:
        """The peer opens no more streams; those that it has opened are answered."""
        if number:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a goodbye of a stream")
        if len(payload) < 8:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a broken goodbye")
        return self.budget.charge(work.SMALL_FRAME)

    def on_priority(self, number: int, flags: int, payload: bytes) -> int:
        """Priorities are read and not used."""
        if number == 0:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a priority of the connection")
        broken = len(payload) != 5
        if broken or depends_on_itself(number, payload):
            code, stream = frames.FRAME_SIZE_ERROR if broken else frames.PROTOCOL_ERROR, self.streams.get(number)
            if stream is None:
                raise ConnectionFault(code, "a broken priority of a stream that is not open")
            return self.end_faulty(stream, code)
        return self.budget.charge(work.SMALL_FRAME)

    def on_push(self, number: int, flags: int, payload: bytes) -> int:
        raise ConnectionFault(frames.PROTOCOL_ERROR, "clients do not push")

    # -- frames out ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Everything written in one iteration of the event loop leaves together."""
        if not self.out:
            self.loop.call_soon(self.flush)
        self.out.append(data)

    def flush(self) -> None:
        if self.out and not self.failed and not self.transport.is_closing():
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
        """Sends a message, as flow control allows."""
        self.budget.earned += work.MESSAGE
        stream.waiting.append((data, False))
        self.send_some(stream)

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """Ends a stream, after the data that still waits."""
        flags = frames.END_HEADERS | frames.END_STREAM
        stream.waiting.append((frame(frames.HEADERS, flags, stream.number, block), True))
        self.send_some(stream)

    def send_waiting(self) -> None:
        while self.held_back and self.send_window > 0 and not self.paused:
            self.send_some(next(iter(self.held_back.values())))

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
                if stream.send_window > 0:
                    self.held_back[stream.number] = stream
                else:
                    self.held_back.pop(stream.number, None)
                return
            part = data[:room]
            self.write(frame(frames.DATA, 0, stream.number, part))
            self.send_window -= len(part)
            stream.send_window -= len(part)
            self.budget.earned += len(part) >> work.EARNING_SHIFT
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
        self.budget.earned += work.ANSWER
        self.drop(stream)
        self.finish_leaving()

    def reset(self, stream: Stream, code: int) -> None:
        self.write(frames.reset(stream.number, code))
        self.drop(stream)
        stream.cancelled()
        self.finish_leaving()

    def drop(self, stream: Stream) -> None:
        if not stream.ended:
            self.closed_streams.close(stream.number)
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
        self.failed = True
        self.cancel_streams()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            # What the peer still sends is read, and ignored: otherwise TCP could drop these last words.
            self.transport.write_eof()
            self.transport.resume_reading()
        else:
            self.transport.close()
        # The peer may not read even this.
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def prepare_to_leave(self) -> None:
        """Tells the peer to open no more streams; those that are on their way by then are still answered."""
        if not self.begun or self.failed:
            self.transport.close()
            return
        self.write(frames.goaway(frames.MAX_WINDOW, frames.NO_ERROR) + frame(frames.PING, 0, 0, LAST_PING))
        self.loop.call_later(CLOSE_SECONDS, self.leave)

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
    if not payload:
        raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
    if payload[0] >= len(payload):
        raise ConnectionFault(frames.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def depends_on_itself(number: int, priority: bytes) -> bool:
    return int.from_bytes(priority[:4], "big") & frames.MAX_WINDOW == number


def are_trailers(flags: int, headers: Headers) -> bool:
    if not flags & frames.END_STREAM or flags & SELF_DEPENDENT:
        return False
    try:
        check_trailers(headers)
    except Malformed:
        return False
    return True
