"""Another version of the model without a restart: loaded beside the one that answers, proved, and swapped in at once.

The worker that leads (predictors/reload/leader.py) proposes an edition, and every worker loads it. When all have it,
one shared number changes, and all answer with it from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from predictors.environments.dependencies import DependencyError, differences, worse
from predictors.environments.requirements import RequirementsError
from predictors.flavor import FlavorError, read_mlmodel
from predictors.model.base import MLflowModel, signed_plan
from predictors.model.loaded import LoadError
from predictors.pipeline.pipeline import Pipeline
from predictors.processes.handover import ReplaceError
from predictors.processes.shared_state import write
from predictors.reload.compatible import incompatible
from predictors.runtime import garbage
from predictors.signature.fields import Field, quoted
from predictors.storage.failures import SourceError
from predictors.storage.retries import one_line
from predictors.storage.source import Source

log = logging.getLogger("predictors")
T = TypeVar("T")

TICK = 0.05  # seconds
ALL_THE_SAME = "(--allow-signature-change serves it all the same)"


class ReloadRefused(Exception):
    """A version that cannot take the place of the one that answers; the message is one line."""


# Errors that say in one line what the operator needs to know.
SPEAKING = (ReloadRefused, LoadError, FlavorError, SourceError, DependencyError, RequirementsError, ReplaceError)


class Reloader:
    """What every worker does: load what is proposed, and go over with the others."""

    def __init__(self, pipeline: Pipeline, successor: Callable[[Source], MLflowModel]) -> None:
        self.pipeline = pipeline
        self.shared = pipeline.shared
        self.index = pipeline.index
        self.successor = successor
        self.seen = 0
        self.voting: asyncio.Task[None] | None = None
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="reload")
        self.begun: set[Future[object]] = set()

    @property
    def busy(self) -> bool:
        """Whether a thread is at work that nobody can stop."""
        return any(one.running() for one in self.begun)

    async def in_thread(self, work: Callable[[], T]) -> T:
        future = self.threads.submit(work)
        self.begun.add(future)  # type: ignore[arg-type]  # of any kind
        future.add_done_callback(self.begun.discard)
        return await asyncio.wrap_future(future)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self.shared.beat(self.index)
            try:
                self.follow()
            except Exception:
                log.exception("following the other workers failed")
            await asyncio.sleep(TICK)

    def follow(self) -> None:
        shared, pipeline = self.shared, self.pipeline
        pipeline.served_models.switch()
        if pipeline.served_models.drop_old():
            garbage.settle(again=True)
        shared.holds[self.index] = shared.previous if shared.previous in pipeline.served_models.by_number else 0
        candidate = shared.candidate
        if candidate > self.seen:
            self.seen = candidate
            self.voting = asyncio.create_task(self.vote(candidate))

    async def vote(self, candidate: int) -> None:
        """Says whether this worker could answer with the candidate."""
        try:
            if candidate not in self.pipeline.served_models.by_number:
                await self.prepare(candidate, self.shared.source(candidate))
        except Exception as error:
            log.debug("the proposed version cannot be loaded", exc_info=True)
            with suppress(OSError):  # the vote counts, also when the disk is full
                write(self.shared.folder / f"reason-{self.index}", in_short(error).encode())
            vote = -candidate
        else:
            vote = candidate
        if candidate == self.seen:  # else it was given up meanwhile, and another one is proposed
            self.shared.votes[self.index] = vote

    async def prepare(self, number: int, source: Source) -> None:
        """Loads an edition beside the one that answers; raises what is wrong with it."""
        model = await self.in_thread(lambda: self.load(source))
        await model.open_features()
        try:
            self.check_features(model)
        except ReloadRefused:
            if model.features is not None:
                await model.features.close()
            raise
        self.pipeline.served_models.add(number, model)

    def check_features(self, model: MLflowModel) -> None:
        """Refuses a version for which callers would have to send what is looked up today, or other keys."""
        served = self.pipeline.served_models.active
        if served is None or served.features is None or served.model.settings.allow_signature_change:
            return
        before, after = served.features.description, model.features.description if model.features else None
        inputs = model.serving().plan.inputs
        found = () if after is None else after.columns
        required = [one.name for one in inputs if one.required]
        if lost := [name for name in before.columns if name in required and name not in found]:
            raise ReloadRefused(f"it does not look up {quoted(lost)}, which requests of today leave out {ALL_THE_SAME}")
        known = [one.name for one in served.loaded.plan.inputs]
        if new := [name for name in required if name not in known and name not in found]:
            raise ReloadRefused(f"it takes {quoted(new)}, which requests of today do not have {ALL_THE_SAME}")
        sent = [*before.entities, *(one.name for one in served.loaded.plan.inputs if one.required)]
        if other := [name for name in (after.entities if after else ()) if name not in sent]:
            raise ReloadRefused(f"it looks up by {quoted(other)}, which requests of today leave out {ALL_THE_SAME}")
        taken = [*(model.features.wanted.keys.values() if model.features else ()), *(one.name for one in inputs)]
        if spare := [name for name in before.entities if inputs and name not in taken]:
            raise ReloadRefused(
                f"it does not take {quoted(spare)}, which requests of today send as keys {ALL_THE_SAME}"
            )

    def check_signature(self, source: Source) -> None:
        """Refuses a version that requests of today would not fit."""
        served = self.pipeline.served_models.active
        if served is None or served.model.settings.allow_signature_change:
            return
        before, after = signed_plan(served.loaded.mlmodel), signed_plan(read_mlmodel(source.path))
        if served.features is not None:  # what is new may be looked up; that shows once it is loaded
            known = [one.name for one in before.inputs]
            after = replace(after, inputs=tuple(one if one.name in known else optional(one) for one in after.inputs))
        changes = incompatible(before, after)
        if changes:
            raise ReloadRefused(
                f"its signature does not fit the one that is served: {'; '.join(changes[:10])} {ALL_THE_SAME}"
            )

    def check_dependencies(self, source: Source) -> None:
        """Refuses a version that needs what the served one did not, and what is not here."""
        served = self.pipeline.served_models.active
        if served is None or served.loaded.differences is None:
            return
        missing = worse(served.loaded.differences, differences(read_mlmodel(source.path)))
        if missing:
            raise ReloadRefused(
                f"it needs another environment: {'; '.join(map(str, missing))} (--env-manager=uv makes one, "
                "--dependencies=ignore does not look)"
            )

    def load(self, source: Source) -> MLflowModel:
        model = self.successor(source)
        model.executor = self.pipeline.executor
        if self.index == 0:
            model.status.listeners.append(lambda status: log.info("beside it: %s", status))
        model.load()
        garbage.settle()
        return model


def optional(one: Field) -> Field:
    return replace(one, required=False)


def in_short(error: Exception) -> str:
    return str(error) if isinstance(error, SPEAKING) else one_line(error)
