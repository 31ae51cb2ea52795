"""Another version of the model without a restart: loaded beside the one that answers, checked, and switched to at once.

The worker that leads (predictors/reload/leader.py) proposes a candidate, and every worker loads it. When all have it,
one shared number changes, and all answer with it from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from predictors.model.base import MLflowModel
from predictors.model.loading import load_in_time
from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.served_models import ServedModel
from predictors.processes.files import write
from predictors.queueing.background import BackgroundWork
from predictors.reload.checks import check_features
from predictors.reload.failures import ReloadRefused, in_short
from predictors.reload.trial import Trial
from predictors.runtime import garbage
from predictors.storage.source import Source

log = logging.getLogger("predictors")

CHECK_INTERVAL = 0.05  # seconds


class Reloader:
    """In every worker: loads what the leader proposes, and switches together with the others."""

    def __init__(self, pipeline: Pipeline, open_next: Callable[[Source], MLflowModel]) -> None:
        self.pipeline = pipeline
        self.shared = pipeline.shared
        self.state = pipeline.shared.worker_states[pipeline.index]
        self.index = pipeline.index
        self.open_next = open_next
        self.last_candidate = 0
        self.voting: asyncio.Task[None] | None = None
        self.background = BackgroundWork("reload")

    @property
    def served(self) -> ServedModel | None:
        return self.pipeline.served_models.active

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self.shared.heartbeat(self.index)
            try:
                self.follow()
            except Exception:
                log.exception("following the other workers failed")
            await asyncio.sleep(CHECK_INTERVAL)

    def follow(self) -> None:
        """Switches with the other workers, drops old models, and votes on a new candidate."""
        pipeline, numbers = self.pipeline, self.shared.numbers
        pipeline.served_models.switch()
        if pipeline.served_models.drop_old():
            garbage.freeze(again=True)
        self.state.previous = numbers.previous if numbers.previous in pipeline.served_models.by_number else 0
        candidate = int(numbers.candidate)
        if candidate > self.last_candidate:
            self.last_candidate = candidate
            self.voting = asyncio.create_task(self.vote(candidate))

    async def vote(self, candidate: int) -> None:
        """Loads the candidate and votes for it, or votes against it if that fails."""
        try:
            if candidate not in self.pipeline.served_models.by_number:
                await self.prepare(candidate, self.shared.sources.get(candidate))
        except Exception as error:
            log.debug("the candidate cannot be loaded", exc_info=True)
            with suppress(OSError):  # the vote counts, also when the disk is full
                write(self.reason_file(self.index), in_short(error).encode())
            vote = -candidate
        else:
            vote = candidate
        if candidate == self.last_candidate:  # else it was withdrawn meanwhile, and another one is proposed
            self.state.vote = vote

    async def try_out(self, source: Source) -> None:
        """Loads a model in a process of its own; raises `LoadError` if that process crashes or hangs."""
        model = await self.background.run(lambda: self.open_next(source))
        if not model.settings.load_trial:
            return
        trial = Trial(model, self.pipeline.settings.log_format, self.shared.folder)
        try:
            await self.background.run(lambda: trial.wait(model.settings.load_timeout))
        except asyncio.CancelledError:
            trial.kill()
            raise

    async def prepare(self, number: int, source: Source) -> None:
        """Loads a model beside the one that answers; raises why it cannot replace it."""
        model = await self.background.run(lambda: self.open(source))
        await load_in_time(model, self.background)
        garbage.freeze()
        await model.open_features()
        await self.check(model)
        self.pipeline.served_models.add(number, model)

    def open(self, source: Source) -> MLflowModel:
        model = self.open_next(source)
        model.executor = self.pipeline.executor
        if self.index == 0:
            model.status.listeners.append(lambda status: log.info("candidate: %s", status))
        return model

    async def check(self, model: MLflowModel) -> None:
        if self.served is None:
            return
        try:
            check_features(self.served, model)
        except ReloadRefused:
            if model.features is not None:
                await model.features.close()
            raise

    def reason_file(self, index: int) -> Path:
        """Why a worker votes against a candidate."""
        return self.shared.folder / f"reason-{index}"
