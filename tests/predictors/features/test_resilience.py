"""Time, another try and the circuit breaker, with a store that does as it is told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from predictors.features import breaker as breakers
from predictors.features import opening
from predictors.features.breaker import State
from predictors.features.join import LookupPlan
from predictors.features.resilience import Resilient
from predictors.features.store import Catalogue, FeastRefused, FeastUnavailable, Feature, FeatureStatus, Fetched

FETCHED = Fetched({"view__x": [1]}, {"view__x": [FeatureStatus.FOUND]}, {"view__x": [0.0]})
Step = Callable[[], Awaitable[None]]


class ToldFailures:
    """Each lookup takes the next step; when there are none left, it is answered."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.lookups = 0

    async def open(self) -> Catalogue:
        return Catalogue(())

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        self.lookups += 1
        if self.steps:
            await self.steps.pop(0)()
        return FETCHED

    async def close(self) -> None:
        pass


async def unreachable() -> None:
    raise FeastUnavailable("unreachable", "connection reset")


async def refused() -> None:
    raise FeastRefused("no such feature")


async def for_ever() -> None:
    await asyncio.Event().wait()


async def bug() -> None:
    raise ZeroDivisionError("not ours")


def fetch(store: Resilient) -> Any:
    return store.fetch({"k": [1]}, ["view__x"])


async def reason_of(store: Resilient) -> str:
    with pytest.raises(FeastUnavailable) as failure:
        await fetch(store)
    return failure.value.reason


def test_another_try_within_the_time() -> None:
    async def run() -> None:
        told = ToldFailures(unreachable, unreachable)
        assert await fetch(Resilient(told, timeout=10, retries=2)) is FETCHED
        assert told.lookups == 3
        told = ToldFailures(unreachable, unreachable)
        assert await reason_of(Resilient(told, timeout=10, retries=1)) == "unreachable"
        assert told.lookups == 2

    asyncio.run(run())


def test_no_other_try_when_the_time_is_over() -> None:
    async def run() -> None:
        told = ToldFailures(for_ever)
        begun = time.monotonic()
        assert await reason_of(Resilient(told, timeout=0.05, retries=5)) == "timeout"
        assert 0.05 <= time.monotonic() - begun < 5
        assert told.lookups == 1
        told = ToldFailures(unreachable, unreachable)
        assert await reason_of(Resilient(told, timeout=0.01, retries=5)) == "unreachable"  # the pause is longer
        assert told.lookups == 1

    asyncio.run(run())


def test_the_time_is_for_all_tries_together() -> None:
    async def run() -> None:
        told = ToldFailures(unreachable, for_ever)
        begun = time.monotonic()
        assert await reason_of(Resilient(told, timeout=0.3, retries=5)) == "timeout"
        assert 0.3 <= time.monotonic() - begun < 5
        assert told.lookups == 2

    asyncio.run(run())


def test_a_refusal_is_no_failure_of_feast() -> None:
    async def run() -> None:
        told = ToldFailures(*[refused] * 5)
        store = Resilient(told, timeout=10, retries=3, failures=2)
        for _ in range(5):
            assert await reason_of(store) == "error"
        assert told.lookups == 5
        assert store.breaker.state is State.CLOSED

    asyncio.run(run())


def test_large_lookups_that_are_late_do_not_shut_out_others() -> None:
    async def run() -> None:
        store = Resilient(ToldFailures(for_ever, for_ever, for_ever), timeout=0.01, failures=2)
        for _ in range(3):
            with pytest.raises(FeastUnavailable, match=r"did not answer within 0\.01 s"):
                await store.fetch({"k": list(range(1000))}, ["view__x"])
        store.timeout = 10
        assert await fetch(store) is FETCHED

    asyncio.run(run())


