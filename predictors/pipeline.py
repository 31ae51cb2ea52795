"""The one way of a request, whatever its protocol: decode → plan → model → encode, counted and off the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import kserve.errors

from predictors.metrics import metrics
from predictors.model import Loaded, MLflowModel
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.errors import (
    InternalError,
    InvalidInput,
    ModelFailure,
    NotFound,
    NotReady,
    RequestError,
)
from predictors.settings import Settings
from predictors.source import one_line
from predictors.workers import Shared

log = logging.getLogger("predictors")
T = TypeVar("T")


class Pipeline:
    """What the front and the gRPC service share: the served model and how requests get to it."""

    def __init__(self, settings: Settings, shared: Shared, index: int = 0) -> None:
        self.settings = settings
        self.name = settings.model_name
        self.model: MLflowModel | None = None
        self.status = "starting"
        self.strict = settings.nan == "error"
        """Whether NaN and infinity in a JSON reply are an error."""
        self.shared = shared
        self.index = index
        self.draining = False
        threads = settings.max_threads or max(4, os.cpu_count() or 1)
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    def note(self, status: str) -> None:
        """How far loading is, for whoever asks for readiness."""
        self.status = status
        log.info(status)

    # -- readiness ----------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return self.why_not_ready is None

    @property
    def why_not_ready(self) -> str | None:
        if self.draining:
            return "shutting down"
        if self.shared.unloaded:
            return "unloaded"
        if self.model is None or not self.model.ready:
            return self.status
        return None if self.shared.all_ready() else "other workers are still loading"

    def check(self, name: str, version: str | None = None) -> Loaded:
        """The loaded model, if it is the one that is asked for and can answer."""
        if name != self.name:
            raise NotFound(f"unknown model '{name}'; this server has '{self.name}'")
        if self.model is None or self.shared.unloaded or self.model.loaded is None:
            raise NotReady(f"model '{self.name}' is not ready: {self.why_not_ready}")
        loaded = self.model.loaded
        if version is not None and version != loaded.version:
            raise NotFound(f"unknown version '{version}' of model '{name}'; served is '{loaded.version}'")
        return loaded

    def serve(self, model: MLflowModel) -> None:
        """From now on this model answers; it is loaded."""
        metrics().model_loaded(self.name, model.serving())
        self.model = model
        self.shared.set_ready(self.index, True)

    def serving(self) -> MLflowModel:
        if self.model is None:
            raise NotReady(f"model '{self.name}' is not ready: {self.status}")
        return self.model

    def unload(self) -> None:
        """No worker answers any more; the memory is given back where there is one worker only."""
        self.shared.unloaded = True
        if self.model is not None and self.model.loaded is not None:
            metrics().loaded.labels(self.name, self.model.loaded.version).set(0)
            if self.shared.workers == 1:
                self.model.ready = False
                self.model.loaded = None

    async def load_again(self) -> None:
        """Loads the model anew; a failure leaves things as they are."""
        model = self.serving()
        try:
            await asyncio.to_thread(model.load)
        except Exception as error:
            raise InternalError(f"loading failed: {one_line(error)}") from error
        self.shared.unloaded = False
        self.serve(model)

    # -- predictions --------------------------------------------------------------------------------------------

    async def predict(self, loaded: Loaded, work: Callable[[], tuple[T, int]]) -> T:
        """Runs one prediction in a thread; `work` gives the encoded reply and the number of rows."""
        loop = asyncio.get_running_loop()
        return await self.counted(loaded, lambda: loop.run_in_executor(self.executor, work))

    async def counted(self, loaded: Loaded, run: Callable[[], Awaitable[tuple[T, int]]]) -> T:
        counters, labels = metrics(), (self.name, loaded.version)
        in_flight = counters.in_flight.labels(self.name)
        counters.predictions.labels(*labels).inc()
        in_flight.inc()
        started = time.perf_counter()
        try:
            reply, rows = await run()
        except Exception as error:
            failure = known(error)
            counters.errors.labels(*labels, failure.kind).inc()
            if failure is not error:
                raise failure from error
            if isinstance(error, ModelFailure):
                log.error("the model failed", exc_info=error.__cause__)
            raise
        finally:
            in_flight.dec()
        counters.latency.labels(*labels).observe(time.perf_counter() - started)
        counters.rows.labels(*labels).observe(rows)
        return reply

    def count_request(self, protocol: str, status: int | str) -> None:
        metrics().requests.labels(self.name, protocol, str(status)).inc()

    def answer(self, loaded: Loaded, batch: Batch) -> Prediction:
        return self.serving().answer(loaded, batch)


def known(error: Exception) -> RequestError:
    """Any failure as one that can be answered; bugs are logged and not shown."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, kserve.errors.InvalidInput):  # from somebody's own hooks
        return InvalidInput(str(error))
    if isinstance(error, kserve.errors.ModelNotReady):
        return NotReady(str(error))
    if isinstance(error, kserve.errors.InferenceError):
        return ModelFailure(str(error))
    log.error("a request failed in the server", exc_info=error)
    return InternalError(f"internal error ({type(error).__name__}); the server's log has the details")


def row_count(batch: Batch) -> int:
    if batch.columns is not None:
        first: Any = next(iter(batch.columns.values()), ())
        return len(first) if getattr(first, "ndim", 1) else 1
    return len(batch.rows) if hasattr(batch.rows, "__len__") else 1
