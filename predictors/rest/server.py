"""uvicorn as the predictor uses it: told when to end, and with its connections answered by then."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from math import inf
from typing import Any, ClassVar, TypeAlias

import uvicorn

from predictors.access.tls import server_context
from predictors.pipeline.settings import Settings
from predictors.queueing.slow_clients import CHECK_INTERVAL, close_slow
from predictors.rest.asgi import Receive, Scope, Send
from predictors.rest.connection import HttpConnection
from predictors.rest.descriptors import DescriptorWatch

TICKS_PER_SECOND = 10  # of uvicorn, a second
MAX_IDLE_WAIT = 0.5  # seconds for a request on its way to a connection that looks idle

ASGI: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class WebServer(uvicorn.Server):
    """uvicorn without its signal handlers: ours decide when it ends.

    Slow clients get `read_timeout` seconds, or any time if it is 0.
    """

    def __init__(self, config: uvicorn.Config, read_timeout: float) -> None:
        super().__init__(config)
        self.read_timeout = read_timeout or inf
        self.descriptors = DescriptorWatch()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % (CHECK_INTERVAL * TICKS_PER_SECOND) == 0:
            self.descriptors.check()
            connections = [one for one in self.server_state.connections if isinstance(one, HttpConnection)]
            close_slow(connections, asyncio.get_running_loop().time(), self.read_timeout)
        return await super().on_tick(counter)

    async def finish(self, seconds: float) -> None:
        """Accepts no more connections, and answers on those that it has."""
        for server in getattr(self, "servers", ()):  # there are none if it ends as it starts
            server.close()
        deadline = time.monotonic() + seconds
        while self.server_state.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    async def leave(self, serving: asyncio.Task[None], seconds: float) -> None:
        """Ends the server: a request that is on its way to a connection that looks idle is answered too."""
        await self.finish(min(MAX_IDLE_WAIT, seconds))
        self.should_exit = True
        await serving


class LastReply:
    """The app with one request for each connection: the next one finds a worker."""

    fast_routes: ClassVar[dict[bytes, Any]] = {}

    def __init__(self, app: ASGI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, send_and_close)


def web_config(app: Any, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=HttpConnection,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.grace_period,
    )
    config.load()
    config.ssl = server_context(settings, "http/1.1")
    return config
