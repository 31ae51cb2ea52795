"""One path for all protocols: decode → plan → model → encode, counted and off the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from math import inf
from typing import TypeVar

import numpy as np

from predictors.access.gate import gate_of
from predictors.pipeline.fast_path import MAX_FAST_BODY, FastPath
from predictors.pipeline.ignored_log import IgnoredLog
from predictors.pipeline.outcome import request_error
from predictors.pipeline.served_model import ServedModel
from predictors.pipeline.served_models import ServedModels
from predictors.pipeline.settings import Settings
from predictors.processes.shared_state import SharedState
from predictors.protocol.batch import Batch, Prediction, memory_of, row_count
from predictors.protocol.errors import (
    Conflict,
    InternalError,
    ModelFailure,
    NotFound,
    NotReady,
)
from predictors.queueing.admission import Admission
from predictors.queueing.decoded_bytes import DecodedBytes
from predictors.queueing.inflation import Inflater
from predictors.queueing.thread_slots import PredictionThreads, ThreadSlots, stop_if_abandoned
from predictors.runtime import garbage
from predictors.runtime.cpus import cpu_limit
from predictors.runtime.log_throttle import LogThrottle
from predictors.signature.matrix import MatrixPlan
from predictors.telemetry.exchange import CLIENT_GONE, Exchange, Observer, current
from predictors.telemetry.metrics import request_counter

log = logging.getLogger("predictors")
T = TypeVar("T")

COMMAND_POLL_INTERVAL = 0.02  # seconds between polls for the answer to a command
MAX_SHARED_BODY = 256 * 1024  # bytes: of larger requests, one at a time is decoded or encoded
LAST_ANSWERS_SECONDS = 0.2  # seconds: a server that has been replaced says so before it ends


class Pipeline:
    """The served models and the path of requests to them, shared by HTTP and gRPC."""

    def __init__(self, settings: Settings, shared: SharedState, index: int = 0) -> None:
        self.settings = settings
        self.name = settings.model_name
        self.status = "starting"
        self.max_fast_size = min(MAX_FAST_BODY, settings.max_body)
        """Bytes of a request that may take the fast path."""
        self.strict = settings.nan == "error"
        """Whether NaN and infinity in a JSON reply are an error."""
        self.shared = shared
        self.index = index
        self.gate = gate_of(settings, shared.folder / "rates" if shared.workers > 1 else None)
        """None where access is not restricted."""
        self.draining = False
        self.observer = Observer(settings.model_name, settings.access_log, "https" if settings.ssl_certfile else "http")
        threads = settings.max_threads or max(4, cpu_limit())
        self.executor = PredictionThreads(threads)
        self.thread_slots = ThreadSlots(self.executor, threads)
        self.large_requests = asyncio.Lock()
        self.admission = Admission(settings, threads, self.queued)
        self.decoded = DecodedBytes(self.admission.byte_budget.limit)
        self.ignored_log = IgnoredLog(settings.model_name)
        self.refusals = LogThrottle()
        """Inputs that the model itself refuses."""
        self.inflater = Inflater(settings.max_body, settings.max_inflation)
        self.served_models = ServedModels(settings, shared, index, self.executor, self.admission, lambda: self.draining)

    def note(self, status: str) -> None:
        """Records the progress of loading, for readiness probes."""
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
        if self.served_models.unloaded:
            return "unloaded"
        served = self.served_models.current()
        if served is None or not served.model.ready:
            return self.status
        return None if self.shared.all_ready() else "other workers are still loading"

    def check(self, name: str, version: str | None = None) -> ServedModel:
        """The served model of this name and version; with a candidate beside it, the one of the two that is named."""
        self.check_name(name)
        return self.serving().of_version(name, version)

    def check_name(self, name: str) -> None:
        if name != self.name:
            raise NotFound(f"unknown model '{name}'; this server has '{self.name}'")

    def serving(self) -> ServedModel:
        served = self.served_models.current()
        if served is None:
            raise NotReady(f"model '{self.name}' is not ready: {self.why_not_ready}")
        return served

    async def command(self, command: str) -> str:
        """Has the leading worker change the served model; returns the version that answers afterwards."""
        number = self.shared.commands.send(command)
        seconds_left = LAST_ANSWERS_SECONDS
        while (answer := self.shared.commands.result(number)) is None:
            if self.draining:
                seconds_left -= COMMAND_POLL_INTERVAL
            if seconds_left < 0:
                raise NotReady("shutting down")
            await asyncio.sleep(COMMAND_POLL_INTERVAL)
        if "refused" in answer:
            raise Conflict(answer["refused"])
        if "failed" in answer:
            raise InternalError(f"loading failed: {answer['failed']}")
        return str(answer["version"])

    # -- predictions --------------------------------------------------------------------------------------------

    def queued(self) -> int:
        """Requests that wait for a thread or for the next batch."""
        return len(self.thread_slots.waiting) + self.executor.queued + self.served_models.batched

    async def predict(
        self,
        served: ServedModel,
        size: int,
        decode: Callable[[], Batch],
        encode: Callable[[Prediction, Batch], T],
        seconds: float = inf,
        decoded: Batch | None = None,
        *,
        inline: bool = True,
    ) -> T:
        """One prediction from request to reply; `size` is that of the request in bytes.

        `decoded` is a request that the fast path has decoded and passed on. `inline`: a small request is decoded on the
        event loop.
        """
        exchange = current.get()
        if exchange is not None:
            exchange.size = size
            decode, encode = exchange.timed(decode, encode, row_count)
        if decoded is not None:
            batch = decoded
            decode = lambda: batch  # noqa: E731 - it stands for the other
        fast_path, small = served.fast_path, inline and size <= MAX_FAST_BODY
        if served.features is not None:
            return await self.counted(served, lambda: self.with_features(served, size, decode, encode, small), seconds)
        if not small or fast_path is None:
            return await self.counted(served, lambda: self.in_thread(served, decode, encode, size), seconds)
        return await self.counted(served, lambda: self.in_batch(served, fast_path, decode, encode), seconds)

    async def with_features(
        self,
        served: ServedModel,
        size: int,
        decode: Callable[[], Batch],
        encode: Callable[[Prediction, Batch], T],
        small: bool,
    ) -> tuple[T, int]:
        """Looks up the features that the request lacks; then it goes on like all others."""
        if served.features is None:
            raise AssertionError("a served model without features")
        exchange = current.get()
        batch = await self.by_size(size, lambda: decode().unpacked(), inline=small)
        with nullcontext() if exchange is None else exchange.step("features"):
            batch = await served.features.join(batch, None if small else self.apart)
        if small and served.fast_path is not None:
            return await self.in_batch(served, served.fast_path, lambda: batch, encode)
        return await self.in_thread(served, lambda: batch, encode, size)

    async def in_batch(
        self,
        served: ServedModel,
        fast_path: FastPath,
        decode: Callable[[], Batch],
        encode: Callable[[Prediction, Batch], T],
    ) -> tuple[T, int]:
        """Small requests are decoded on the event loop, and their rows go to the engine together with others."""
        batch = decode()
        rows = served.loaded.engine_rows(batch)
        if rows is not None:
            try:
                answer = await fast_path.batcher.answer(rows, served.model.wants_probabilities(batch))
            except Exception:
                log.debug("the engine declines", exc_info=True)
            else:
                if fast_path.tap is not None:
                    fast_path.tap.sample_rows(rows, answer)
                return encode(served.model.prediction(served.loaded, answer), batch), len(rows)
        return await self.in_thread(served, lambda: batch, encode)

    async def in_thread(
        self,
        served: ServedModel,
        decode: Callable[[], Batch],
        encode: Callable[[Prediction, Batch], T],
        size: int = 0,
    ) -> tuple[T, int]:
        loaded, kept, large = served.loaded, self.is_kept(served), size > MAX_SHARED_BODY

        def prepare() -> Batch:
            batch = decode()
            stop_if_abandoned()
            is_matrix = isinstance(loaded.rows_plan, MatrixPlan)
            rows = loaded.engine_rows(batch) if large and is_matrix and not kept else None
            return batch.with_matrix(rows) if isinstance(rows, np.ndarray) else batch.unpacked()

        def predict(batch: Batch) -> tuple[Prediction, Batch]:
            model_input = batch.copy() if kept and not loaded.plan.copies_input else batch
            prediction = served.model.predict_batch(loaded, model_input)
            stop_if_abandoned()
            return prediction.copy() if kept else prediction, batch

        def finish(prediction: Prediction, batch: Batch) -> tuple[T, int]:
            rows = row_count(batch)
            if served.drift is not None:
                served.drift.tap.sample_batch(batch, prediction, rows)
            reply = encode(prediction, batch)
            if large and not kept and loaded.plan.copies_input:
                batch.release()
            return reply, rows

        if not large:
            return await self.apart(lambda: finish(*predict(prepare())))
        async with self.decoded.place(size) as place:
            batch = await self.alone(prepare)
            place.hold(memory_of(batch, size))
            # The model does not wait: most models let other threads run.
            prediction, batch = await self.apart(lambda: predict(batch))
            return await self.alone(lambda: finish(prediction, batch))

    def is_kept(self, served: ServedModel) -> bool:
        """Whether this request is read again later: the model may change its input, and its output."""
        exchange = current.get()
        return (exchange is not None and exchange.is_kept) or (
            served.drift is not None and served.drift.tap.to_skip <= 0
        )

    async def apart(self, work: Callable[[], T]) -> T:
        """Runs in a thread; the logs and traces of the model there belong to this request."""
        run = contextvars.copy_context().run
        result: T = await self.thread_slots.run(lambda: run(work), self.admission.hold)
        return result

    async def by_size(self, size: int, work: Callable[[], T], *, inline: bool = True) -> T:
        """Runs what decodes or encodes a request of this size: that of a small one on the event loop, of a large one
        when no other is."""
        if inline and size <= MAX_FAST_BODY:
            return work()
        return await (self.alone if size > MAX_SHARED_BODY else self.apart)(work)

    async def alone(self, work: Callable[[], T]) -> T:
        """Runs in a thread what makes millions of objects, one request at a time: they all want the interpreter's lock.

        Garbage is collected afterwards; in between, the collector would look through all of them again and again.
        """

        def run() -> T:
            with garbage.paused():
                return work()

        async with self.large_requests:
            return await self.apart(run)

    async def counted(
        self, served: ServedModel, run: Callable[[], Awaitable[tuple[T, int]]], seconds: float = inf
    ) -> T:
        """Runs a prediction if it need not wait too long, and no longer than `seconds`."""
        counters = served.counters
        slot = self.admission.slot(seconds)
        exchange = current.get()
        if exchange is not None:
            exchange.loaded = served.loaded
            exchange.role = self.served_models.role_of(served)
        counters.predictions.inc()
        counters.in_flight.inc()
        started = time.perf_counter()
        try:
            with slot:
                reply, rows = await run()
        except Exception as error:
            failure = request_error(error)
            counters.failed(failure.kind)
            if failure is not error:
                raise failure from error
            if isinstance(error, ModelFailure):
                log.error("the model failed", exc_info=error.__cause__)
            elif (error.__cause__ is not None or failure.logged) and (refusals := self.refusals.due()):
                more = f" (and {refusals - 1} more refusals before it)" if refusals > 1 else ""
                log.warning("%s%s", failure.logged or failure, more)
            raise
        finally:
            counters.in_flight.dec()
        counters.succeeded(time.perf_counter() - started, rows)
        return reply

    def record(self, protocol: str, status: int | str, exchange: Exchange | None = None, size: int = 0) -> None:
        """Counts a request to a prediction route, which `protocol` names, and ends any exchange."""
        if protocol:
            request_counter(self.name, protocol, "client_gone" if status == CLIENT_GONE else status).inc()
        if exchange is not None:
            exchange.end(status, size)
