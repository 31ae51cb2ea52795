"""The one way of a request, whatever its protocol: decode → plan → model → encode, counted and off the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from math import inf
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from predictors.access.gate import gate_of
from predictors.drift import has_profile
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.pipeline.fast_path import SMALL, FastPath
from predictors.pipeline.outcome import known
from predictors.pipeline.served_models import VERSION_HEADER, ServedModel
from predictors.processes.shared_state import Shared
from predictors.protocol.batch import Batch, Prediction, row_count
from predictors.protocol.errors import (
    Conflict,
    InternalError,
    ModelFailure,
    NotFound,
    NotReady,
)
from predictors.queueing.admission import Admission
from predictors.queueing.batching import MicroBatcher
from predictors.queueing.thread_slots import ThreadSlots
from predictors.runtime.cpus import cpu_limit
from predictors.settings.predictor import Settings
from predictors.telemetry.exchange import GONE, Exchange, Observer, current
from predictors.telemetry.metrics import ModelCounters, metrics, request_counter

if TYPE_CHECKING:
    from predictors.drift.watch import DriftState, Watch

log = logging.getLogger("predictors")
T = TypeVar("T")

WISH_TICK = 0.02  # seconds
LAST_ANSWERS = 0.2  # seconds: a server that has been replaced says so before it ends


class Pipeline:
    """What the front and the gRPC service share: the served model and how requests get to it."""

    def __init__(self, settings: Settings, shared: Shared, index: int = 0) -> None:
        self.settings = settings
        self.name = settings.model_name
        self.editions: dict[int, ServedModel] = {}
        self.current: ServedModel | None = None
        self.on_switch: Callable[[MLflowModel], None] = lambda model: None
        """Called with each model that begins to answer."""
        self.status = "starting"
        self.max_fast_size = min(SMALL, settings.max_body)
        """Bytes of a request that may take the fast path."""
        self.strict = settings.nan == "error"
        """Whether NaN and infinity in a JSON reply are an error."""
        self.shared = shared
        self.index = index
        self.gate = gate_of(settings, shared.folder / "rates" if shared.workers > 1 else None)
        """None where everybody may do everything."""
        self.draining = False
        self.observer = Observer(settings.model_name, settings.access_log, "https" if settings.ssl_certfile else "http")
        threads = settings.max_threads or max(4, cpu_limit())
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self.turns = ThreadSlots(self.executor, threads)
        self.admission = Admission(settings, threads, self.queued)
        self.closing: set[asyncio.Future[None]] = set()
        """The features of editions that nobody asks any more."""
        self.watch: Watch | None = None
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
        if self.shared.edition == 0:
            return "unloaded"
        edition = self.edition
        if edition is None or not edition.model.ready:
            return self.status
        return None if self.shared.all_ready() else "other workers are still loading"

    def check(self, name: str, version: str | None = None) -> ServedModel:
        """The edition that answers, if it is of the model that is asked for."""
        if name != self.name:
            raise NotFound(f"unknown model '{name}'; this server has '{self.name}'")
        edition = self.serving()
        if version is not None and version != edition.loaded.version:
            raise NotFound(f"unknown version '{version}' of model '{name}'; served is '{edition.loaded.version}'")
        return edition

    def serving(self) -> ServedModel:
        edition = self.edition
        if edition is None:
            raise NotReady(f"model '{self.name}' is not ready: {self.why_not_ready}")
        return edition

    # -- editions -----------------------------------------------------------------------------------------------

    @property
    def edition(self) -> ServedModel | None:
        """The one that answers now. All workers look at the same number, so they change over at the same moment."""
        current = self.current
        if (
            current is None
            or current.number != self.shared.numbers[0]
            or current.loaded is not current.model.loaded  # somebody has called model.load()
        ):
            self.switch()
        return self.current

    def add(self, number: int, model: MLflowModel) -> None:
        """Makes a loaded model ready to answer, beside the one that does."""
        loaded = model.serving()
        proven, lane, drift = loaded.choice.proven, None, self.watched(number, loaded)
        if proven is not None and not model.customized:
            most_running = max(1, cpu_limit() // self.shared.workers)
            batcher = MicroBatcher(proven, asyncio.get_running_loop(), self.executor, most_running)
            headers = f"{VERSION_HEADER}: {quote(loaded.version)}\r\n".encode()
            tap = drift.tap if drift else None
            lane = FastPath(model, loaded, batcher, self.counters_of(loaded.version), headers, self.admission, tap)
        if drift is not None and model.customized:
            model.answered = drift.tap.add
        self.editions[number] = ServedModel(number, model, loaded, lane, model.features, drift)

    def watched(self, number: int, loaded: Loaded) -> DriftState | None:
        """What measures the drift of a model, if that is wanted."""
        if not (self.settings.drift == "on" or (self.settings.drift == "auto" and has_profile(loaded.mlmodel))):
            return None
        from predictors.drift.watch import Watch, watched

        made = watched(number, loaded, self.settings, self.shared, self.index)
        if made is not None and self.watch is None:
            self.watch = Watch(self.settings, self.shared, self.index, self.all_watched, lambda: self.draining)
            self.watch.start()
        return made

    def all_watched(self) -> list[DriftState]:
        return [one.drift for one in list(self.editions.values()) if one.drift is not None]

    def switch(self) -> None:
        """Goes over to the edition that is to answer now."""
        before, number = self.current, self.shared.edition
        held = self.editions.get(number)
        if held is not None and held.loaded is not held.model.loaded:
            if held.model.loaded is None:
                held = None
            else:
                self.add(number, held.model)
                held = self.editions[number]
        self.current = held
        if held is before:
            return
        if before is not None:
            metrics().model_left(self.name, before.loaded)
        if held is not None:
            metrics().model_loaded(self.name, held.loaded)
            self.on_switch(held.model)

    def drop_old(self) -> bool:
        """Gives up the editions that nobody will ask for again; whether there were any."""
        shared = self.shared
        wanted = {shared.edition, shared.candidate} | ({shared.previous} if shared.edition else set())
        gone = [one for one in self.editions if one not in wanted]
        for one in gone:
            features = self.editions.pop(one).features
            if features is not None:
                closing = asyncio.ensure_future(features.close())
                self.closing.add(closing)
                closing.add_done_callback(self.closing.discard)
        return bool(gone)

    async def close_features(self) -> None:
        """At the end: nobody looks anything up any more."""
        for edition in self.editions.values():
            if edition.features is not None:
                await edition.features.close()
        await asyncio.gather(*self.closing)

    def unload(self) -> None:
        """No worker answers any more, and each gives the memory back."""
        if self.shared.edition:
            self.shared.previous = self.shared.edition
        self.shared.edition = 0
        self.shared.unloads += 1
        self.switch()

    async def command(self, command: str) -> str:
        """Has the worker that leads change what is served; the version that answers afterwards."""
        number = self.shared.ask(command)
        patience = LAST_ANSWERS
        while (answer := self.shared.answer_to(number)) is None:
            if self.draining:
                patience -= WISH_TICK
            if patience < 0:
                raise NotReady("shutting down")
            await asyncio.sleep(WISH_TICK)
        if "refused" in answer:
            raise Conflict(answer["refused"])
        if "failed" in answer:
            raise InternalError(f"loading failed: {answer['failed']}")
        return str(answer["version"])

    def reload_properties(self) -> dict[str, str]:
        """What callers can know of the versions before and after this one."""
        shared = self.shared
        previous = self.editions.get(shared.previous)
        return {
            "previous_version": previous.loaded.version if previous else "",
            "reload": shared.reload_status,
        }

    # -- predictions --------------------------------------------------------------------------------------------

    @property
    def fast_path(self) -> FastPath | None:
        """None if no request may take it now."""
        edition = self.edition
        return None if edition is None or edition.features is not None else edition.lane

    def queued(self) -> int:
        """Requests that wait for a thread or for the next batch."""
        batches = sum(len(one.lane.batcher.queue) for one in self.editions.values() if one.lane is not None)
        return len(self.turns.waiting) + self.executor._work_queue.qsize() + batches

    async def predict(
        self,
        edition: ServedModel,
        size: int,
        decode: Callable[[], Batch],
        encode: Callable[[Prediction, Batch], T],
        seconds: float = inf,
        decoded: Batch | None = None,
    ) -> T:
        """One prediction from request to reply; `size` is that of the request in bytes.

        `decoded` is a request that the fast path has decoded and passed on.
        """
        exchange = current.get()
        if exchange is not None:
            exchange.size = size
            decode, encode = exchange.timed(decode, encode, row_count)
        if decoded is not None:
            batch = decoded
            decode = lambda: batch  # noqa: E731 - it stands for the other
        lane, loaded = edition.lane, edition.loaded
        if edition.features is not None:
            return await self.counted(loaded, lambda: self.with_features(edition, size, decode, encode), seconds)
        if size > SMALL or lane is None:
            return await self.counted(loaded, lambda: self.in_thread(edition, decode, encode), seconds)
        return await self.counted(loaded, lambda: self.in_lane(edition, lane, decode, encode), seconds)

    async def with_features(
        self, edition: ServedModel, size: int, decode: Callable[[], Batch], encode: Callable[[Prediction, Batch], T]
    ) -> tuple[T, int]:
        """What the request lacks is looked up; then it goes the way of all others."""
        if edition.features is None:
            raise AssertionError("an edition without features")
        small, exchange = size <= SMALL, current.get()
        batch = decode() if small else await self.apart(decode)
        with nullcontext() if exchange is None else exchange.step("features"):
            batch = await edition.features.join(batch, None if small else self.apart)
        if small and edition.lane is not None:
            return await self.in_lane(edition, edition.lane, lambda: batch, encode)
        return await self.in_thread(edition, lambda: batch, encode)

    async def in_lane(
        self,
        edition: ServedModel,
        lane: FastPath,
        decode: Callable[[], Batch],
        encode: Callable[[Prediction, Batch], T],
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
                if lane.tap is not None:
                    lane.tap.take(rows, answer)
                return encode(lane.model.prediction(lane.loaded, answer), batch), len(rows)
        return await self.in_thread(edition, lambda: batch, encode)

    async def in_thread(
        self, edition: ServedModel, decode: Callable[[], Batch], encode: Callable[[Prediction, Batch], T]
    ) -> tuple[T, int]:
        def work() -> tuple[T, int]:
            batch = decode()
            kept = self.is_kept(edition)
            given = batch.copied() if kept and not edition.loaded.plan.copies else batch
            prediction, rows = edition.model.answer(edition.loaded, given), row_count(batch)
            if kept:
                prediction = prediction.copied()
            if edition.drift is not None:
                edition.drift.tap.add(batch, prediction, rows)
            return encode(prediction, batch), rows

        return await self.apart(work)

    def is_kept(self, edition: ServedModel) -> bool:
        """Whether somebody looks at this request later; the model may change what it gets, and what it gave."""
        exchange = current.get()
        sampled = exchange is not None and exchange.sampled
        return sampled or (edition.drift is not None and edition.drift.tap.pause <= 0)

    async def apart(self, work: Callable[[], T]) -> T:
        """In a thread; what the model logs and traces belongs to this request, in whichever."""
        run = contextvars.copy_context().run
        found: T = await self.turns.take(lambda: run(work), self.admission.keep)
        return found

    async def counted(self, loaded: Loaded, run: Callable[[], Awaitable[tuple[T, int]]], seconds: float = inf) -> T:
        """Runs a prediction if it need not wait too long, and no longer than `seconds`."""
        counters = self.counters_of(loaded.version)
        place = self.admission.place(seconds)
        exchange = current.get()
        if exchange is not None:
            exchange.loaded = loaded
        counters.predictions.inc()
        counters.in_flight.inc()
        started = time.perf_counter()
        try:
            with place:
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

    def record(self, protocol: str, status: int | str, exchange: Exchange | None = None, size: int = 0) -> None:
        """Counts a request to a prediction route, which `protocol` names, and ends any exchange."""
        if protocol:
            request_counter(self.name, protocol, "client_gone" if status == GONE else status).inc()
        if exchange is not None:
            exchange.end(status, size)
