"""Several workers, forked from a process that has loaded the model for all of them where that is possible."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from predictors.model.base import MLflowModel
from predictors.model.loading import too_slow
from predictors.model.open_model import open_model
from predictors.processes import forking
from predictors.processes.handover import first_source, receive_handover
from predictors.processes.ports import Ports
from predictors.processes.shared_state import SharedState
from predictors.processes.workers import WorkerSupervisor
from predictors.runtime import garbage
from predictors.serving.failures import AlreadyReported, report_load_failure
from predictors.serving.loading import ended_if_stuck
from predictors.storage.source import Source, is_local

if TYPE_CHECKING:
    from predictors.serving.process import Serving

log = logging.getLogger("predictors")


class Prefork:
    """The first process of several: it fetches and loads the model, forks the workers and supervises them."""

    def __init__(self, serving: Serving, ports: Ports, shared: SharedState) -> None:
        self.serving, self.settings, self.ports, self.shared = serving, serving.settings, ports, shared
        self.supervisor = self.new_supervisor()

    def run(self) -> int:
        """Serves until a signal or a failure; the exit status."""
        if self.serving.opened is not None:
            return self.supervisor.supervise(self.work)
        if not self.serving.takes_over:
            self.supervisor.start_responder(self.work)
        try:
            model = open_model(self.settings, self.fetch())
        except Exception as error:
            return self.fail(error)
        if model.flavor not in forking.FLAVORS:
            return self.supervisor.supervise(self.work)
        standby = forking.StandbyProcess(lambda: self.new_supervisor().supervise(self.work))
        try:
            obstacle = self.load(model)
        except Exception as error:
            standby.dismiss()
            return self.fail(error)
        if obstacle is not None:
            log.info("each worker loads the model for itself: %s", obstacle)
            del model  # this process stays, and need not keep a copy
            return self.supervisor.follow(standby.take_over())
        standby.dismiss()
        self.serving.opened = model
        garbage.freeze()
        return self.supervisor.supervise(self.work)

    def work(self, index: int) -> int:
        return self.serving.run_worker(self.ports, self.shared, index)

    def new_supervisor(self) -> WorkerSupervisor:
        # The ports are closed as the end begins: with the last worker they are gone, and callers go elsewhere at once.
        return WorkerSupervisor(self.shared, self.settings.worker_timeout, self.ports.close)

    def fetch(self) -> Source:
        """The model's folder. A remote one is fetched by a process of its own: MLflow may start threads."""
        resolve = partial(first_source, self.settings, self.note, self.shared.folder)

        def work(_: int) -> int:
            try:
                self.shared.sources.first(resolve)
            except Exception as error:
                return report_load_failure(error)
            return 0

        if receive_handover() is None and not is_local(self.settings) and self.supervisor.run_apart(work):
            raise AlreadyReported
        return self.shared.sources.first(resolve)

    def load(self, model: MLflowModel) -> str | None:
        """Loads the model; why this process may not be forked afterwards, if so."""
        model.status.listeners.append(self.note)
        threads, seconds = forking.threads(), self.settings.load_timeout
        try:
            with ended_if_stuck(seconds):
                forking.in_thread(model.load, self.supervisor.stopped, seconds)
        except TimeoutError:
            raise too_slow(seconds, model.status.text) from None
        model.status.listeners.remove(self.note)
        return forking.obstacle(threads)

    def note(self, status: str) -> None:
        """How far loading is, for the startup responder and the log."""
        self.shared.startup.status = status
        log.info(status)

    def fail(self, error: Exception) -> int:
        """Ends everything; the exit status. After a signal no error is worth a word."""
        return self.supervisor.dismiss(0 if self.supervisor.stopped.is_set() else report_load_failure(error))
