"""The server process: HTTP and gRPC up first, then the model; workers, signals and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import uvloop

from predictors.access.tls import server_context
from predictors.environments.dependencies import DependencyError
from predictors.flavor import FlavorError
from predictors.grpc import service
from predictors.grpc.transport import calls as rpc
from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.model.open_model import open_model, open_next
from predictors.pipeline.pipeline import Pipeline
from predictors.processes import forking
from predictors.processes.handover import first_source, launched
from predictors.processes.ports import Ports, StartError, bound_ports
from predictors.processes.shared_state import Shared
from predictors.processes.workers import GREETER, SIGNALS, WorkerSupervisor
from predictors.reload.leader import Leader
from predictors.reload.reloader import Reloader
from predictors.rest.app import App
from predictors.rest.server import LastReply, WebServer, web_config
from predictors.runtime import garbage
from predictors.serving.banner import demo_banner
from predictors.settings.predictor import Settings
from predictors.storage.failures import SourceError
from predictors.storage.retries import one_line
from predictors.storage.source import Source, is_here
from predictors.telemetry import opentelemetry

if TYPE_CHECKING:
    from predictors.prediction_log.log import PredictionLogger

log = logging.getLogger("predictors")

POD_DELAY = 10.0  # seconds: longer than it takes a cluster to take a pod out of its services
LAST_EXPORT = 5  # seconds at most for telemetry that is left at the end
LAST_RECORDS = 2  # seconds at least for the prediction log, where requests have used up the grace period
GREETING_GRACE = 1  # seconds: nothing that is asked before the model is loaded takes long


Loading: TypeAlias = "asyncio.Task[tuple[int, MLflowModel] | None]"


class Reported(Exception):
    """What went wrong is said already, by another process."""


class Serving:
    """What serves one model: HTTP and gRPC at once, the model once it is loaded, in one process or several."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.opened: MLflowModel | None = None
        given = launched()
        self.takes_over = given is not None and given.takes_over
        """Whether another server answers until this one can."""
        self.telemetry = opentelemetry.Telemetry()
        self.prediction_log: PredictionLogger | None = None
        self.patient = False
        """Whether there is time to let the world know before the end."""
        self.stuck = False
        """After the end: whether a thread is still at work."""

    def registered(self, model: MLflowModel) -> None:
        """Called with each model that begins to be served."""

    def run(self) -> int:
        """Serves until a signal or a failure; the exit status of the process."""
        try:
            ports = bound_ports(self.settings)
        except StartError as error:
            return complain(error)
        shared = Shared(self.settings.workers)
        with contextlib.closing(ports), contextlib.closing(shared):
            if self.settings.workers == 1:
                return self.work(ports, shared, 0)
            return self.work_together(ports, shared)

    def work_together(self, ports: Ports, shared: Shared) -> int:
        """Several workers, with one copy of the model where that can be."""

        def work(index: int) -> int:
            return self.work(ports, shared, index)

        def crew_of_its_own() -> WorkerSupervisor:
            # Once the last worker has closed the ports, they are to be closed, and callers sent elsewhere at once.
            return WorkerSupervisor(shared, self.settings.worker_timeout, ports.close)

        crew = crew_of_its_own()
        if self.opened is not None:
            return crew.supervise(work)
        if not self.takes_over:
            crew.greet(work)
        try:
            model = open_model(self.settings, self.fetched(crew, shared))
        except Exception as error:
            return crew.dismiss(0 if crew.stopped.is_set() else cannot_load(error))
        if model.flavor not in forking.FLAVORS:
            return crew.supervise(work)
        understudy = forking.StandbyProcess(lambda: crew_of_its_own().supervise(work))
        note, threads = partial(say, shared), forking.threads()
        model.status.listeners.append(note)
        try:
            forking.in_thread(model.load, crew.stopped)
        except Exception as error:
            understudy.dismiss()
            return crew.dismiss(0 if crew.stopped.is_set() else cannot_load(error))
        model.status.listeners.remove(note)
        hindrance = forking.hindrance(threads)
        if hindrance is not None:
            log.info("each worker loads the model for itself: %s", hindrance)
            del model
            return crew.follow(understudy.take_over())
        understudy.dismiss()
        self.opened = model
        garbage.settle()
        return crew.supervise(work)

    def fetched(self, crew: WorkerSupervisor, shared: Shared) -> Source:
        """The model's folder; MLflow is needed for those that are not here, and not wanted in this process."""
        find = partial(first_source, self.settings, partial(say, shared), shared.folder)

        def fetch(_: int) -> int:
            try:
                shared.once(find)
            except Exception as error:
                return cannot_load(error)
            return 0

        if launched() is None and not is_here(self.settings) and crew.ask_another(fetch):
            raise Reported
        return shared.once(find)

    def work(self, ports: Ports, shared: Shared, index: int) -> int:
        """One worker process."""

        async def until_signal() -> int:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()

            def stopped(number: int) -> None:
                if stop.is_set():
                    self.hurry(128 + number, shared)
                self.patient = number == signal.SIGTERM
                stop.set()

            for number in SIGNALS:
                loop.add_signal_handler(number, stopped, number)
            if shared.lifeline is not None:
                loop.add_reader(shared.lifeline, orphaned, loop, shared.lifeline, stop)
            serve = self.greet if index == GREETER else self.serve
            code = await serve(ports, stop, shared, index)
            if self.stuck:
                self.hurry(code, shared)  # a thread that loads or predicts cannot be stopped, and nobody waits for it
            return code

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(until_signal())

    async def serve(self, ports: Ports, stop: asyncio.Event, shared: Shared, index: int = 0) -> int:
        """Serves on a bound socket until `stop` is set; the exit status."""
        pipeline = Pipeline(self.settings, shared, index)
        pipeline.served_models.on_switch = self.registered
        stopping = asyncio.create_task(stop.wait())
        # A worker that has ended, or a server in another environment: the others answer until the model is here.
        replaces = bool(shared.complete) or self.takes_over
        if replaces:
            loading = self.loading(pipeline, shared)
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done() and loading.exception() is not None:
                return self.loaded(pipeline, loading)
        web = WebServer(web_config(App(pipeline), self.settings), self.settings.read_timeout)
        grpc = await start_grpc(pipeline, ports)
        serving = asyncio.create_task(web.serve(sockets=[ports.http]))
        if not replaces:
            if index == 0 and not shared.greeted:
                say_listening(ports)
            loading = self.loading(pipeline, shared)
        await asyncio.wait({loading, stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        code, reloading, following, leading = 0, None, None, None
        if loading.done() and not stop.is_set() and not serving.done():
            code = self.loaded(pipeline, loading)
            if code == 0:
                if index == 0 and not replaces:
                    say_demo(pipeline, ports)
                reloading = Reloader(pipeline, self.successor)
                following = asyncio.create_task(reloading.run())
                settings = self.opened.settings if self.opened else self.settings
                leading = asyncio.create_task(Leader(reloading, settings).run()) if index == 0 else None
                await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        if leading is not None:
            leading.cancel()
        idle = await self.shut_down(pipeline, web, serving, grpc)
        if following is not None:
            following.cancel()
        self.stuck = not loading.done() or not idle or (reloading is not None and reloading.busy)
        return code

    async def greet(self, ports: Ports, stop: asyncio.Event, shared: Shared, index: int = GREETER) -> int:
        """Answers that nothing is ready yet, until the workers are there."""
        self.settings = replace(self.settings, grace_period=min(GREETING_GRACE, self.settings.grace_period))
        pipeline = Pipeline(self.settings, shared, index)
        web = WebServer(web_config(LastReply(App(pipeline)), self.settings), self.settings.read_timeout)
        grpc = await start_grpc(pipeline, ports)
        serving = asyncio.create_task(web.serve(sockets=[ports.http]))
        say_listening(ports)
        while not (stop.is_set() or serving.done() or shared.complete):
            pipeline.status = shared.status or pipeline.status
            await asyncio.sleep(0.02)
        await web.finish(GREETING_GRACE)
        await self.shut_down(pipeline, web, serving, grpc)
        return 0

    def loading(self, pipeline: Pipeline, shared: Shared) -> Loading:
        async def load() -> tuple[int, MLflowModel] | None:
            found = await asyncio.to_thread(self.load, pipeline, shared)
            if found is not None:
                await found[1].open_features()
            return found

        return asyncio.create_task(load())

    def load(self, pipeline: Pipeline, shared: Shared) -> tuple[int, MLflowModel] | None:
        """Finds the model, picks its flavor and loads it, unless there is none to serve now; runs in a thread.

        With the number of the edition that it is: it may have been unloaded by then.
        """
        self.telemetry = opentelemetry.begin(self.settings, pipeline.index)
        pipeline.observer.use(self.telemetry.tracing)
        if self.settings.prediction_log:
            from predictors.prediction_log.log import PredictionLogger

            self.prediction_log = PredictionLogger(self.settings, pipeline.shared)
            pipeline.observer.record(self.prediction_log, self.settings.prediction_log_sample)
        number = shared.edition
        if number == 0:
            return None
        if number > 1:
            model = self.successor(shared.source(number))
        elif self.opened is not None:
            model = self.opened
        else:
            find = partial(first_source, self.settings, pipeline.note, shared.folder)
            model = open_model(self.settings, shared.once(find))
        model.executor = pipeline.executor
        model.status.listeners.append(pipeline.note)
        if model.loaded is None:
            model.load()
        if number == 1:
            shared.once(lambda: model.serving().source)
        return number, model

    def successor(self, source: Source) -> MLflowModel:
        """Another version of what is served, not loaded yet."""
        return open_next(self.settings, self.opened, source)

    def loaded(self, pipeline: Pipeline, loading: Loading) -> int:
        try:
            found = loading.result()
        except Exception as error:
            return cannot_load(error)
        if found is not None:
            pipeline.served_models.add(*found)
            pipeline.served_models.switch()
        garbage.settle()
        pipeline.shared.set_ready(pipeline.index, True)
        given = launched()
        if given is not None and pipeline.shared.complete:
            given.say_ready()
        return 0

    async def shut_down(
        self, pipeline: Pipeline, web: WebServer, serving: asyncio.Task[None], grpc: rpc.GrpcServer | None
    ) -> bool:
        """Unready at once; what is in flight finishes within the grace period. Whether all of it has."""
        was_ready = pipeline.ready
        pipeline.draining = True
        if self.patient and was_ready and self.delay:
            log.info("unready; new requests are taken for another %g s", self.delay)
            await asyncio.sleep(self.delay)
        end = time.monotonic() + self.settings.grace_period
        finishing = [asyncio.ensure_future(web.leave(serving, self.settings.grace_period))]
        if grpc is not None:
            finishing.append(asyncio.ensure_future(grpc.stop(self.settings.grace_period)))
        await asyncio.gather(*finishing, return_exceptions=True)
        await pipeline.served_models.close_features()
        pipeline.executor.shutdown(wait=False, cancel_futures=True)
        written = await self.let_know(end - time.monotonic())
        ended = asyncio.create_task(asyncio.to_thread(pipeline.executor.shutdown))
        done, _ = await asyncio.wait({ended}, timeout=1)
        return bool(done) and written

    async def let_know(self, seconds: float) -> bool:
        """What is to be told of the last requests goes out; whether no thread is left that tries to."""
        exported = asyncio.to_thread(self.telemetry.close, min(max(seconds, 0.5), LAST_EXPORT))
        if self.prediction_log is None:
            await exported
            return True
        written, _ = await asyncio.gather(
            asyncio.to_thread(self.prediction_log.close, max(seconds, LAST_RECORDS)), exported
        )
        return written

    @property
    def delay(self) -> float:
        """Seconds that it takes until nobody sends requests here any more."""
        if self.settings.drain_delay is not None:
            return self.settings.drain_delay
        return POD_DELAY if "KUBERNETES_SERVICE_HOST" in os.environ else 0.0

    def hurry(self, code: int, shared: Shared) -> NoReturn:
        """Ends the process without waiting for anything."""
        if shared.workers == 1:
            shared.close()
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


async def start_grpc(pipeline: Pipeline, ports: Ports) -> rpc.GrpcServer | None:
    if ports.grpc is None:
        return None
    server = service.build(pipeline)
    await server.start(ports.grpc, server_context(pipeline.settings, "h2"))
    return server


def orphaned(loop: asyncio.AbstractEventLoop, lifeline: int, stop: asyncio.Event) -> None:
    """A worker whose first process is gone ends like the others."""
    loop.remove_reader(lifeline)
    stop.set()


def say_demo(pipeline: Pipeline, ports: Ports) -> None:
    """Where nothing was asked for: what is served instead, and how to try it."""
    served = pipeline.served_models.current()
    if served is None:  # it was unloaded before it was there
        return
    loaded = served.loaded
    if loaded.source.demo and pipeline.settings.log_format == "text":
        url = f"http://localhost:{ports.http_port}"
        print(demo_banner(url, ports.grpc_port, pipeline.name, loaded), flush=True)


def say_listening(ports: Ports) -> None:
    log.info("listening: HTTP on port %d%s", ports.http_port, f", gRPC on port {ports.grpc_port}" if ports.grpc else "")


def say(shared: Shared, status: str) -> None:
    """How far loading is, where one process loads for all."""
    shared.status = status
    log.info(status)


def cannot_load(error: Exception) -> int:
    if isinstance(error, Reported):
        return 1
    if isinstance(error, (LoadError, FlavorError, SourceError, DependencyError)):
        return complain(error)
    log.debug("loading failed", exc_info=error)
    return complain(StartError(f"the model cannot be loaded: {one_line(error)}"))


def complain(error: Exception) -> int:
    """The one line with which a process that cannot serve ends."""
    log.error("%s", error)
    given = launched()
    if given is not None:
        given.say_failed(str(error))
    return 1
