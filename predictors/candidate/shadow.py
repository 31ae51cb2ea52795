"""The shadow: a candidate is asked afterwards what the model was asked, and its answers are compared with the model's.

No caller waits for it. It uses time that the event loop would sleep, a little at a time; what it does not get to is
dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import Any

from predictors.candidate.comparison import compare
from predictors.candidate.idle_time import IdleTime
from predictors.candidate.splitter import Splitter
from predictors.engines.engine import Answer
from predictors.features.lookup import Features
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.protocol.batch import Batch, Prediction
from predictors.queueing.background import BackgroundWork
from predictors.runtime.log_throttle import LogThrottle
from predictors.storage.failures import one_line
from predictors.telemetry.exchange import SHADOW, Exchange
from predictors.telemetry.metrics import ShadowCounters

log = logging.getLogger("predictors")

SLICE_INTERVAL = 0.002  # seconds
MAX_SLICE = 0.0005  # seconds that a request may have to wait for the shadow
MAX_LATE = 0.005  # seconds: an event loop that is later than this has no time left
MAX_WAITING, MAX_BYTES = 256, 8 * 2**20
MAX_INLINE_BYTES = 32 * 1024  # of a request that is converted on the event loop
RATIO_INTERVAL = 8  # requests: of one in so many the model is asked again, and both are timed


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the two models, as the shadow asks it."""

    model: MLflowModel
    loaded: Loaded
    features: Features | None

    def quick_rows(self, batch: Batch) -> Any:
        """The rows for the engine; None if it cannot answer within a slice."""
        proven = self.loaded.choice.proven
        rows = None if proven is None or self.features is not None else self.loaded.engine_rows(batch)
        return None if rows is None or proven is None or proven.seconds(len(rows)) > MAX_SLICE else rows

    def run(self, rows: Any, batch: Batch) -> tuple[Answer, float]:
        """An answer of the engine, and the seconds that it took."""
        if self.loaded.choice.proven is None:
            raise AssertionError("rows for an engine that is not there")
        begun = time.perf_counter()
        answer = self.loaded.choice.proven.engine.run(rows, self.model.wants_probabilities(batch))
        return answer, time.perf_counter() - begun

    def predict(self, batch: Batch) -> tuple[Prediction, float]:
        """Called in a thread."""
        own = batch if self.loaded.plan.copies_input else batch.copy()
        begun = time.perf_counter()
        prediction = self.model.predict_batch(self.loaded, own)
        return prediction, time.perf_counter() - begun


