"""uvicorn's HTTP protocol with a fast path for the requests that nearly everybody sends.

A small POST to a prediction route on a connection that stays open goes from the parser to the engine and back without
an ASGI scope, a task and two writes, which cost more than many a model. Everything else, and every request that turns
out to need more than the engine, goes through the ASGI application, as if it had just arrived.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from predictors.pipeline import fast_answers
from predictors.pipeline.fast_path import MAX_FAST_BODY
from predictors.queueing.slow_clients import UNSEEN, Arrival, Backlog, Pause
from predictors.rest.asgi import MAX_UNREAD
from predictors.rest.fast_call import FastCall, FastRoute
from predictors.rest.headers import BINARY_TYPE, CLOSE, HEADER_LENGTH, JSON_TYPES, REQUEST_ID
from predictors.rest.parsing import HOST, MAX_TURN, SHARE, TRAILERS, Flow, MalformedRequest, read_without_upgrade
from predictors.telemetry import ids

log = logging.getLogger("predictors")

MAX_IGNORED = 16 * 2**20  # bytes that are still read from a connection that ends
LINGER_SECONDS = 2.0  # seconds that a client may go on sending to a connection that ends, so that it reads its reply
MAX_HEADERS = 64 * 1024  # bytes after what arrives together with the first of them, which may be other requests
HEAD_BEGUN = -1
# Headers that mean more work than the fast path does.
UNUSUAL_HEADERS = frozenset({b"expect", b"upgrade", b"content-encoding", b"transfer-encoding"})
NOTED_HEADERS = UNUSUAL_HEADERS | ids.NAMES | {b"host"}
MAX_DIGITS = 20  # of a body's length
NOTHING = memoryview(b"")
CALL_KEY = "mlflow_kserve.call"
"""The key in an ASGI scope of the call that began on the fast path, whose work there is not repeated."""


GIVE_UP, LEFT = "mlflow_kserve.give_up", "mlflow_kserve.left"
"""Keys in an ASGI scope: the callback for when the client leaves, and a mark once it has left."""


def give_up_with_client(scope: Any) -> None:
    """Cancels this task when the client of its request leaves."""
    task = asyncio.current_task()
    if task is not None:
        scope[GIVE_UP] = task.cancel


def has_left(scope: Any) -> bool:
    return LEFT in scope


class HttpConnection(HttpToolsProtocol):
    app: Any
    """An ASGI application with `fast_routes`: by raw path, those whose requests it need not see."""
    cycle: Any
    flow: Flow
    kind: bytes
    header_length: bytes | None
    unusual: bool
    has_ids: bool
    defaults: list[tuple[bytes, bytes]] | None = None
    """The headers of every reply; `default_lines` has them encoded."""
    default_lines = b""
    heading = False
    """Whether the headers of a request are arriving."""
    head_size = 0
    arrival: Arrival
    """Of the request that comes next, or is coming."""
    backlog: Backlog
    """Of replies."""
    pause: Pause
    """Since the last reply."""
    unanswered: deque[RequestResponseCycle]
    """The requests of the ASGI application; it is at the first of them."""
    unparsed = NOTHING
    """What has arrived, and waits for other connections or for the replies to requests before it."""
    parsing_soon = False
    fault: MalformedRequest | None = None
    """Why the connection ends, once the requests before it are answered."""
    hosts = 0
    host = b""
    """The last one that was seen to be valid."""
    ending = False
    """Whether the last reply is sent, and nothing is listened to any more."""
    body_size = 0
    unread = 0
    """Bytes of a request that arrived after its reply."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = Flow(transport)
        self.arrival, self.backlog, self.pause, self.unanswered = Arrival(), Backlog(), Pause(), deque()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.cycle = None  # it refers to the connection
        self.unparsed = NOTHING
        unanswered, self.unanswered = self.unanswered, deque()
        for cycle in unanswered:
            cycle.disconnected = True
            scope: Any = cycle.scope
            scope[LEFT] = True
            if GIVE_UP in scope:
                scope[GIVE_UP]()

    def on_response_complete(self) -> None:
        if self.unanswered and self.unanswered[0].response_complete:
            self.unanswered.popleft()
        self.go_on()

    def go_on(self) -> None:
        """What uvicorn does after a reply, without a timer: the check for slow clients sees idle ones, too."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.pause.since = UNSEEN
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.flow.on_hold:
            self.parse_soon()

    # -- from bytes to requests ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if len(data) <= SHARE and not self.pipeline and not self.flow.on_hold:
            self.parse(data)
        else:
            self.unparsed = memoryview(self.unparsed.tobytes() + data if self.unparsed else data)
            self.parse_shares()

    def parse(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            read_without_upgrade(self, list(self.scope["headers"]))
            self.parse(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            reason = error.__context__
            if not isinstance(reason, MalformedRequest):
                reason = MalformedRequest("the request is not valid HTTP/1.1")
            self.end_with_fault(reason)
            return
        if self.heading:
            self.head_size = self.head_size + len(data) if self.head_size != HEAD_BEGUN else 0
            if self.head_size > MAX_HEADERS:
                self.end_with_fault(MalformedRequest("the headers are too long", 431))
        elif self.head_size:
            self.head_size = 0

    def parse_shares(self) -> None:
        """Parses what has arrived, for a few milliseconds: then it is the turn of other connections.

        Nothing is parsed, and nothing more is read, while requests wait for the reply to one before them.
        """
        self.parsing_soon = False
        if self.fault is not None:
            self.end_with_fault(self.fault)
            return
        end = time.monotonic() + MAX_TURN
        while self.unparsed and not self.pipeline and not self.is_ending:
            share, self.unparsed = self.unparsed[:SHARE], self.unparsed[SHARE:]
            self.parse(share)
            if time.monotonic() > end:
                break
        if self.is_ending:
            self.unparsed = NOTHING
        elif self.unparsed:
            self.flow.hold()
            if not self.pipeline:
                self.parse_soon()
        elif self.fault is None:
            self.flow.release()

    def parse_soon(self) -> None:
        if not self.parsing_soon:
            self.parsing_soon = True
            self.loop.call_soon(self.parse_shares)

    def end_with_fault(self, fault: MalformedRequest) -> None:
        """Says why the connection ends, once the requests before are answered; what follows is not read."""
        self.fault, self.unparsed = fault, NOTHING
        if self.pipeline or (self.heading and not self.answered):
            self.flow.hold()
        elif not self.is_ending:
            log.debug("an HTTP connection is closed: %s", fault)
            self.end_with(fault.status, f"{fault}\n".encode())

    @property
    def is_ending(self) -> bool:
        return self.ending or self.transport.is_closing()

    def on_message_begin(self) -> None:
        self.heading, self.head_size = True, HEAD_BEGUN
        self.arrival.begin()
        self.url = b""
        self.headers = []
        self.kind = b""
        self.header_length = None
        self.unusual = self.expect_100_continue = self.has_ids = False
        self.hosts = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        if name == b"content-type":
            self.kind = value
        elif name == HEADER_LENGTH:
            self.header_length = value
        elif name == b"content-length":
            if len(value) > 5:
                self.unusual = True
                if len(value) > MAX_DIGITS:
                    raise MalformedRequest("the content-length has too many digits")
            elif not value.isdigit() or int(value) > MAX_FAST_BODY:
                self.unusual = True
        elif name in NOTED_HEADERS:
            if name == b"host":
                self.hosts += 1
                if value != self.host:
                    if not HOST.fullmatch(value):
                        raise MalformedRequest("the Host header is not valid")
                    self.host = value
                return
            if name in ids.NAMES:
                self.has_ids = True
                return
            self.unusual = True
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        route = self.app.fast_routes.get(self.url)
        if route is None or self.unusual or self.hosts != 1 or not self.idle or not self.usual_kind(route):
            self.check_head()
            self.scope = self.new_scope(self.headers)
            self.headers = TRAILERS
            super().on_headers_complete()
            self.unanswered.append(self.cycle)
            self.body_size = self.unread = 0
            if self.unusual:
                self.cycle.transport = LastWords(self)
        else:
            self.cycle = FastCall(self, route)
        self.heading = False

    def check_head(self) -> None:
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise MalformedRequest("expected HTTP/1.1 or HTTP/1.0", 505)
        if self.hosts > 1 or (self.hosts == 0 and version == "1.1"):
            raise MalformedRequest(f"expected exactly one Host header, got {self.hosts}")
        if version == "1.0" and any(name == b"transfer-encoding" for name, _ in self.headers):
            raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding")

    @property
    def idle(self) -> bool:
        """Whether the next request can be answered at once, and the connection then stays open."""
        parser, cycle = self.parser, self.cycle
        return (
            (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
        )

    def usual_kind(self, route: FastRoute) -> bool:
        if self.header_length is None:
            return self.kind in JSON_TYPES
        return route.codec.binary and self.kind == BINARY_TYPE

    def on_body(self, body: bytes) -> None:
        if type(self.cycle) is FastCall:
            self.cycle.body = self.cycle.body + body if self.cycle.body else body
        else:
            self.body_size += len(body)
            if self.cycle.response_complete:
                self.unread += len(body)
                if self.unread > MAX_UNREAD:
                    self.linger()
            super().on_body(body)

    def on_message_complete(self) -> None:
        if type(self.cycle) is FastCall:
            self.arrival.end()
            fast_answers.answer(self.cycle.route.pipeline, self.cycle)
        elif not self.parser.should_upgrade():  # its body follows
            self.arrival.end()
            super().on_message_complete()

    def write(self, call: FastCall, head: bytes, body: bytes) -> None:
        if call.disconnected or self.transport.is_closing():
            return
        defaults = self.server_state.default_headers
        if defaults is not self.defaults:  # another second has begun
            self.defaults, self.default_lines = defaults, b"".join([b"%b: %b\r\n" % pair for pair in defaults])
        headers = self.default_lines + (call.identity or REQUEST_ID % ids.new_id())
        if not call.keep_alive:  # the server is about to end
            headers += CLOSE
        self.transport.write(b"%b%b\r\n%b" % (head, headers, body))
        if not call.keep_alive:
            self.transport.close()
        self.go_on()

    # -- clients that are slow or send too much -----------------------------------------------------------------

    def close_if_slow(self, now: float, seconds: float) -> None:
        """Ends a connection whose client reads nothing for longer than `seconds`, sends too slowly, or is idle."""
        if self.backlog.is_stuck(now, self.transport.get_write_buffer_size(), seconds):
            self.transport.abort()
        elif self.ending or self.transport.is_closing():
            return
        elif self.arrival.since is None:
            if self.answered and self.pause.is_over(now, self.timeout_keep_alive):
                self.transport.close()
        elif self.flow.on_hold or self.flow.read_paused or (self.heading and not self.answered):
            self.arrival.begin()  # the client waits for us
        elif self.arrival.is_slow(now, self.body_size, seconds):
            if self.heading or not self.answered:
                self.end_with(408, b"the request takes too long to arrive (--read-timeout)\n")
            else:
                self.transport.close()

    @property
    def answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def end_with(self, status: int, message: bytes) -> None:
        """A last reply, without the application."""
        cycle = self.cycle
        if isinstance(cycle, RequestResponseCycle) and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
                return
        self.heading = False
        head = b"content-type: text/plain\r\ncontent-length: %d\r\n" % len(message)
        self.transport.write(STATUS_LINE[status] + head + CLOSE + b"\r\n" + message)
        self.linger()

    def linger(self) -> None:
        """Ends the connection; a client that still sends is not listened to, but has the time to read its reply."""
        if self.ending or self.transport.is_closing():
            return
        if self.arrival.since is None:
            self.transport.close()
            return
        self.transport.resume_reading()
        self.ending = True
        self.transport.set_protocol(Deaf(self))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def pass_on(self, call: FastCall) -> None:
        """Starts uvicorn's own cycle for a request that has arrived whole."""
        scope = self.new_scope(call.headers)
        scope |= {"method": "POST", "path": unquote(call.path.decode("ascii")), "raw_path": call.path, CALL_KEY: call}
        cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=call.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body, cycle.more_body = bytearray(call.body), False
        cycle.message_event.set()
        if self.cycle is call:
            self.cycle = cycle
        self.unanswered.appendleft(cycle)
        task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def new_scope(self, headers: list[tuple[bytes, bytes]]) -> Any:
        return {
            "type": "http", "asgi": {"version": self.asgi_version, "spec_version": "2.3"}, "http_version": "1.1",
            "server": self.server, "client": self.client, "scheme": self.scheme, "root_path": self.root_path,
            "headers": headers, "query_string": b"", "state": self.app_state.copy(),
        }  # fmt: skip


class Deaf(asyncio.Protocol):
    """The protocol of a connection that lingers: it discards up to `MAX_IGNORED` bytes, then stops reading."""

    def __init__(self, connection: HttpConnection) -> None:
        self.connection = connection
        self.left = MAX_IGNORED

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.connection.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.connection_lost(exc)


class LastWords:
    """The transport of a request that may not have arrived whole when its reply ends the connection.

    A connection that is closed while data arrives is reset, and the client may lose the reply.
    """

    def __init__(self, connection: HttpConnection) -> None:
        self.connection = connection
        transport = connection.transport
        self.write, self.is_closing = transport.write, transport.is_closing

    def close(self) -> None:
        self.connection.linger()