def test_a_hundred_rows_that_are_late_are_failures_like_any_other() -> None:
    async def run() -> None:
        store = Resilient(ToldFailures(for_ever), timeout=0.01, failures=1)
        with pytest.raises(FeastUnavailable, match=r"did not answer within 0\.01 s"):
            await store.fetch({"k": list(range(100))}, ["view__x"])
        with pytest.raises(FeastUnavailable) as refused:
            await fetch(store)
        assert refused.value.reason == "circuit_open"

    asyncio.run(run())


def test_a_first_lookup_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opening, "PATIENCE", 0.05)
    with caplog.at_level(logging.WARNING, "predictors"):
        asyncio.run(
            opening.first_lookup(
                ToldFailures(for_ever), LookupPlan({"x": Feature("view", "x")}, {}, {}, frozenset(), {})
            )
        )
    assert caplog.messages == ["a first lookup of features failed: no answer within 0.05 s"]


class TestBreaker:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        class Clock:
            now = 1000.0

            def monotonic(self) -> float:
                return self.now

        made = Clock()
        monkeypatch.setattr(breakers, "time", made)
        return made

    def test_it_opens_tries_once_and_closes(self, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "predictors")

        async def run() -> None:
            told = ToldFailures(unreachable, unreachable, unreachable)
            store = Resilient(told, timeout=10, retries=0, failures=2, rest_seconds=5)
            assert [await reason_of(store) for _ in range(4)] == ["unreachable"] * 2 + ["circuit_open"] * 2
            assert told.lookups == 2
            clock.now += 5
            assert [await reason_of(store) for _ in range(2)] == ["unreachable", "circuit_open"]
            clock.now += 4.9
            assert await reason_of(store) == "circuit_open"
            clock.now += 0.1
            assert await fetch(store) is FETCHED
            assert store.breaker.state is State.CLOSED
            assert told.lookups == 4

        asyncio.run(run())
        assert [one.message for one in caplog.records if one.name == "predictors"] == [
            "Feast is given a rest of 5 s after 2 failures in a row: connection reset",
            "Feast answers again",
        ]

    def test_failures_that_are_not_in_a_row(self, clock: Any) -> None:
        async def run() -> None:
            told = ToldFailures(unreachable, refused, unreachable)
            store = Resilient(told, timeout=10, retries=0, failures=2)
            assert [await reason_of(store) for _ in range(3)] == ["unreachable", "error", "unreachable"]
            assert await fetch(store) is FETCHED

        asyncio.run(run())

    @pytest.mark.parametrize("leaves", [True, False], ids=["caller-leaves", "bug"])
    def test_a_try_without_an_end_gives_way_to_the_next(self, clock: Any, leaves: bool) -> None:
        async def run() -> None:
            store = Resilient(ToldFailures(unreachable, for_ever if leaves else bug), timeout=10, retries=0, failures=1)
            assert await reason_of(store) == "unreachable"
            clock.now += 5
            task = asyncio.ensure_future(fetch(store))
            await asyncio.sleep(0)
            if leaves:
                assert store.breaker.state is State.HALF_OPEN
                assert await reason_of(store) == "circuit_open"
                task.cancel()
            with pytest.raises(asyncio.CancelledError if leaves else ZeroDivisionError):
                await task
            assert await fetch(store) is FETCHED

        asyncio.run(run())

    def test_callers_that_leave_are_no_failures(self) -> None:
        async def run() -> None:
            store = Resilient(ToldFailures(*[for_ever] * 3), timeout=10, failures=1)
            for _ in range(3):
                task = asyncio.ensure_future(fetch(store))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await fetch(store) is FETCHED

        asyncio.run(run())

    def test_what_was_under_way_does_not_make_the_rest_longer(self, clock: Any) -> None:
        made = breakers.Breaker(1, 5)
        assert made.allows()
        assert made.allows()
        made.failed()
        clock.now += 4
        made.failed()
        clock.now += 1
        assert made.allows()

    def test_zero_is_never(self) -> None:
        made = breakers.Breaker(0, 5)
        for _ in range(100):
            made.failed()
        assert made.allows()
