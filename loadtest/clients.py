"""Clients for HTTP and gRPC, whose `send` returns "" or the kind of error."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import aiohttp
import grpc
import grpc.aio

from loadtest.payloads import GRPC_METHOD, Payload
from loadtest.target import Target


class HttpClient:
    def __init__(self, target: Target, timeout: float) -> None:
        self.target, self.timeout = target, timeout

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self.target.tls or True),
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            headers=self.target.headers,
        )
        # Metrics may be on another server, which must not get the tokens.
        self.bare = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout))
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.session.close()
        await self.bare.close()

    async def send(self, payload: Payload) -> str:
        try:
            async with self.session.post(
                self.target.url + payload.path, data=payload.body, headers=payload.headers, allow_redirects=False
            ) as reply:
                await reply.read()
                return "" if reply.status == 200 else str(reply.status)
        except TimeoutError:
            return "timeout"
        except aiohttp.ClientConnectorError:
            return "no connection"
        except (aiohttp.ClientError, OSError):
            return "connection lost"

    async def get(self, url: str) -> tuple[int, str]:
        """Status and text; 0 and the reason if there is no response."""
        try:
            session = self.session if url.startswith(f"{self.target.url}/") else self.bare
            async with session.get(url) as reply:
                return reply.status, await reply.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return 0, f"{error or type(error).__name__}"


class GrpcClient:
    def __init__(self, target: Target, timeout: float) -> None:
        self.target, self.timeout = target, timeout

    async def __aenter__(self) -> Self:
        self.channel = self.target.channel(grpc.aio)
        self.call: Any = self.channel.unary_unary(GRPC_METHOD)
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.channel.close()

    async def send(self, payload: Payload) -> str:
        try:
            await self.call(payload.body, timeout=self.timeout, metadata=self.target.metadata)
        except grpc.aio.AioRpcError as error:
            return "timeout" if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else error.code().name
        return ""
