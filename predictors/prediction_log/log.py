"""The prediction log of one process: a bounded queue, and a thread that empties it into a sink.

No request waits for it. What the queue cannot hold is counted, and what the sink cannot take in time, too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from predictors.prediction_log.privacy import Privacy
from predictors.prediction_log.record import Record, record_of
from predictors.prediction_log.sink import QUIET, Sink, SinkReport
from predictors.prediction_log.table import Table, tables
from predictors.prediction_log.targets import hash_key, target_of
from predictors.processes.files import locked
from predictors.processes.shared_state import SharedState
from predictors.settings.predictor import Settings
from predictors.storage.provenance import without_secrets
from predictors.storage.retries import one_line
from predictors.telemetry.exchange import Exchange
from predictors.telemetry.metrics import metrics

if TYPE_CHECKING:
    from predictors.protocol.batch import Batch, Prediction

log = logging.getLogger("predictors")

TICK = 1.0  # seconds between looks at the queue: a table of many records costs hardly more than one of few
SOON = 4  # it is looked at earlier when a fourth of it is full
AT_ONCE, AT_ONCE_BYTES = 256, 256 * 1024  # records that are converted together
LAST_LOOK = 0.05  # seconds between tries when the process ends
LOOKS = 64  # records between two looks at how many wait
RESULTS = ("written", "dropped", "failed")


class PredictionLogger:
    """To be made in the process that serves: it has a thread of its own."""

    def __init__(self, settings: Settings, shared: SharedState) -> None:
        all_of_them, name = metrics(), settings.model_name
        self.counters = {result: all_of_them.log_records.labels(name, result) for result in RESULTS}
        self.waiting = all_of_them.log_queue.labels(name)
        self.most, self.most_bytes = settings.prediction_log_queue, settings.prediction_log_queue_bytes
        self.queue: deque[Record] = deque()
        self.taken = self.taken_bytes = self.dropped = self.dropped_said = 0
        """Of the event loop, and of nobody else."""
        self.said = -QUIET
        """When it was last said that records are dropped."""
        self.out_bytes = self.settled = 0
        """Of the thread: what has left the queue, and the records of which the outcome is known."""
        self.outcome = SinkReport(self.tell)
        key = settings.prediction_log_hash_key_file
        self.privacy = Privacy(
            settings.prediction_log_exclude, settings.prediction_log_hash, None if key is None else hash_key(key)
        )
        self.open = partial(open_sink, settings, shared, self.outcome)
        self.closing = False
        self.awake = threading.Event()
        self.thread = threading.Thread(target=self.run, name="prediction-log", daemon=True)
        self.thread.start()

    # -- for the event loop -------------------------------------------------------------------------------------

    def take(self, exchange: Exchange, batch: Batch, prediction: Prediction, took: int, size: int) -> None:
        waiting, held = len(self.queue), self.taken_bytes - self.out_bytes + size
        if waiting >= self.most or held > self.most_bytes:
            self.drop()
            return
        if waiting == self.most // SOON or held - size < self.most_bytes // SOON <= held:
            self.awake.set()  # once, as it gets there: the sink may take nothing for a while
        self.taken += 1
        self.taken_bytes += size
        self.queue.append(record_of(exchange, batch, prediction, took, size))
        if self.taken % LOOKS == 0:  # the thread may hang
            self.waiting.set(len(self.queue))

    def drop(self) -> None:
        self.dropped += 1
        self.counters["dropped"].inc()
        now = time.monotonic()
        if now - self.said >= QUIET:
            self.said = now
            self.waiting.set(len(self.queue))
            self.say_dropped()

    def say_dropped(self) -> None:
        dropped, self.dropped_said = self.dropped - self.dropped_said, self.dropped
        log.warning("prediction log: the queue is full (--prediction-log-queue); records dropped: %d", dropped)

    def close(self, seconds: float) -> bool:
        """Writes what there is, for so long; whether the thread has ended. To be called when no request is left."""
        self.outcome.deadline = time.monotonic() + seconds
        self.closing = True
        self.awake.set()
        self.thread.join(seconds + 2 * LAST_LOOK)
        if self.dropped > self.dropped_said:
            self.say_dropped()
        lost = self.taken - self.settled
        if lost:
            self.counters["failed"].inc(lost)
            log.error("prediction log: %d records could not be written before the end; they are lost", lost)
        self.waiting.set(0)
        return not self.thread.is_alive()

    # -- the thread ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            sink = self.open()
        except Exception as error:
            log.error("prediction log: it cannot be opened, and all records will be lost: %s", one_line(error))
            return
        while not self.closing:
            self.awake.wait(TICK)
            self.awake.clear()
            self.empty(sink)
            sink.tick(False)
            self.waiting.set(len(self.queue))
        while True:
            left = self.empty(sink)
            if sink.tick(True) and not left:  # what the sink has already makes room for what is left
                return
            if time.monotonic() >= self.outcome.deadline:
                return
            time.sleep(LAST_LOOK)

    def empty(self, sink: Sink) -> bool:
        """As far as the sink takes it; whether something is left."""
        while self.queue and sink.ready():
            records = self.first_ones()
            for table in self.converted(records):
                self.write(sink, table)
            for record in records:  # until now they have counted as waiting
                self.queue.popleft()
                self.out_bytes += record.size
            if time.monotonic() >= self.outcome.deadline:
                break
        return bool(self.queue)

    def first_ones(self) -> list[Record]:
        """Many small ones or few large ones: other threads stand still during each step of a conversion."""
        found: list[Record] = []
        size = 0
        while len(found) < min(len(self.queue), AT_ONCE) and size < AT_ONCE_BYTES:
            found.append(self.queue[len(found)])
            size += found[-1].size
        return found

    def converted(self, records: Sequence[Record]) -> list[Table]:
        try:
            return [self.privacy.applied(table) for table in tables(records)]
        except Exception as error:
            if len(records) > 1:  # one of them is to blame
                return [table for record in records for table in self.converted([record])]
            self.refused(1, error)
            return []

    def write(self, sink: Sink, table: Table) -> None:
        try:
            sink.write(table)
        except Exception as error:
            self.refused(table.requests, error)

    def refused(self, requests: int, error: Exception) -> None:
        """The words of the error may hold data."""
        self.outcome.failed(requests)
        self.outcome.trouble("records cannot be written as a table (%s)", type(error).__name__)
        log.debug("prediction log", exc_info=error)

    def tell(self, result: str, requests: int) -> None:
        self.settled += requests
        self.counters[result].inc(requests)


def open_sink(settings: Settings, shared: SharedState, outcome: SinkReport) -> Sink:
    """Here is where libraries are imported that a server without a log does not need."""
    target = target_of(settings.prediction_log or "")
    log.info(
        "prediction log: %g %% of the predictions go to %s",
        100 * settings.prediction_log_sample, without_secrets(target.where),
    )  # fmt: skip
    if target.kind == "stdout":
        from predictors.prediction_log.lines import Lines

        return Lines(outcome, lambda: locked(shared.folder, "stdout"))
    if target.kind == "http":
        from predictors.prediction_log.cloudevents import CloudEvents

        return CloudEvents(target.where, outcome)
    from predictors.prediction_log.parquet import Parquet
    from predictors.prediction_log.places import place_of

    age, size = settings.prediction_log_max_age, settings.prediction_log_max_size
    return Parquet(lambda: place_of(target), age, size, outcome)
