"""The same for asyncio: nothing blocks the event loop."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from mlflow_kserve.client.async_api import AsyncApiClient
from mlflow_kserve.client.flows import Steps
from mlflow_kserve.client.login import current_login
from mlflow_kserve.sdk.functions import DEFAULT_MODEL_NAME, FunctionSpec, Kind, RunOptions
from mlflow_kserve.sdk.payloads import infer_request
from mlflow_kserve.sdk.project import DEFAULT_PROJECT, SERVE, checked_action, target_of
from mlflow_kserve.sdk.run import OBSERVE_SECONDS, WAIT_SECONDS, RunBase, at_once

if TYPE_CHECKING:
    import httpx

    from mlflow_kserve.sdk.targets import RunTarget

T = TypeVar("T")
LOCAL_OBSERVE_SECONDS = 1.0
"""A thread watches a process of this machine for so long at a time."""


class AsyncClient:
    """A control plane; close it, or use it as a context. See `Client`."""

    def __init__(self, url: str | None = None, token: str | None = None, *, env: str | None = None) -> None:
        login = current_login(url, token)
        self.api = AsyncApiClient(login)
        self.env = env or login.env

    def project(self, name: str) -> AsyncProject:
        return AsyncProject(name, self)

    def new_function(self, name: str, kind: Kind, path: str, **more: Any) -> AsyncFunction:
        return self.project(DEFAULT_PROJECT).new_function(name, kind, path, **more)

    async def close(self) -> None:
        await self.api.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


class AsyncProject:
    """See `Project`."""

    def __init__(self, name: str, client: AsyncClient | None = None) -> None:
        self.name = name
        self._client = client

    @property
    def client(self) -> AsyncClient:
        self._client = self._client or AsyncClient()
        return self._client

    def new_function(
        self,
        name: str,
        kind: Kind,
        path: str,
        *,
        model_name: str = DEFAULT_MODEL_NAME,
        image: str | None = None,
        description: str = "",
    ) -> AsyncFunction:
        """Raises UnusableFunction."""
        return AsyncFunction(FunctionSpec(name, kind, path, model_name, image, self.name, description), self)


@dataclass(frozen=True)
class AsyncFunction:
    spec: FunctionSpec
    project: AsyncProject = field(repr=False)

    async def run(
        self,
        action: str = SERVE,
        *,
        local_execution: bool = False,
        env: str | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncRun:
        """See `Function.run`."""
        checked_action(action)
        client = None if local_execution else self.project.client
        place = env or (client.env if client else "")
        target = await asyncio.to_thread(target_of, self.spec, options, place, local_execution)  # it may save a model
        return await AsyncRun(self.spec, target, client.api if client else None).resume()


class AsyncRun(RunBase):
    """A function that is served; see `Run`."""

    def __init__(self, spec: FunctionSpec, target: RunTarget, client: AsyncApiClient | None) -> None:
        super().__init__(spec, target)
        self._client = client

    async def _carry_out(self, steps: Steps[T]) -> T:
        return await (self._client.follow(steps) if self._client else asyncio.to_thread(at_once, steps))

    async def refresh(self) -> AsyncRun:
        self.status = await self._carry_out(self._target.observe(0))
        return self

    async def wait(self, timeout: float = WAIT_SECONDS) -> AsyncRun:
        deadline = time.monotonic() + timeout
        most = OBSERVE_SECONDS if self._client else LOCAL_OBSERVE_SECONDS
        await self.refresh()
        while not self.status.has_settled and (left := deadline - time.monotonic()) > 0:
            self.status = await self._carry_out(self._target.observe(min(left, most)))
        return self

    async def invoke(
        self,
        inputs: Any = None,
        *,
        json: Any = None,
        model_name: str | None = None,
        method: str = "POST",
        url: str | None = None,
        **httpx_kwargs: Any,
    ) -> httpx.Response:
        """As `Run.invoke`; everything else is for `httpx.AsyncClient.request`."""
        import httpx

        if inputs is not None:
            json = infer_request(inputs)
        if url is None and self.status.service is None:
            await self.refresh()
        httpx_kwargs.setdefault("timeout", WAIT_SECONDS)
        async with httpx.AsyncClient() as client:
            return await client.request(method, url or self._address(model_name), json=json, **httpx_kwargs)

    async def logs(self, lines: int = 100) -> str:
        return await self._carry_out(self._target.logs(lines))

    async def stop(self) -> AsyncRun:
        await self._carry_out(self._target.stop())
        return await self.refresh()

    async def resume(self) -> AsyncRun:
        await self._carry_out(self._target.start())
        return await self.refresh()
