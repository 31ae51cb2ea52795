"""How much of what a connection sends is parsed at a time, and what the parser cannot do by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httptools
from uvicorn.protocols.http.flow_control import FlowControl

if TYPE_CHECKING:
    from predictors.rest.connection import HttpConnection

SHARE = 16 * 1024  # bytes that are parsed at a time, and at most a few hundred requests
MAX_TURN = 0.002  # seconds before it is the turn of other connections
HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=%:\[\]]*")
FRAMING = (b"content-length", b"transfer-encoding")


class Trailers(list[tuple[bytes, bytes]]):
    """The header fields after a body, which are ignored: a request is judged by those before it."""

    def append(self, field: tuple[bytes, bytes]) -> None:
        pass


TRAILERS = Trailers()


class MalformedRequest(Exception):
    """The connection ends with `status`; `str(error)` says what was wrong."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Flow(FlowControl):
    """uvicorn reads on whenever a request is done or waits for its body; while this is on hold, that has no effect."""

    on_hold = False

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            if not self.on_hold:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            if not self.on_hold:
                self._transport.resume_reading()

    def hold(self) -> None:
        if not self.on_hold:
            self.on_hold = True
            if not self.read_paused:
                self._transport.pause_reading()

    def release(self) -> None:
        if self.on_hold:
            self.on_hold = False
            if not self.read_paused:
                self._transport.resume_reading()


class WithoutUpgrade:
    """The callbacks of a second parser, for a request that asks for another protocol, and for those after it.

    The first parser takes what follows such a head for the other protocol. There is none here: it is the body.
    """

    def __init__(self, connection: HttpConnection) -> None:
        self.connection = connection
        self.head_done = False
        self.on_body, self.on_message_complete = connection.on_body, connection.on_message_complete

    def on_message_begin(self) -> None:
        if self.head_done:
            self.connection.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self.head_done:
            self.connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_done:
            self.connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.head_done:
            self.connection.on_headers_complete()
        self.head_done = True


def read_without_upgrade(connection: HttpConnection, headers: list[tuple[bytes, bytes]]) -> None:
    """Gives a connection a parser that has read the head of its request, as if that asked for no other protocol."""
    connection.parser = httptools.HttpRequestParser(WithoutUpgrade(connection))
    connection.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
    framing = b"".join([b"%b: %b\r\n" % field for field in headers if field[0] in FRAMING])
    connection.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
