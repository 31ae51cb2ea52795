"""Another version of the model without a restart: loaded beside the one that answers, checked, and switched to at once.

The worker that leads (predictors/reload/leader.py) proposes a model, or a pairing of two, and every worker loads it.
When all have it, one shared number changes, and all answer with it from then on.
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
from predictors.pipeline.served_model import ServedModel
from predictors.processes.files import write
from predictors.queueing.background import BackgroundWork
from predictors.reload.checks import check_features
from predictors.reload.failures import ReloadRefused, in_short
from predictors.reload.trial import Trial
from predictors.runtime import garbage
from predictors.storage.source import Source
from predictors.telemetry.exchange import SHADOW

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
        self.last_proposed = 0
        self.voting: asyncio.Task[None] | None = None
        self.completed = 0
        """The pairing whose candidate was loaded last because this worker began without it."""
        self.completing: asyncio.Task[None] | None = None
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
        self.complete_soon()
        proposed = int(numbers.proposed)
        if proposed > self.last_proposed:
            self.last_proposed = proposed
            self.voting = asyncio.create_task(self.vote(proposed))

    async def vote(self, proposed: int) -> None:
        """Loads what is proposed and votes for it, or votes against it if that fails."""
        try:
            if self.completing is not None:
                await asyncio.wait({self.completing})
            if proposed not in self.pipeline.served_models.by_number:
                await self.prepare(proposed)
        except Exception as error:
            log.debug("what is proposed cannot be loaded", exc_info=True)
            with suppress(OSError):  # the vote counts, also when the disk is full
                write(self.reason_file(self.index), in_short(error).encode())
            vote = -proposed
        else:
            vote = proposed
        if proposed == self.last_proposed:  # else it was withdrawn meanwhile, and another one is proposed
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

    async def prepare(self, number: int) -> None:
        """Loads a model, or both of a pairing, beside the one that answers; raises why it cannot replace it."""
        served_models = self.pipeline.served_models
        pairing = served_models.pairings.get(number)
        members = (number,) if pairing is None else (pairing.model, pairing.candidate)
        loaded: dict[int, MLflowModel] = {}
        try:
            for one in members:
                if one not in served_models.by_number:
                    loaded[one] = await self.load(one)
            if not all(one in loaded or one in served_models.by_number for one in members):
                raise ReloadRefused("the model was unloaded meanwhile")
        except BaseException:
            for model in loaded.values():
                await close_features(model)
            raise
        for one, model in loaded.items():
            in_shadow = pairing is not None and pairing.mode == SHADOW and one == pairing.candidate
            served_models.add(one, model, in_shadow=in_shadow)
        if pairing is not None:
            served_models.pair(number, pairing)

    async def load(self, number: int) -> MLflowModel:
        model = await self.background.run(lambda: self.open(self.shared.sources.get(number)))
        await load_in_time(model, self.background)
        garbage.freeze()
        await model.open_features()
        await self.check(model)
        return model

    def complete_soon(self) -> None:
        """Begins to load a candidate that a worker before this one held: the model has answered alone since."""
        served = self.served
        if served is None or served.pairing is None or served.pair is not None or served.number == self.completed:
            return
        self.completed = served.number
        self.completing = asyncio.create_task(self.complete(served.number, served.pairing.candidate))

    async def complete(self, number: int, candidate: int) -> None:
        """A candidate that cannot be loaded any more leaves the model to answer alone here."""
        try:
            await self.try_out(self.shared.sources.get(candidate))
            await self.prepare(number)
            if self.last_proposed <= number:
                self.state.vote = number
        except Exception as error:
            log.error("the candidate cannot be loaded again; the model answers alone: %s", in_short(error))
        self.pipeline.served_models.switch()

    def open(self, source: Source) -> MLflowModel:
        model = self.open_next(source)
        model.executor = self.pipeline.executor
        if self.index == 0:
            model.status.listeners.append(lambda status: log.info("beside the served model: %s", status))
        return model

    async def check(self, model: MLflowModel) -> None:
        if self.served is None:
            return
        try:
            check_features(self.served, model)
        except ReloadRefused:
            await close_features(model)
            raise

    def reason_file(self, index: int) -> Path:
        """Why a worker votes against what is proposed."""
        return self.shared.folder / f"reason-{index}"


async def close_features(model: MLflowModel) -> None:
    if model.features is not None:
        await model.features.close()
