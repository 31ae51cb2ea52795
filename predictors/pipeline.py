"""The one way of a request, whatever its protocol: decode → plan → model → encode, counted and off the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import kserve.errors

from predictors import collector
from predictors.batching import Batcher
from predictors.cpus import cpu_limit
from predictors.engine import Answer
from predictors.metrics import ModelCounters, metrics, request_counter
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
from predictors.wire import SMALL
from predictors.workers import Shared

log = logging.getLogger("predictors")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lane:
    """The short way of a request to one loaded model."""

    model: MLflowModel
    loaded: Loaded
    batcher: Batcher
    counters: ModelCounters

    def take(
        self,
        decode: Callable[[], Batch],
        encode: Callable[[Prediction, Batch], T],
        reply: Callable[[T], None],
        pass_on: Callable[[], None],
    ) -> None:
        """Calls `reply`, now or with the next batch; or `pass_on`, if the request is in any way unusual.

        Nothing is said here of what is wrong with a request: that is found out once more on the long way.
        """
        started = time.perf_counter()
        try:
            batch = decode()
            rows = self.loaded.rows_of(batch)
        except Exception:
            rows = None
        if rows is None:
            pass_on()
            return
        counters = self.counters

        def done(answer: Answer | Exception) -> None:
            counters.in_flight.dec()
            try:
                if isinstance(answer, Exception):
                    raise answer
                made = encode(self.model.prediction(self.loaded, answer), batch)
            except Exception:
                log.debug("a request leaves the short way", exc_info=True)
                pass_on()
                return
            counters.predictions.inc()
            counters.succeeded(time.perf_counter() - started, len(rows))
            reply(made)

        counters.in_flight.inc()
        self.batcher.submit(rows, self.model.wants_probabilities(batch), done)


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
        threads = settings.max_threads or max(4, cpu_limit())
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._lane: Lane | None = None
        self.counters: dict[str, ModelCounters] = {}
        """By version: requests may still be on their way with the one before."""

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
        loaded, again = model.serving(), self.model is not None
        metrics().model_loaded(self.name, loaded)
        self.model = model
        proven = loaded.choice.proven
        most_running = max(1, cpu_limit() // self.shared.workers)
        if proven is not None and not model.customized:
            batcher = Batcher(proven, asyncio.get_running_loop(), self.executor, most_running)
            self._lane = Lane(model, loaded, batcher, self.counters_of(loaded.version))
        else:
            self._lane = None
        collector.settle(again=again)
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
                self.model.loaded = self._lane = None

    async def load_again(self) -> None:
        """Loads the model anew; a failure leaves things as they are."""
        model = self.serving()
        try:
            await asyncio.to_thread(model.load)
        except Exception as error:
            raise InternalError(f"loading failed: {one_line(error)}") from error
        self.serve(model)
        self.shared.unloaded = False

    # -- predictions --------------------------------------------------------------------------------------------

    @property
    def lane(self) -> Lane | None:
        """The short way to the engine, if requests may take it now."""
        lane = self._lane
        if lane is None or self.draining or self.shared.unloaded or lane.model.loaded is not lane.loaded:
            return None
        return lane

    async def predict(
        self, loaded: Loaded, size: int, decode: Callable[[], Batch], encode: Callable[[Prediction, Batch], T]
    ) -> T:
        """One prediction from request to reply; `size` is that of the request in bytes."""
        lane = self._lane
        if size > SMALL or lane is None or lane.loaded is not loaded:
            return await self.counted(loaded, lambda: self.in_thread(loaded, decode, encode))
        return await self.counted(loaded, lambda: self.in_lane(lane, decode, encode))

    async def in_lane(
        self, lane: Lane, decode: Callable[[], Batch], encode: Callable[[Prediction, Batch], T]
    ) -> tuple[T, int]:
        """Small requests are decoded on the event loop, and their rows go to the engine together with others."""
        batch = decode()
        rows = lane.loaded.rows_of(batch)
        if rows is not None:
            try:
                answer = await lane.batcher.answer(rows, lane.model.wants_probabilities(batch))
            except Exception:
                log.debug("the engine declines", exc_info=True)
            else:
                return encode(lane.model.prediction(lane.loaded, answer), batch), len(rows)
        return await self.in_thread(lane.loaded, lambda: batch, encode)

    async def in_thread(
        self, loaded: Loaded, decode: Callable[[], Batch], encode: Callable[[Prediction, Batch], T]
    ) -> tuple[T, int]:
        def work() -> tuple[T, int]:
            batch = decode()
            return encode(self.serving().answer(loaded, batch), batch), row_count(batch)

        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    async def counted(self, loaded: Loaded, run: Callable[[], Awaitable[tuple[T, int]]]) -> T:
        counters = self.counters_of(loaded.version)
        counters.predictions.inc()
        counters.in_flight.inc()
        started = time.perf_counter()
        try:
            reply, rows = await run()
        except Exception as error:
            failure = known(error)
            counters.failed(failure.kind)
            if failure is not error:
                raise failure from error
            if isinstance(error, ModelFailure):
                log.error("the model failed", exc_info=error.__cause__)
            raise
        finally:
            counters.in_flight.dec()
        counters.succeeded(time.perf_counter() - started, rows)
        return reply

    def counters_of(self, version: str) -> ModelCounters:
        found = self.counters.get(version)
        if found is None:
            found = self.counters[version] = ModelCounters(self.name, version)
        return found

    def count_request(self, protocol: str, status: int | str) -> None:
        request_counter(self.name, protocol, status).inc()


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
