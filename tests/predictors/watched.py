"""Batches as engines get them, for tests that look on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from predictors.engines.engine import MAX_BATCH_SECONDS, Answer, ProvenEngine
from predictors.engines.timing import concatenated
from predictors.queueing.batching import MicroBatcher
from tests.serving import wait_for


class SpiedBatcher:
    """Notes what engines are asked, and lets them begin only while its gate is open."""

    def __init__(self, max_rows: int | None = None) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[int]] = []
        """The rows of each request, for each time that an engine was asked."""
        self.max_rows = max_rows

    def batcher(self, proven: ProvenEngine, loop: Any, executor: Any, max_running: int) -> MicroBatcher:
        return MicroBatcher(self.around(proven), loop, executor, 1)

    def around(self, proven: ProvenEngine) -> ProvenEngine:
        """The same engine, slow by its own account: it is asked in threads."""
        run = proven.engine.run
        together = proven.joint or concatenated(run)  # a busy machine may have found that it saves nothing

        def noted(rows: Any, probabilities: bool) -> Answer:
            self.note([len(rows)])
            return run(rows, probabilities)

        def noted_together(requests: Any, probabilities: bool) -> Answer:
            self.note(list(map(len, requests)))
            return together(requests, probabilities)

        further = proven.further_row_seconds if self.max_rows is None else MAX_BATCH_SECONDS / self.max_rows
        engine = replace(proven.engine, run=noted)
        return replace(proven, engine=engine, joint=noted_together, first_row_seconds=1.0, further_row_seconds=further)

    def note(self, rows: list[int]) -> None:
        self.batches.append(rows)
        assert self.gate.wait(60)

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Ends once an engine has been asked again."""
        before = len(self.batches)
        yield
        wait_for(lambda: len(self.batches) > before, seconds=30)
