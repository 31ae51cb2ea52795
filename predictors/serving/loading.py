"""The model that a process serves first: found, loaded in a thread, and activated."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from predictors.candidate.pairing import Pairing
from predictors.model.base import MLflowModel
from predictors.model.loading import load_in_time
from predictors.model.open_model import open_model, open_next
from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.settings import Settings
from predictors.processes.handover import first_source, receive_handover
from predictors.queueing.background import BackgroundWork
from predictors.runtime import garbage
from predictors.serving.exporters import Exporters
from predictors.serving.failures import report_load_failure

STDERR = 2  # sys.stderr may have no descriptor, as in a notebook
STUCK_SECONDS = 10.0  # after the time limit for loading: then the process has not been able to act on it

NumberedModel: TypeAlias = tuple[int, Pairing | None, MLflowModel]
Loading: TypeAlias = "asyncio.Task[NumberedModel | None]"


@contextmanager
def ended_if_stuck(load_timeout: float) -> Iterator[None]:
    """Has the process end with status 1 and its stacks on stderr if a model hangs with the interpreter's lock."""
    if load_timeout:
        faulthandler.dump_traceback_later(load_timeout + STUCK_SECONDS, exit=True, file=STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class ModelLoader:
    """Loads the model of one worker; `opened` is one that exists already, and may be loaded."""

    def __init__(
        self, settings: Settings, opened: MLflowModel | None, pipeline: Pipeline, exporters: Exporters
    ) -> None:
        self.settings, self.opened, self.pipeline, self.exporters = settings, opened, pipeline, exporters
        self.background = BackgroundWork("load")

    def start(self) -> Loading:
        return asyncio.create_task(self.load())

    async def load(self) -> NumberedModel | None:
        """The model, its number or that of its pairing; None if it was unloaded and there is none to serve."""
        sources, served_models = self.pipeline.shared.sources, self.pipeline.served_models
        await self.background.run(lambda: self.exporters.start(self.pipeline))
        number = int(self.pipeline.shared.numbers.served)
        if number == 0:
            return None
        pairing = served_models.pairings.get(number)
        model_number = number if pairing is None else pairing.model
        model = await self.background.run(lambda: self.open(model_number))
        model.executor = self.pipeline.executor
        model.status.listeners.append(self.pipeline.note)
        if model.loaded is None:
            with ended_if_stuck(model.settings.load_timeout):
                await load_in_time(model, self.background)
        if model_number == 1:
            await self.background.run(lambda: sources.first(lambda: model.require_loaded().source))
        await model.open_features()
        return number, pairing, model

    def open(self, number: int) -> MLflowModel:
        """The model that is served now: downloaded, and not loaded yet unless it was opened before."""
        sources = self.pipeline.shared.sources
        if number > 1:
            return open_next(self.settings, self.opened, sources.get(number))
        if self.opened is not None:
            return self.opened
        resolve = partial(first_source, self.settings, self.pipeline.note, sources.folder)
        return open_model(self.settings, sources.first(resolve))

    def activate(self, loading: Loading) -> int:
        """Answers with what was loaded; the exit status, which is not 0 if loading failed."""
        try:
            numbered = loading.result()
        except Exception as error:
            return report_load_failure(error)
        pipeline = self.pipeline
        if numbered is not None:
            pipeline.served_models.begin(*numbered)
        garbage.freeze()
        pipeline.shared.set_ready(pipeline.index)
        handover = receive_handover()
        if handover is not None and pipeline.shared.startup.complete:
            handover.report_ready()
        return 0
