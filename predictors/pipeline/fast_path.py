"""The fast path of a request: from the parser to the engine without a task."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from predictors.engines.engine import Answer
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.protocol.batch import Batch, Prediction, row_count
from predictors.protocol.errors import Abandoned, Overloaded, RequestError
from predictors.queueing.admission import Admission, Ticket
from predictors.queueing.batching import GivenUp, MicroBatcher
from predictors.telemetry.exchange import Exchange
from predictors.telemetry.metrics import ModelCounters

if TYPE_CHECKING:
    from predictors.drift.tap import Tap

log = logging.getLogger("predictors")
T = TypeVar("T")

MAX_FAST_BODY = 32 * 1024  # bytes of a request: decoding more would keep the event loop from others


class Reply(Protocol[T]):
    """A request that has arrived whole, and the reply that its protocol makes of a prediction."""

    admitted: bool
    """It has passed the gate, if there is one, and need not do so again."""
    exchange: Exchange | None
    """None where requests are not observed."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]] | tuple[tuple[bytes, bytes], ...]: ...

    @property
    def peer(self) -> str:
        """The address of the caller."""

    @property
    def size(self) -> int:
        """Bytes of the request."""

    @property
    def seconds_left(self) -> float:
        """How long the caller waits."""

    def observe(self) -> Exchange:
        """Begins the exchange and keeps it."""

    def decode(self) -> Batch: ...

    def encode(self, prediction: Prediction, batch: Batch) -> T: ...

    def send(self, encoded: T, version_header: bytes) -> None:
        """`version_header` is the line of an HTTP response that names the model's version."""

    def pass_on(self, batch: Batch | None = None, number: int = 0) -> None:
        """To the slow path, with the decoded request if it could be decoded, and the number of the model it was for."""

    def refuse(self, error: RequestError) -> None: ...

    def is_gone(self) -> bool:
        """Whether the caller has left."""


@dataclass(frozen=True, slots=True)
class FastPath:
    """The fast path to one loaded model."""

    number: int
    model: MLflowModel
    loaded: Loaded
    batcher: MicroBatcher
    counters: ModelCounters
    version_header: bytes
    admission: Admission
    tap: Tap | None = None
    """Samples requests and answers where drift is measured."""

    def answer(self, reply: Reply[T], decoded: Batch | None = None) -> None:
        """Sends the reply, now or with the next batch; passes an unusual request on to the slow path.

        A request is refused if it would wait, or has waited, for too long. An invalid one is passed on too: the slow
        path reports its error.
        """
        started = time.perf_counter()
        exchange, batch = reply.exchange, None
        decode: Callable[[], Batch] = reply.decode if decoded is None else lambda: decoded
        encode: Callable[[Prediction, Batch], T] = reply.encode
        if exchange is not None:
            exchange.loaded = self.loaded
            decode, encode = exchange.timed(decode, encode, row_count)
        try:
            batch = decode()
            rows = self.loaded.engine_rows(batch)
        except Exception:
            rows = None
        if batch is None or rows is None:
            reply.pass_on(batch, self.number)
            return
        counters, ticket = self.counters, None
        if not self.batcher.soon(rows):
            try:
                ticket = self.ticket(reply)
            except Overloaded as error:
                refuse(reply, error)
                return

        def finish(answer: Answer | Exception) -> None:
            counters.in_flight.dec()
            if ticket is not None:
                self.admission.leave(ticket, done=not isinstance(answer, GivenUp))
                if ticket.expired:  # the caller has been told
                    return
            if isinstance(answer, GivenUp):
                refuse(reply, Abandoned())
                return
            try:
                if isinstance(answer, Exception):
                    raise answer
                encoded = encode(self.model.prediction(self.loaded, answer), batch)
            except Exception:
                log.debug("a request leaves the fast path", exc_info=True)
                reply.pass_on(batch, self.number)
                return
            counters.predictions.inc()
            counters.succeeded(time.perf_counter() - started, len(rows))
            reply.send(encoded, self.version_header)
            if self.tap is not None:
                self.tap.sample_rows(rows, answer)

        counters.in_flight.inc()
        given_up = reply.is_gone if ticket is None else lambda: ticket.expired or reply.is_gone()
        self.batcher.submit(rows, self.model.wants_probabilities(batch), finish, given_up)

    def ticket(self, reply: Reply[T]) -> Ticket:
        def expire() -> None:
            error = self.admission.timed_out()
            self.counters.predictions.inc()
            self.counters.failed(error.kind)
            refuse(reply, error)

        return self.admission.enter(expire, reply.seconds_left)


def refuse(reply: Reply[T], error: RequestError) -> None:
    if reply.exchange is not None:
        reply.exchange.error = error
    reply.refuse(error)


def pass_on(admission: Admission, reply: Reply[T], number: int = 0, batch: Batch | None = None) -> None:
    """Leaves a request to the slow path unless too many wait there already."""
    if admission.full:
        refuse(reply, admission.overloaded())
    else:
        admission.expect()
        reply.pass_on(batch, number)
