"""The fast path of a request: from the parser to the engine without a task."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, TypeVar

from predictors.engines.engine import Answer
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.errors import Abandoned, Overloaded, RequestError
from predictors.queueing.admission import Admission, Ticket
from predictors.queueing.batching import GivenUp, MicroBatcher
from predictors.telemetry.metrics import ModelCounters

if TYPE_CHECKING:
    from predictors.drift.tap import Tap

log = logging.getLogger("predictors")
T = TypeVar("T")

SMALL = 32 * 1024  # bytes of a request: decoding more would keep the event loop from others


@dataclass(frozen=True, slots=True)
class FastPath:
    """The short way of a request to one loaded model."""

    model: MLflowModel
    loaded: Loaded
    batcher: MicroBatcher
    counters: ModelCounters
    headers: bytes
    """What every HTTP reply carries."""
    admission: Admission
    tap: Tap | None = None
    """Takes a sample of what is asked and answered, where drift is measured."""

    def take(
        self,
        decode: Callable[[], Batch],
        encode: Callable[[Prediction, Batch], T],
        reply: Callable[[T], None],
        pass_on: Callable[[], None],
        refuse: Callable[[RequestError], None],
        gone: Callable[[], bool],
        seconds: float = inf,
    ) -> None:
        """Calls `reply`, now or with the next batch; or `pass_on`, if the request is in any way unusual.

        Or `refuse`, if it would wait too long or has waited for longer than `seconds`; `gone` tells whether its caller
        has left.

        Nothing is said here of what is wrong with a request: that is found out once more on the long way.
        """
        started = time.perf_counter()
        try:
            batch = decode()
            rows = self.loaded.engine_rows(batch)
        except Exception:
            rows = None
        if rows is None:
            pass_on()
            return
        counters, ticket = self.counters, None
        if not self.batcher.soon(rows):
            try:
                ticket = self.ticket(refuse, seconds)
            except Overloaded as error:
                refuse(error)
                return

        def done(answer: Answer | Exception) -> None:
            counters.in_flight.dec()
            if ticket is not None:
                self.admission.leave(ticket, done=not isinstance(answer, GivenUp))
                if ticket.expired:  # it has been told
                    return
            if isinstance(answer, GivenUp):
                refuse(Abandoned())
                return
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
            if self.tap is not None:
                self.tap.sample_rows(rows, answer)

        counters.in_flight.inc()
        given_up = gone if ticket is None else lambda: ticket.expired or gone()
        self.batcher.submit(rows, self.model.wants_probabilities(batch), done, given_up)

    def ticket(self, refuse: Callable[[RequestError], None], seconds: float) -> Ticket:
        def late() -> None:
            error = self.admission.timed_out()
            self.counters.predictions.inc()
            self.counters.failed(error.kind)
            refuse(error)

        return self.admission.enter(late, seconds)
