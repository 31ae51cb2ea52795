"""Sends calls to a control plane from asyncio."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from mlflow_kserve.client.api import RETRY_SECONDS, CallSender, result
from mlflow_kserve.client.calls import ApiCall
from mlflow_kserve.client.flows import Steps

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class AsyncApiClient(CallSender):
    """Sends calls without blocking; close it, or use it as a context."""

    @cached_property
    def http(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(trust_env=self.trusts_proxies)

    async def send(self, call: ApiCall[T]) -> T:
        """Raises ApiError."""
        import httpx

        request = self.request(call)
        for pause in (*RETRY_SECONDS, None):
            try:
                response = await self.http.request(
                    request.method, request.url, headers=request.headers, content=request.content,
                    timeout=request.timeout,
                )  # fmt: skip
                reply: T = result(response.status_code, response.headers.get("content-type", ""), response.content)
                return reply
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
                if pause is None or not call.repeatable:
                    raise self.unreachable(error) from None
            except httpx.TransportError as error:
                raise self.unreachable(error) from None
            await asyncio.sleep(pause)
        raise AssertionError("the last try ends in a reply or an error")

    async def follow(self, steps: Steps[T]) -> T:
        """Sends one call after the other; raises ApiError."""
        try:
            call = next(steps)
            while True:
                try:
                    reply = await self.send(call)
                except Exception as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(reply)
        except StopIteration as end:
            value: T = end.value
            return value

    async def close(self) -> None:
        if "http" in self.__dict__:
            await self.http.aclose()

    async def __aenter__(self) -> AsyncApiClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
