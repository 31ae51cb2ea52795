"""The server process: HTTP and gRPC up first, then the model; workers, signals and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import uvicorn
import uvloop
from kserve import ModelServer

from predictors import grpc_service
from predictors.banner import demo_banner
from predictors.flavor import BY_NAME, FlavorError, import_flavor, read_mlmodel, require_modules
from predictors.front import Front
from predictors.model import LoadError, MLflowModel
from predictors.pipeline import Pipeline
from predictors.rpc import calls as rpc
from predictors.settings import Settings
from predictors.source import Source, SourceError, one_line, resolve
from predictors.wire import Connection
from predictors.workers import Shared, supervise

log = logging.getLogger("predictors")

Opener = Callable[[Callable[[str], None]], MLflowModel]


class StartError(Exception):
    """The server cannot start; the message is one line for the operator."""


class Server(ModelServer):  # type: ignore[misc]  # kserve ships no types
    """A `kserve.ModelServer` whose HTTP front is ours: alive before the model is loaded, ready once it is."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        super().__init__(
            http_port=self.settings.http_port,
            grpc_port=self.settings.grpc_port,
            workers=self.settings.workers,
            enable_grpc=self.settings.enable_grpc,
            grace_period=self.settings.grace_period,
            timeout_keep_alive=self.settings.keep_alive,
        )
        self.opened: MLflowModel | None = None
        self.stuck = False
        """After the end: whether a thread is still at work."""

    def start(self, models: list[MLflowModel]) -> None:
        """Serves one model until a signal, like KServe's own server; it is loaded in the background."""
        if len(models) != 1:
            raise ValueError(f"expected exactly one model, got {len(models)}")
        self.opened = models[0]
        code = self.run()
        if code:
            raise SystemExit(code)

    def run(self) -> int:
        """Serves until a signal or a failure; the exit status of the process."""
        try:
            http = bound(self.settings.host, self.settings.http_port, "--http-port")
            grpc_port, reserved = reserved_port(self.settings)
        except StartError as error:
            return complain(error)
        shared = Shared(self.settings.workers)
        with contextlib.closing(http), reserved, contextlib.closing(shared):
            if self.settings.workers == 1:
                return self.work(http, grpc_port, shared, 0)
            return supervise(shared, lambda index: self.work(http, grpc_port, shared, index))

    def work(self, http: socket.socket, grpc_port: int, shared: Shared, index: int) -> int:
        """One worker process."""

        async def until_signal() -> int:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                loop.add_signal_handler(number, stop.set)
            if shared.lifeline is not None:
                loop.add_reader(shared.lifeline, orphaned, loop, shared.lifeline, stop)
            code = await self.serve(http, grpc_port, stop, shared, index)
            if self.stuck:
                if shared.workers == 1:
                    shared.close()
                hurry(code)  # a thread that loads or predicts cannot be stopped, and nobody waits for it any more
            return code

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(until_signal())

    async def serve(
        self, http: socket.socket, grpc_port: int, stop: asyncio.Event, shared: Shared, index: int = 0
    ) -> int:
        """Serves on a bound socket until `stop` is set; the exit status."""
        pipeline = Pipeline(self.settings, shared, index)
        web = WebServer(web_config(Front(pipeline), self.settings))
        grpc = await self.start_grpc(pipeline, grpc_port, shared) if self.settings.enable_grpc else None
        serving = asyncio.create_task(web.serve(sockets=[http]))
        if index == 0:
            http_port = http.getsockname()[1]
            log.info("listening: HTTP on port %d%s", http_port, f", gRPC on port {grpc_port}" if grpc else "")
        loading = asyncio.create_task(asyncio.to_thread(self.load, pipeline, shared))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({loading, stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        code = 0
        if loading.done() and not stop.is_set() and not serving.done():
            code = self.loaded(pipeline, loading)
            if code == 0:
                if index == 0:
                    say_demo(pipeline, http.getsockname()[1], grpc_port)
                await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        idle = await self.shut_down(pipeline, web, serving, grpc)
        self.stuck = not loading.done() or not idle
        return code

    def load(self, pipeline: Pipeline, shared: Shared) -> MLflowModel:
        """Finds the model, picks its flavor and loads it; runs in a thread."""
        note = pipeline.note
        model = self.opened or open_model(
            self.settings, shared.once(lambda: resolve(self.settings, note, shared.folder))
        )
        model.executor = pipeline.executor
        model.status.listeners.append(note)
        if model.loaded is None:
            model.load()
        return model

    def loaded(self, pipeline: Pipeline, loading: asyncio.Task[MLflowModel]) -> int:
        try:
            model = loading.result()
        except (LoadError, FlavorError, SourceError) as error:
            return complain(error)
        except Exception as error:
            log.debug("loading failed", exc_info=True)
            return complain(StartError(f"the model cannot be loaded: {one_line(error)}"))
        self.register_model(model, self.settings.model_name)
        pipeline.serve(model)
        return 0

    async def start_grpc(self, pipeline: Pipeline, port: int, shared: Shared) -> rpc.Server:
        server = grpc_service.build(pipeline)
        await server.start(bound(self.settings.host, port, "--grpc-port", reuse_port=shared.workers > 1))
        return server

    async def shut_down(
        self, pipeline: Pipeline, web: WebServer, serving: asyncio.Task[None], grpc: rpc.Server | None
    ) -> bool:
        """Unready at once; what is in flight finishes within the grace period. Whether all of it has."""
        pipeline.draining = True
        web.should_exit = True
        finishing = [asyncio.ensure_future(serving)]
        if grpc is not None:
            finishing.append(asyncio.ensure_future(grpc.stop(self.settings.grace_period)))
        await asyncio.gather(*finishing, return_exceptions=True)
        pipeline.executor.shutdown(wait=False, cancel_futures=True)
        ended = asyncio.create_task(asyncio.to_thread(pipeline.executor.shutdown))
        done, _ = await asyncio.wait({ended}, timeout=1)
        return bool(done)


def orphaned(loop: asyncio.AbstractEventLoop, lifeline: int, stop: asyncio.Event) -> None:
    """A worker whose first process is gone ends like the others."""
    loop.remove_reader(lifeline)
    stop.set()


class WebServer(uvicorn.Server):
    """uvicorn without its signal handlers: ours decide when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def web_config(app: Any, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.grace_period,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )


def open_model(settings: Settings, source: Source) -> MLflowModel:
    """The model of the right flavor for a source, not loaded yet."""
    mlmodel = read_mlmodel(source.path)
    flavor = mlmodel.detect() if settings.flavor is None else BY_NAME[settings.flavor]
    if flavor.name != "pyfunc" and not mlmodel.config(flavor.name):
        raise FlavorError(f"{source.resolved_uri} has no {flavor.name} flavor (it has {', '.join(mlmodel.flavors)})")
    require_modules(flavor)
    model: MLflowModel = getattr(import_flavor(flavor.name), flavor.model)(
        settings.model_name, source, settings=settings
    )
    return model


def bound(host: str, port: int, flag: str, *, reuse_port: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((host, port))
        made.listen(2048)
    except OSError as error:
        made.close()
        raise StartError(f"{flag} {port} on {host}: {error.strerror}") from error
    made.set_inheritable(True)
    return made


def reserved_port(settings: Settings) -> tuple[int, contextlib.AbstractContextManager[Any]]:
    """The gRPC port, found free; several workers share it, so one socket holds it for them."""
    if not settings.enable_grpc:
        return 0, contextlib.nullcontext()
    holder = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    if settings.workers > 1:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        holder.bind((settings.host, settings.grpc_port))
    except OSError as error:
        holder.close()
        raise StartError(f"--grpc-port {settings.grpc_port} on {settings.host}: {error.strerror}") from error
    port: int = holder.getsockname()[1]
    if settings.workers > 1:
        return port, contextlib.closing(holder)
    holder.close()
    return port, contextlib.nullcontext()


def say_demo(pipeline: Pipeline, http_port: int, grpc_port: int) -> None:
    """Where nothing was asked for: what is served instead, and how to try it."""
    loaded = pipeline.serving().serving()
    if loaded.source.demo:
        print(demo_banner(f"http://localhost:{http_port}", grpc_port, pipeline.name, loaded), flush=True)


def complain(error: Exception) -> int:
    """The one line with which a process that cannot serve ends."""
    log.error("%s", error)
    return 1


def hurry(code: int) -> NoReturn:
    """Ends the process without waiting for its threads."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