class ShadowRunner:
    """Used on the event loop only."""

    def __init__(self, name: str, model: Arm, candidate: Arm, splitter: Splitter) -> None:
        self.model, self.candidate, self.splitter = model, candidate, splitter
        self.counters = ShadowCounters(name, candidate.loaded.version)
        self.queue: deque[Exchange] = deque()
        self.waiting_bytes = 0
        self.dropped = 0
        """Not yet counted in the metrics."""
        self.asked = 0
        self.closed = False
        self.idle = IdleTime()
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        """Asks the candidate in a thread."""
        self.background = BackgroundWork(SHADOW)
        self.failures = LogThrottle()

    # -- from requests ------------------------------------------------------------------------------------------

    def wants(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request that begins is to be offered once it has been answered."""
        if not self.splitter.reads_rows and not self.splitter.picks(headers):
            return False
        if len(self.queue) < MAX_WAITING:
            return True
        self.drop()
        return False

    def offer(self, exchange: Exchange) -> None:
        """Takes over a request that has been answered."""
        if (
            self.closed
            or exchange.predicted is None
            or (self.splitter.reads_rows and not self.splitter.picks((), exchange.predicted[0]))
        ):
            return
        if len(self.queue) >= MAX_WAITING or self.waiting_bytes + exchange.size > MAX_BYTES:
            self.drop()
            return
        self.queue.append(exchange)
        self.waiting_bytes += exchange.size
        self.wake()

    def drop(self) -> None:
        self.dropped += 1
        self.wake()

    def close(self) -> None:
        self.closed = True
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()
        self.dropped += len(self.queue)
        self.queue.clear()
        self.count_dropped()
        self.idle.close()

    # -- asking -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(SLICE_INTERVAL, self.work)

    def work(self) -> None:
        """One slice, of what time there is."""
        loop, timer, self.timer = asyncio.get_running_loop(), self.timer, None
        late = timer is not None and loop.time() - timer.when() > MAX_LATE
        self.idle.refill()
        begun, left = time.perf_counter(), 0.0 if late else min(self.idle.seconds, MAX_SLICE)
        while self.queue and self.task is None and time.perf_counter() - begun < left:
            exchange = self.queue.popleft()
            self.waiting_bytes -= exchange.size
            try:
                self.ask(exchange)
            except (Exception, SystemExit) as error:  # the model's code must not end the server
                self.fail(error)
        self.idle.spend(time.perf_counter() - begun)
        self.count_dropped()
        if self.queue and self.task is None:
            self.wake()

    def ask(self, exchange: Exchange) -> None:
        batch = batch_of(exchange)
        rows = self.candidate.quick_rows(batch) if exchange.size <= MAX_INLINE_BYTES else None
        if rows is None:
            self.task = asyncio.get_running_loop().create_task(self.ask_apart(exchange))
            return
        again = self.model.quick_rows(batch) if self.is_timed() else None
        seconds = None
        if again is not None and self.asked % (2 * RATIO_INTERVAL) == 0:  # who comes second finds the rows in the cache
            seconds = self.model.run(again, batch)[1]
        answer, took = self.candidate.run(rows, batch)
        if again is not None and seconds is None:
            seconds = self.model.run(again, batch)[1]
        self.answered(exchange, self.candidate.model.prediction(self.candidate.loaded, answer), took, seconds)

    def is_timed(self) -> bool:
        self.asked += 1
        return self.asked % RATIO_INTERVAL == 0

    async def ask_apart(self, exchange: Exchange) -> None:
        """Asks in a thread; the time that it takes is saved up afterwards."""
        batch, timed = batch_of(exchange), self.is_timed()
        begun = time.perf_counter()
        try:
            joined = [await self.joined(arm, batch) for arm in (self.candidate, self.model)[: 1 + timed]]

            def work() -> tuple[Prediction, float, float | None]:
                seconds = self.model.predict(joined[1])[1] if timed else None
                return *self.candidate.predict(joined[0]), seconds

            self.answered(exchange, *await self.background.run(work))
        except (Exception, SystemExit) as error:
            self.fail(error)
        finally:
            self.task = None
            self.idle.spend(time.perf_counter() - begun)
            if self.queue:
                self.wake()

    async def joined(self, arm: Arm, batch: Batch) -> Batch:
        return batch if arm.features is None else await arm.features.join(batch)

    def answered(self, exchange: Exchange, prediction: Prediction, took: float, model_took: float | None) -> None:
        if exchange.predicted is None:
            raise AssertionError("only what was predicted is offered")
        batch, ours = exchange.predicted
        compared = compare(ours, prediction)
        self.counters.answered(
            took, model_took, compared.labels, compared.different, compared.differences
        )  # fmt: skip
        records = exchange.observer.records
        if exchange.sampled and records is not None:
            logged = copy(exchange)
            logged.loaded, logged.role = self.candidate.loaded, SHADOW
            records.add(logged, batch, prediction, int(took * 1e9), exchange.size)

    def fail(self, error: BaseException) -> None:
        self.counters.failed()
        if failures := self.failures.due():
            log.warning("candidate: %d requests have failed in the shadow, the last: %s", failures, one_line(error))

    def count_dropped(self) -> None:
        if self.dropped:
            self.counters.dropped(self.dropped)
            self.dropped = 0


def batch_of(exchange: Exchange) -> Batch:
    batch: Batch = exchange.predicted[0] if exchange.predicted else Batch()
    return batch
