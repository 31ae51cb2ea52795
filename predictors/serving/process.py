"""The server process: HTTP and gRPC up first, then the model; signals and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
from functools import partial
from typing import Any, NoReturn

import uvloop

from predictors.access.reloading_file import read_all_again
from predictors.model.base import MLflowModel
from predictors.model.open_model import open_next
from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.settings import Settings
from predictors.processes.handover import receive_handover
from predictors.processes.ports import Ports, StartError, bound_ports
from predictors.processes.shared_state import SharedState
from predictors.processes.workers import SIGNALS, STARTUP_RESPONDER
from predictors.reload.leader import Leader
from predictors.reload.reloader import Reloader
from predictors.rest.app import App
from predictors.rest.descriptors import raise_limit
from predictors.runtime.memory import give_back_large_blocks
from predictors.serving.banner import print_demo_banner
from predictors.serving.drain import drain
from predictors.serving.exporters import Exporters
from predictors.serving.failures import report
from predictors.serving.listeners import Listeners, log_ports
from predictors.serving.loading import Loading, ModelLoader
from predictors.serving.prefork import Prefork
from predictors.serving.startup_responder import respond_until_started

log = logging.getLogger("predictors")


class Serving:
    """Serves one model, in one process or several."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.opened: MLflowModel | None = None
        """The model, if it exists before a worker does: a caller's own, or one that all workers share."""
        handover = receive_handover()
        self.takes_over = handover is not None and handover.takes_over
        """Whether another server answers until this one can."""
        self.signal: int | None = None
        """The signal that ends this process, once it has come."""
        self.stuck = False
        """After the end: whether a thread is still at work."""

    def registered(self, model: MLflowModel) -> None:
        """Called with each model that begins to be served."""

    def run(self) -> int:
        """Serves until a signal or a failure; the exit status of the process."""
        faulthandler.enable()  # a crash in native code shows where it was
        give_back_large_blocks()
        raise_limit()
        try:
            ports = bound_ports(self.settings)
        except StartError as error:
            return report(error)
        shared = SharedState(self.settings.workers)
        with contextlib.closing(ports), contextlib.closing(shared):
            if self.settings.workers == 1:
                return self.run_worker(ports, shared, 0)
            return Prefork(self, ports, shared).run()

    def run_worker(self, ports: Ports, shared: SharedState, index: int) -> int:
        """One worker, or the startup responder, until a signal; the exit status of this process."""

        async def until_signal() -> int:
            stop = asyncio.Event()
            self.handle_signals(stop, shared)
            if index == STARTUP_RESPONDER:
                await respond_until_started(self.settings, ports, stop, shared)
                if self.signal is None and not shared.startup.complete:
                    log.error("the process that loads the model has ended; its last stage: %s", shared.startup.status)
                return 0
            code = await self.serve(ports, stop, shared, index)
            if self.stuck:
                exit_now(code, shared)  # a thread that loads or predicts cannot be stopped, and nobody waits for it
            return code

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(until_signal())

    def handle_signals(self, stop: asyncio.Event, shared: SharedState) -> None:
        """The first signal stops this process, and a second one ends it at once. The parent's end stops it, too.

        SIGHUP does not: files that may have been renewed are read again.
        """
        loop = asyncio.get_running_loop()

        def handle(number: int) -> None:
            if stop.is_set():
                exit_now(128 + number, shared)
            self.signal = number
            stop.set()

        def stop_with_parent(lifeline: int) -> None:
            loop.remove_reader(lifeline)
            stop.set()

        for number in SIGNALS:
            loop.add_signal_handler(number, handle, number)
        loop.add_signal_handler(signal.SIGHUP, read_all_again)
        if shared.lifeline is not None:
            loop.add_reader(shared.lifeline, stop_with_parent, shared.lifeline)

    async def serve(self, ports: Ports, stop: asyncio.Event, shared: SharedState, index: int = 0) -> int:
        """Serves on bound sockets until `stop` is set; the exit status."""
        worker = Worker(self, ports, stop, shared, index)
        code = await worker.serve()
        self.stuck = worker.stuck
        return code


