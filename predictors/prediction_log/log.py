"""The prediction log of one process: a bounded queue, and a thread that writes its records to a sink.

No request waits for it. Records that the queue cannot hold, or that the sink cannot write in time, are counted.
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
from predictors.prediction_log.settings import PredictionLogSettings
from predictors.prediction_log.sink import Sink, SinkReport
from predictors.prediction_log.table import Table, tables
from predictors.prediction_log.targets import hash_key, target_of
from predictors.processes.files import locked
from predictors.processes.shared_state import SharedState
from predictors.runtime.log_throttle import LogThrottle
from predictors.storage.failures import one_line
from predictors.storage.redaction import without_secrets
from predictors.telemetry.exchange import Exchange
from predictors.telemetry.metrics import metrics

if TYPE_CHECKING:
    from predictors.protocol.batch import Batch, Prediction

log = logging.getLogger("predictors")

FLUSH_INTERVAL = 1.0  # seconds: a table of many records costs hardly more than one of few
EARLY_FLUSH_SHARE = 4  # the queue is flushed earlier when a fourth of it is full
MAX_CHUNK, MAX_CHUNK_BYTES = 256, 256 * 1024  # records that are converted together
CLOSE_INTERVAL = 0.05  # seconds between attempts when the process ends
GAUGE_INTERVAL = 64  # records between two updates of the gauge of waiting records
RESULTS = ("written", "dropped", "failed")


class PredictionLogger:
    """Created in the serving process, since it starts a thread."""

    def __init__(self, settings: PredictionLogSettings, shared: SharedState) -> None:
        registry, name = metrics(), settings.model_name
        self.counters = {result: registry.log_records.labels(name, result) for result in RESULTS}
        self.waiting = registry.log_queue.labels(name)
        self.max_records, self.max_bytes = settings.prediction_log_queue, settings.prediction_log_queue_bytes
        self.queue: deque[Record] = deque()
        self.added = self.added_bytes = 0
        """Written by the event loop only."""
        self.dropped = LogThrottle()
        self.removed_bytes = self.settled = 0
        """Written by the thread only: bytes that have left the queue, and records whose result is known."""
        self.outcome = SinkReport(self.count)
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

    def add(self, exchange: Exchange, batch: Batch, prediction: Prediction, took: int, size: int) -> None:
        waiting, waiting_bytes = len(self.queue), self.added_bytes - self.removed_bytes + size
        if waiting >= self.max_records or waiting_bytes > self.max_bytes:
            self.drop()
            return
        early, early_bytes = self.max_records // EARLY_FLUSH_SHARE, self.max_bytes // EARLY_FLUSH_SHARE
        if waiting == early or waiting_bytes - size < early_bytes <= waiting_bytes:
            self.awake.set()  # once, at the threshold: the sink may accept nothing for a while
        self.added += 1
        self.added_bytes += size
        self.queue.append(record_of(exchange, batch, prediction, took, size))
        if self.added % GAUGE_INTERVAL == 0:  # the thread updates the gauge as well, but may hang
            self.waiting.set(len(self.queue))

    def drop(self) -> None:
        self.counters["dropped"].inc()
        if dropped := self.dropped.due():
            self.waiting.set(len(self.queue))
            self.log_dropped(dropped)

    def log_dropped(self, dropped: int) -> None:
        log.warning("prediction log: the queue is full (--prediction-log-queue); records dropped: %d", dropped)

    def close(self, seconds: float) -> bool:
        """Writes the remaining records for at most `seconds`; returns whether the thread has ended. Called when no
        request is in progress any more."""
        self.outcome.deadline = time.monotonic() + seconds
        self.closing = True
        self.awake.set()
        self.thread.join(seconds + 2 * CLOSE_INTERVAL)
        if self.dropped.count:
            self.log_dropped(self.dropped.count)
        lost = self.added - self.settled
        if lost:
            self.counters["failed"].inc(lost)
            log.error("prediction log: %d records could not be written before the process ended; they are lost", lost)
        self.waiting.set(0)
        return not self.thread.is_alive()

    # -- the thread ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            sink = self.open()
        except Exception as error:
            log.error("prediction log: it cannot be opened; all records will be lost: %s", one_line(error))
            return
        while not self.closing:
            self.awake.wait(FLUSH_INTERVAL)
            self.awake.clear()
            self.flush(sink)
            sink.tick(closing=False)
            self.waiting.set(len(self.queue))
        while True:
            remaining = self.flush(sink)
            # The sink may accept the remaining records once it has written those that it holds.
            if sink.tick(closing=True) and not remaining:
                return
            if time.monotonic() >= self.outcome.deadline:
                return
            time.sleep(CLOSE_INTERVAL)

    def flush(self, sink: Sink) -> bool:
        """Writes records as long as the sink accepts them; returns whether some remain."""
        while self.queue and sink.ready():
            records = self.next_chunk()
            for table in self.converted(records):
                self.write(sink, table)
            for record in records:  # only now: until here they count as waiting
                self.queue.popleft()
                self.removed_bytes += record.size
            if time.monotonic() >= self.outcome.deadline:
                break
        return bool(self.queue)

    def next_chunk(self) -> list[Record]:
        """Many small records or few large ones: each step of a conversion blocks the other threads."""
        chunk: list[Record] = []
        size = 0
        while len(chunk) < min(len(self.queue), MAX_CHUNK) and size < MAX_CHUNK_BYTES:
            chunk.append(self.queue[len(chunk)])
            size += chunk[-1].size
        return chunk

    def converted(self, records: Sequence[Record]) -> list[Table]:
        try:
            return [self.privacy.applied(table) for table in tables(records)]
        except Exception as error:
            if len(records) > 1:  # find the record that fails
                return [table for record in records for table in self.converted([record])]
            self.reject(1, error)
            return []

    def write(self, sink: Sink, table: Table) -> None:
        try:
            sink.write(table)
        except Exception as error:
            self.reject(table.requests, error)

    def reject(self, requests: int, error: Exception) -> None:
        """Logs the type of the error only: its message may hold data of the request."""
        self.outcome.failed(requests)
        self.outcome.log_error("records cannot be converted to a table (%s)", type(error).__name__)
        log.debug("prediction log", exc_info=error)

    def count(self, result: str, requests: int) -> None:
        self.settled += requests
        self.counters[result].inc(requests)


def open_sink(settings: PredictionLogSettings, shared: SharedState, outcome: SinkReport) -> Sink:
    """Imports the libraries of the sink, which a server without a log does not need."""
    target = target_of(settings.prediction_log or "")
    log.info(
        "prediction log: %g %% of the predictions go to %s",
        100 * settings.prediction_log_sample, without_secrets(target.location),
    )  # fmt: skip
    if target.kind == "stdout":
        from predictors.prediction_log.json_lines import JsonLines

        return JsonLines(outcome, lambda: locked(shared.folder, "stdout"))
    if target.kind == "http":
        from predictors.prediction_log.cloudevents import CloudEvents

        return CloudEvents(target.location, outcome)
    from predictors.prediction_log.file_stores import store_of
    from predictors.prediction_log.parquet import ParquetFiles

    age, size = settings.prediction_log_max_age, settings.prediction_log_max_size
    return ParquetFiles(lambda: store_of(target), age, size, outcome)
