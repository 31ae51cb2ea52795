"""HTTP/1.1 by hand: what is sent is exactly what the test says."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SECONDS = 10.0  # after which a test that waits has failed

Address = tuple[str, int]


@dataclass(frozen=True)
class RawResponse:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.contextmanager
def connection(address: Address, timeout: float = SECONDS) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=timeout) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def request(
    path: str = "/health/live", body: bytes | None = None, *headers: str, method: str = "", version: str = "1.1"
) -> bytes:
    """A request that is right but for the headers that are added."""
    head = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/{version}", "host: test"]
    if body is not None:
        head += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", ""]).encode("latin-1") + (body or b"")


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def sent(sock: socket.socket, data: bytes) -> None:
    """Sends as much as the server wants: one that refuses a request need not read the rest."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.sendall(data)


def last(path: str = "/health/live") -> bytes:
    """A request after which the server ends the connection."""
    return request(path, None, "connection: close")


def read_all(sock: socket.socket) -> bytes:
    """Everything until the server ends the connection, however it does."""
    pieces = []
    try:
        while piece := sock.recv(1 << 20):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def parse(data: bytes) -> list[RawResponse]:
    """The responses in these bytes; they must be whole and nothing else."""
    responses = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, f"no end of the headers: {head[:200]!r}"
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = status_line.split(" ")
        assert version == "HTTP/1.1", status_line
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status == "100":
            continue
        length = int(headers.get("content-length", "0"))
        assert len(data) >= length, f"the body is cut off: {data[:200]!r}"
        responses.append(RawResponse(int(status), headers, data[:length]))
        data = data[length:]
    return responses


def conversation(address: Address, data: bytes, timeout: float = SECONDS) -> list[RawResponse]:
    """All responses to these bytes until the server ends the connection.

    The client's side stays open: a server need not answer one that has hung up.
    """
    with connection(address, timeout) as sock:
        sent(sock, data)
        return parse(read_all(sock))


def ask(address: Address, data: bytes, timeout: float = SECONDS) -> RawResponse:
    """The first response on a connection of its own, which stays open in both directions until then."""
    with connection(address, timeout) as sock:
        sent(sock, data)
        return next_response(sock)


def next_response(sock: socket.socket, data: bytes = b"") -> RawResponse:
    """`data` is what has been received already."""
    buffer = bytearray(data)
    while b"\r\n\r\n" not in buffer:
        buffer += received(sock, bytes(buffer))
    head = bytes(buffer[: buffer.index(b"\r\n\r\n")]).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
    end = len(head) + 4 + length
    while len(buffer) < end:
        buffer += received(sock, head)
    responses = parse(bytes(buffer[:end]))
    return responses[0] if responses else next_response(sock, bytes(buffer[end:]))  # 100 is no response yet


def received(sock: socket.socket, before: bytes) -> bytes:
    piece = sock.recv(1 << 20)
    assert piece, f"the connection ended after {before[:200]!r}"
    return piece
