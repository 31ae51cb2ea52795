"""Limits on the requests that wait for the model: a request that would wait too long is refused at once.

A queue absorbs bursts. Under a lasting overload it only grows: everyone waits, callers give up, and their answers are
computed for nothing. So requests, their bytes, and the time that a new one would have to wait are all limited.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from math import ceil, inf
from types import TracebackType
from typing import Any, cast

from predictors.protocol.errors import Overloaded, TimedOut
from predictors.queueing.byte_budget import ByteBudget
from predictors.queueing.settings import AdmissionSettings
from predictors.telemetry.metrics import refusal_counter, waiting_gauges

SWEEP_INTERVAL = 0.05  # seconds between checks for requests whose time has passed
MIN_LIMIT = 64  # requests that are admitted however slow the model is: load tests have 50 callers
MIN_PACE_REQUESTS, MAX_PACE_SECONDS = 8, 1.0  # a pace is measured over so many requests, or so long
MAX_PACE_AGE = 10.0  # seconds; an older pace is out of date
MAX_RETRY_SECONDS = 60  # clients that are told to wait longer may never come back


class Ticket:
    """A request that waits or runs."""

    __slots__ = ("deadline", "expire", "expired")

    def __init__(self, deadline: float, expire: Callable[[], object] | None) -> None:
        self.deadline = deadline
        self.expire = expire
        self.expired = False


class AdmissionSlot:
    """The ticket of a task, which is cancelled when its time has passed."""

    def __init__(self, admission: Admission, seconds: float) -> None:
        self.admission = admission
        self.task = cast("asyncio.Task[Any]", asyncio.current_task())
        self.ticket = admission.enter(self.task.cancel, seconds)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.admission.leave(self.ticket, done=not isinstance(error, asyncio.CancelledError))
        if self.ticket.expired and self.task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise self.admission.timed_out() from None


class ServiceRate:
    """The rate at which requests complete while others are queued: it gives the time to work off a queue."""

    def __init__(self) -> None:
        self.seconds_each = 0.0
        """0 if no request had to wait lately."""
        self.ended = 0
        self._before = 0
        self._since: float | None = None
        self._measured = 0.0

    def update(self, now: float, *, queued: bool) -> None:
        if not queued:
            self._since = None
            self.forget_old(now)
            return
        if self._since is None:
            self._since, self._before = now, self.ended
            return
        ended, seconds = self.ended - self._before, now - self._since
        if ended >= MIN_PACE_REQUESTS or seconds >= MAX_PACE_SECONDS:
            each = seconds / max(ended, 1)
            self.seconds_each = (self.seconds_each + each) / 2 if self.seconds_each else each
            self._since, self._before, self._measured = now, self.ended, now

    def forget_old(self, now: float) -> None:
        if now - self._measured > MAX_PACE_AGE:
            self.seconds_each = 0.0


class Admission:
    """The admission control of one process; used on the event loop only."""

    def __init__(self, settings: AdmissionSettings, parallel: int, queued: Callable[[], int]) -> None:
        self.name = settings.model_name
        self.max_in_flight = settings.max_in_flight
        self.max_wait = settings.max_wait or inf
        self.timeout = settings.request_timeout or inf
        self.byte_budget = ByteBudget(settings.max_in_flight_bytes or 4 * settings.max_body)
        self.parallel = parallel
        """How many requests run at a time."""
        self.queued = queued
        self.pace = ServiceRate()
        self.limit = self.max_in_flight
        """Requests that may be in flight at the current pace."""
        self.tickets: dict[Ticket, None] = {}
        self.expected = 0
        self._sweeping = False

    @property
    def full(self) -> bool:
        if len(self.tickets) + self.expected < self.limit:
            return False
        self.refresh()
        return len(self.tickets) + self.expected >= self.limit

    def refresh(self) -> None:
        """Updates the limit after an idle time, during which no sweep has discarded an old pace."""
        if not self._sweeping:
            self.pace.forget_old(time.monotonic())
            self.set_limit()

    def expect(self) -> None:
        """Counts a request before its task enters, so that the limit holds within one iteration of the event loop."""
        if not self.expected:
            asyncio.get_running_loop().call_soon(self._expect_none)
        self.expected += 1

    def _expect_none(self) -> None:
        self.expected = 0

    def enter(self, expire: Callable[[], object] | None, seconds: float = inf) -> Ticket:
        """Admits a request whose caller waits for `seconds`; `expire` is called when its time has passed."""
        self.refresh()
        ahead, now = len(self.tickets), time.monotonic()
        if ahead >= self.limit:
            raise self.overloaded()
        patience = min(seconds, self.timeout)
        if (ahead - self.parallel) * self.pace.seconds_each > patience:
            raise self.refused("deadline")
        ticket = Ticket(now + patience, expire)
        self.tickets[ticket] = None
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._sweep)
        return ticket

    def leave(self, ticket: Ticket, *, done: bool = True) -> None:
        """`done`: the request ran to its end; abandoned ones do not count towards the pace."""
        del self.tickets[ticket]
        self.pace.ended += done

    def slot(self, seconds: float = inf) -> AdmissionSlot:
        return AdmissionSlot(self, seconds)

    def hold(self) -> Callable[[], None]:
        """Holds a slot for abandoned work that cannot be stopped; returns the function that releases it."""
        ticket = Ticket(inf, None)
        self.tickets[ticket] = None
        return lambda: self.leave(ticket)

    # -- refusals -----------------------------------------------------------------------------------------------

    def overloaded(self) -> Overloaded:
        return self.refused("requests" if len(self.tickets) >= self.max_in_flight else "wait")

    def out_of_bytes(self) -> Overloaded:
        return self.refused("bytes")

    def refused(self, reason: str) -> Overloaded:
        refusal_counter(self.name, reason).inc()
        return Overloaded(MESSAGES[reason], min(max(1, ceil(self.wait)), MAX_RETRY_SECONDS))

    def timed_out(self) -> TimedOut:
        return TimedOut(f"the request was not answered within its time (--request-timeout is {self.timeout:g} s)")

    @property
    def wait(self) -> float:
        """Seconds that a request would wait if it came now."""
        return max(0, len(self.tickets) - self.parallel) * self.pace.seconds_each

    def set_limit(self) -> None:
        each = self.pace.seconds_each
        fits = self.parallel + self.max_wait / each if each else inf
        self.limit = int(min(self.max_in_flight, max(MIN_LIMIT, fits)))

    # -- time ---------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        now = time.monotonic()
        queued = self.queued()
        self.pace.update(now, queued=queued > 0)
        self.set_limit()
        for ticket in [one for one in self.tickets if one.deadline <= now and not one.expired]:
            ticket.expired = True
            if ticket.expire is not None:
                ticket.expire()
        waiting, held, wait = waiting_gauges(self.name)
        waiting.set(queued)
        held.set(self.byte_budget.held)
        wait.set(self.wait)
        # Small requests wait without a ticket: the gauge must not keep its last value for them.
        self._sweeping = bool(self.tickets or self.byte_budget.held or queued)
        if self._sweeping:
            asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._sweep)


MESSAGES: Mapping[str, str] = {
    "requests": "too many requests are waiting (--max-in-flight); try again later",
    "wait": "the model is busy and the request would wait too long (--max-wait); try again later",
    "deadline": "the model is busy and the request could not be answered within its time; try again later",
    "bytes": "the requests that are on their way hold too many bytes (--max-in-flight-bytes); try again later",
}