class Worker:
    """One process that answers requests, from its start to its last reply."""

    def __init__(self, serving: Serving, ports: Ports, stop: asyncio.Event, shared: SharedState, index: int) -> None:
        self.serving, self.ports, self.stop, self.shared = serving, ports, stop, shared
        self.pipeline = Pipeline(serving.settings, shared, index)
        self.pipeline.served_models.on_switch = serving.registered
        self.exporters = Exporters(serving.settings)
        self.loader = ModelLoader(serving.settings, serving.opened, self.pipeline, self.exporters)
        self.leads = index == 0
        self.others_answer = bool(shared.startup.complete) or serving.takes_over
        """Whether another worker, or a server in another environment, answers until the model is loaded here."""
        self.ending: set[asyncio.Task[Any]] = set()
        """This worker ends when one of these tasks is done."""
        self.reloader: Reloader | None = None
        self.following: asyncio.Task[None] | None = None
        self.leading: asyncio.Task[None] | None = None
        self.stuck = False

    async def serve(self) -> int:
        """Serves until it is stopped; the exit status."""
        self.ending.add(asyncio.create_task(self.stop.wait()))
        if self.others_answer:
            loading = self.loader.start()
            await self.until_stopped_or(loading)
            if loading.done() and loading.exception() is not None:
                return self.loader.activate(loading)
            listeners = await self.listen()
        else:
            listeners = await self.listen()
            self.announce()
            loading = self.loader.start()
        await self.until_stopped_or(loading)
        code = 0 if self.stopping else self.loader.activate(loading)
        if code == 0 and not self.stopping:
            self.show_demo()
            self.follow_registry()
            await self.until_stopped_or()
        code = code or self.report_broken()
        await self.drain(listeners, loading)
        return code

    @property
    def stopping(self) -> bool:
        return self.stop.is_set() or any(task.done() for task in self.ending)

    async def until_stopped_or(self, *tasks: asyncio.Task[Any]) -> None:
        await asyncio.wait({*tasks, *self.ending}, return_when=asyncio.FIRST_COMPLETED)

    def report_broken(self) -> int:
        """Logs the tasks that ended by themselves, which none may; the exit status."""
        if self.stop.is_set():
            return 0
        broken = [task for task in self.ending if task.done()]
        for task in broken:
            log.error(
                "the server ends: its task '%s' has ended",
                task.get_name(),
                exc_info=None if task.cancelled() else task.exception(),
            )
        return 1 if broken else 0

    async def listen(self) -> Listeners:
        listeners = await Listeners.start(App(self.pipeline), self.pipeline, self.ports)
        self.ending.add(listeners.http)
        return listeners

    def announce(self) -> None:
        if self.leads and not self.shared.startup.responding:  # else the startup responder has announced the ports
            log_ports(self.ports)

    def show_demo(self) -> None:
        if self.leads and not self.others_answer:
            print_demo_banner(self.pipeline, self.ports)

    def follow_registry(self) -> None:
        """Loads what the leader proposes; the first worker is the leader."""
        serving = self.serving
        self.reloader = Reloader(self.pipeline, partial(open_next, serving.settings, serving.opened))
        self.following = asyncio.create_task(self.reloader.run(), name="following the leader")
        self.ending.add(self.following)
        if self.leads:
            settings = serving.opened.settings if serving.opened else serving.settings
            leader = Leader(self.reloader, settings)
            self.leading = asyncio.create_task(self.lead(leader), name="following the registry")
            self.ending.add(self.leading)

    async def lead(self, leader: Leader) -> None:
        """Follows the registry; a server that another one replaces has nothing more to follow, and is stopped."""
        await leader.run()
        await self.stop.wait()

    async def drain(self, listeners: Listeners, loading: Loading) -> None:
        """Finishes what is in flight. Workers still switch together, but nothing new is proposed."""
        if self.leading is not None:
            self.leading.cancel()
        # From the keyboard, or when the parent has gone, nobody needs time to send requests elsewhere.
        delayed = self.serving.signal == signal.SIGTERM
        idle = await drain(self.pipeline, listeners, self.exporters, delayed=delayed)
        if self.following is not None:
            self.following.cancel()
        reloading = self.reloader is not None and self.reloader.background.busy
        self.stuck = not loading.done() or self.loader.background.busy or not idle or reloading


def exit_now(code: int, shared: SharedState) -> NoReturn:
    """Ends the process without waiting for anything."""
    if shared.workers == 1:
        shared.close()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
