"""A prediction request over HTTP on the fast path."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from predictors.pipeline.pipeline import Pipeline
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.codecs import Codec
from predictors.protocol.errors import RequestError
from predictors.rest.headers import OK_BINARY, OK_JSON
from predictors.rest.responses import error_response
from predictors.telemetry import ids
from predictors.telemetry.exchange import CLIENT_GONE, Exchange

if TYPE_CHECKING:
    from predictors.rest.connection import HttpConnection

Encoded: TypeAlias = "tuple[bytes, int | None]"
"""A body, and the length of its JSON where binary data follows."""


@dataclass(frozen=True, slots=True)
class FastRoute:
    """A route whose requests may take the fast path."""

    pipeline: Pipeline
    codec: Codec
    path: str
    """The pattern of the route, as traces name it."""


class NoEvent:
    """uvicorn tells a cycle when something happens; nothing waits for that in a call."""

    def set(self) -> None:
        pass


class FastCall:
    """A `Reply` over HTTP; to its connection it looks like one of uvicorn's cycles."""

    __slots__ = (
        "admitted", "batch", "body", "chosen", "connection", "disconnected", "exchange", "header_length", "headers",
        "identity", "keep_alive", "path", "response_complete", "route",
    )  # fmt: skip
    message_event = NoEvent()
    seconds_left = inf
    chosen: int
    """The number of the model that the fast path has chosen; 0 for none. Set once the request is passed on."""

    def __init__(self, connection: HttpConnection, route: FastRoute) -> None:
        self.connection = connection
        self.route = route
        self.path = connection.url
        self.headers = connection.headers
        self.header_length = connection.header_length
        self.body = b""
        self.batch: Batch | None = None
        """The decoded request, for the slow path."""
        self.admitted = False
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False
        self.identity = ids.ids_of(connection.headers).lines if connection.has_ids else b""
        """Lines of the reply's head, if they are known already."""
        self.exchange: Exchange | None = None

    @property
    def peer(self) -> str:
        client = self.connection.client
        return client[0] if client else ""

    @property
    def size(self) -> int:
        return len(self.body)

    def observe(self) -> Exchange:
        route, path = self.route, unquote(self.path.decode("ascii"))
        exchange = route.pipeline.observer.begin("POST", path, self.headers, self.connection.client)
        exchange.protocol, exchange.route = route.codec.protocol, route.path
        self.exchange, self.identity = exchange, exchange.ids.lines
        return exchange

    def decode(self) -> Batch:
        length = self.header_length
        return self.route.codec.decode(self.body, None if length is None else length.decode("latin-1"))

    def encode(self, prediction: Prediction, batch: Batch) -> Encoded:
        route = self.route
        return route.codec.encode(prediction, batch, route.pipeline.strict)

    def send(self, encoded: Encoded, version_header: bytes) -> None:
        body, header_length = encoded
        head = OK_JSON % len(body) if header_length is None else OK_BINARY % (header_length, len(body))
        self.end(200, head + version_header, body)

    def refuse(self, error: RequestError) -> None:
        response = error_response(error, self.route.codec.protocol)
        fields = b"".join([b"%b: %b\r\n" % field for field in response.head])
        self.end(response.status, STATUS_LINE[response.status] + fields, response.body)

    def end(self, status: int, head: bytes, body: bytes) -> None:
        pipeline, self.response_complete = self.route.pipeline, True
        pipeline.record(
            self.route.codec.protocol, CLIENT_GONE if self.disconnected else status, self.exchange, len(body)
        )
        if pipeline.draining:
            self.keep_alive = False
        self.connection.write(self, head, body)

    def pass_on(self, batch: Batch | None = None, number: int = 0) -> None:
        """To the ASGI application."""
        self.batch, self.chosen, self.response_complete = batch, number, True
        if self.disconnected:
            self.route.pipeline.record(self.route.codec.protocol, CLIENT_GONE, self.exchange)
        else:
            self.connection.pass_on(self)

    def is_gone(self) -> bool:
        return self.disconnected
