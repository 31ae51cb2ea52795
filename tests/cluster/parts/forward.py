"""Passes connections on: from sockets that listen on the host to ports inside, and never the other way round."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio import StreamReader, StreamWriter
from functools import partial

import uvloop

CHUNK = 1 << 16


async def copy(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def relay(port: int, reader: StreamReader, writer: StreamWriter) -> None:
    try:
        there, back = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, back), copy(there, writer))
    back.close()
    writer.close()


async def serve(pairs: list[str]) -> None:
    numbers = [(int(fd), int(port)) for fd, port in (pair.split("=") for pair in pairs)]
    servers = [await asyncio.start_server(partial(relay, port), sock=socket.socket(fileno=fd)) for fd, port in numbers]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1:]))
