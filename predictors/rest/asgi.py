"""The few ASGI pieces that the app needs: a request with a bounded body, and a response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from predictors.protocol.errors import InvalidInput, TooLarge, UnsupportedMediaType
from predictors.queueing.byte_budget import BudgetExhausted, ByteBudget
from predictors.queueing.inflation import InflatedTooLarge, Inflater, InflationFailed

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
JSON = "application/json"
MAX_UNREAD = 2**20  # bytes of a request that has been answered already, so that its connection can stay open


class ClientGone(Exception):
    """The client hung up before its request was complete."""


@dataclass(slots=True)
class Response:
    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def head(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", self.content_type.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", str(len(self.body)).encode()),
            *((name.encode(), value.encode()) for name, value in self.headers),
        ]

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.head})
        await send({"type": "http.response.body", "body": self.body})


@dataclass(slots=True)
class Request:
    scope: Scope
    receive: Receive
    inflater: Inflater
    room: ByteBudget
    """Where the bytes of the body are counted, from when they come until `release`."""
    parts: dict[str, str] = field(default_factory=dict)
    """Parts of the path, by name."""
    _headers: dict[str, str] | None = None
    held: int = 0
    whole: bool = False

    @property
    def headers(self) -> dict[str, str]:
        if self._headers is None:
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]}
        return self._headers

    @property
    def content_type(self) -> str:
        """The media type without parameters; a charset other than UTF-8 is refused."""
        kind, _, parameters = self.headers.get("content-type", "").partition(";")
        charset = parameters.lower().partition("charset=")[2].split(";")[0].strip(' "')
        if charset not in ("", "utf-8", "utf8", "us-ascii"):
            raise UnsupportedMediaType(f"unsupported charset; expected utf-8, not {charset[:40]}")
        return kind.strip().lower()

    @property
    def declared(self) -> int | None:
        """The length of the body, where it is said beforehand."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdigit() else None

    def hold(self, size: int) -> None:
        if size > 0 and not self.room.has(size):
            raise BudgetExhausted
        self.room.held += size
        self.held += size

    def release(self) -> None:
        self.room.held -= self.held
        self.held = 0

    @property
    def max_body(self) -> int:
        return self.inflater.max_size

    @property
    def much_is_left(self) -> bool:
        """Whether more of the body is still to come than is worth reading for nothing."""
        return not self.whole and self.declared is not None and self.declared > MAX_UNREAD

    async def body(self) -> bytes:
        """The whole body, unpacked, and refused as soon as it is known to be too large."""
        encoding = self.headers.get("content-encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return await self.arrived()
        if encoding not in ("gzip", "deflate"):
            raise UnsupportedMediaType(f"unsupported content encoding; expected gzip or deflate, not {encoding[:40]}")
        try:
            return await self.inflater.inflate(await self.arrived(), self.hold)
        except InflatedTooLarge as error:
            raise TooLarge(f"the request body {error}") from None
        except InflationFailed as error:
            raise InvalidInput(f"the {encoding} body {error}") from None

    async def arrived(self) -> bytes:
        """The whole body as it was sent."""
        declared = self.declared or 0
        if declared > self.max_body:
            raise self.too_large()
        if not self.room.has(declared):
            raise BudgetExhausted
        chunks: list[bytes] = []
        length = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            self.whole = not message.get("more_body", False)
            length += len(chunk)
            if length > self.max_body:
                raise self.too_large()
            self.hold(len(chunk))
            chunks.append(chunk)
            if self.whole:
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def too_large(self) -> TooLarge:
        return TooLarge(f"the request body is larger than {self.max_body} bytes (--max-body)")


def peer_of(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
