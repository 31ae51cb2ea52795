"""One request and its response, as the access log, the prediction log and the trace see it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from random import random
from typing import Any, Protocol, TypeVar

from predictors.telemetry.ids import Ids, ids_of, valid_ids

access = logging.getLogger("predictors.access")
current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""The request that the current task answers, if it answers only one."""
MAX_PATH = 1024  # characters
SUCCESS_STATUSES = (200, "OK")
MODEL, CANDIDATE, SHADOW = "model", "candidate", "shadow"
"""Roles of whoever answers."""
CLIENT_GONE = 499  # nginx's status for a client that disconnected before the response
T = TypeVar("T")
B = TypeVar("B")


class Trace(Protocol):
    """The span of one request."""

    sampled: bool

    @property
    def traceparent(self) -> bytes: ...

    def enter(self) -> None: ...

    def end(self, exchange: Exchange, ended: int) -> None: ...


class Tracer(Protocol):
    def begin(self, exchange: Exchange) -> Trace: ...


class Records(Protocol):
    """The prediction log."""

    def add(self, exchange: Exchange, batch: Any, prediction: Any, took: int, size: int) -> None: ...


class Follower(Protocol):
    """Who is offered a request once it has been answered."""

    def offer(self, exchange: Exchange) -> None: ...


class Exchange:
    __slots__ = (
        "client", "clock", "ended", "error", "headers", "ids", "loaded", "observer", "path", "predicted", "protocol",
        "role", "route", "rows", "sampled", "shadow", "size", "started", "status", "steps", "trace", "verb",
    )  # fmt: skip

    def __init__(
        self, observer: Observer, verb: str, path: str, headers: Iterable[tuple[bytes, bytes]], client: Any
    ) -> None:
        self.observer = observer
        self.verb = verb
        """The HTTP method, or GRPC."""
        self.path = path[:MAX_PATH]
        self.headers = headers
        self.client = client
        self.ids = ids_of(headers)
        self.protocol = self.route = ""
        self.loaded: Any = None
        """The model that answers, if the request reaches one."""
        self.role = MODEL
        self.rows = self.size = 0
        """Rows and bytes of the request; 0 where they are unknown."""
        self.sampled = False
        """Whether the prediction log records this request, if it is answered with a prediction."""
        self.shadow: Follower | None = None
        """A candidate that is to be asked the same afterwards."""
        self.predicted: tuple[Any, Any] | None = None
        """Batch and prediction of a request that somebody reads again."""
        self.error: Exception | None = None
        self.status: int | str = 0
        self.ended = False
        self.steps: list[tuple[str, int, int]] = []
        """Of a traced request: name, begin and end of each step, in nanoseconds since the epoch."""
        self.started, self.clock = time.time_ns(), time.perf_counter_ns()
        self.trace: Trace | None = None
        if observer.tracing is not None:
            self.trace = observer.tracing.begin(self)
            self.ids = Ids(self.ids.request_id, self.trace.traceparent)

    def timed(
        self, decode: Callable[[], B], encode: Callable[[Any, B], T], rows_of: Callable[[B], int]
    ) -> tuple[Callable[[], B], Callable[[Any, B], T]]:
        """The two functions, timed if the request is traced: the model runs between them."""
        if self.is_kept:
            encode = self.keeping(encode)
        if self.trace is None or not self.trace.sampled:
            return decode, encode

        def timed_decode() -> B:
            begun = self.now()
            batch = decode()
            self.steps = [("decode", begun, self.now())]
            self.rows = rows_of(batch)
            return batch

        def timed_encode(prediction: Any, batch: B) -> T:
            begun = self.now()
            response = encode(prediction, batch)
            self.steps += [("predict", self.steps[-1][2], begun), ("encode", begun, self.now())]
            return response

        return timed_decode, timed_encode

    @property
    def is_kept(self) -> bool:
        """Whether the request is read again once it has been answered."""
        return self.sampled or self.shadow is not None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times a step between decoding and the model."""
        begun = self.now()
        try:
            yield
        finally:
            if self.steps:  # the request is traced
                self.steps.append((name, begun, self.now()))

    def keeping(self, encode: Callable[[Any, Any], T]) -> Callable[[Any, Any], T]:
        """The function, which also keeps its arguments for the prediction log or the shadow."""

        def keeping_encode(prediction: Any, batch: Any) -> T:
            self.predicted = batch, prediction
            return encode(prediction, batch)

        return keeping_encode

    def now(self) -> int:
        """Nanoseconds since the epoch, unaffected by changes of the system clock."""
        return self.started + time.perf_counter_ns() - self.clock

    def enter(self) -> None:
        """Makes this the current request of the task."""
        current.set(self)
        if self.trace is not None:
            self.trace.enter()

    def leave_trace(self) -> None:
        """Leaves this request out of the trace."""
        if self.trace is not None:
            self.trace = None
            self.ids = Ids(self.ids.request_id, valid_ids(self.headers)[1])

    def end(self, status: int | str, size: int = 0) -> None:
        """Records the response; only the first call counts."""
        if self.ended:
            return
        self.ended, self.status = True, status
        now = self.now()
        if len(self.steps) == 1:  # decoded, but the model gave no prediction
            self.steps.append(("predict", self.steps[0][2], now))
        if self.observer.access_log:
            self.log(size, now - self.started)
        if self.trace is not None and self.trace.sampled:
            self.trace.end(self, now)
        if self.predicted is None or status not in SUCCESS_STATUSES:
            return
        records = self.observer.records
        if self.sampled and records is not None:
            records.add(self, *self.predicted, now - self.started, self.size + size)
        if self.shadow is not None:
            self.shadow.offer(self)

    def log(self, size: int, took: int) -> None:
        client = "-" if not self.client else f"{self.client[0]}:{self.client[1]}"
        fields = {
            "method": self.verb,
            "path": self.path,
            "status": self.status,
            "bytes": size,
            "duration_ms": round(took / 1e6, 3),
            "client": client,
        }
        if self.protocol:
            fields["protocol"] = self.protocol
        if self.loaded is not None:
            fields["model_version"] = self.loaded.version
        token = current.set(self)
        access.info("%s %r %s %d bytes %.3f ms %s", *tuple(fields.values())[:6], extra=fields)
        current.reset(token)


class Observer:
    """Those who observe requests; `watching` tells the fast path whether there are any."""

    def __init__(self, model_name: str, access_log: bool = False, scheme: str = "http") -> None:
        self.model_name = model_name
        self.access_log = access_log
        self.scheme = scheme
        self.tracing: Tracer | None = None
        self.watching = access_log
        self.records: Records | None = None
        self.sample = 0.0
        """The share of requests in the prediction log."""

    def use(self, tracing: Tracer | None) -> None:
        self.tracing = tracing
        self.watching = self.access_log or tracing is not None

    def record(self, records: Records, sample: float) -> None:
        self.records, self.sample = records, sample

    def samples(self) -> bool:
        """Draws whether the prediction log records the next request; call it once for each."""
        return random() < self.sample  # noqa: S311 - there is nothing to gain from predicting it

    def begin(self, verb: str, path: str, headers: Iterable[tuple[bytes, bytes]], client: Any) -> Exchange:
        return Exchange(self, verb, path, headers, client)
