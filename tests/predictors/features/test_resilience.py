"""Timeouts, retries and the circuit breaker, with a scripted store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from predictors.features import breaker as breakers
from predictors.features import open_features as opening
from predictors.features.breaker import State
from predictors.features.join import LookupPlan
from predictors.features.resilience import ResilientStore
from predictors.features.store import Catalogue, FeastRefused, FeastUnavailable, Feature, FeatureStatus, Fetched

FETCHED = Fetched({"view__x": [1]}, {"view__x": [FeatureStatus.FOUND]}, {"view__x": [0.0]})
Step = Callable[[], Awaitable[None]]


class ScriptedStore:
    """Each lookup runs the next step; without one it succeeds."""

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


async def hang() -> None:
    await asyncio.Event().wait()


async def bug() -> None:
    raise ZeroDivisionError("not ours")


def fetch(store: ResilientStore) -> Any:
    return store.fetch({"k": [1]}, ["view__x"])


async def reason_of(store: ResilientStore) -> str:
    with pytest.raises(FeastUnavailable) as failure:
        await fetch(store)
    return failure.value.reason


def test_retries_within_the_timeout() -> None:
    async def run() -> None:
        store = ScriptedStore(unreachable, unreachable)
        assert await fetch(ResilientStore(store, timeout=10, retries=2)) is FETCHED
        assert store.lookups == 3
        store = ScriptedStore(unreachable, unreachable)
        assert await reason_of(ResilientStore(store, timeout=10, retries=1)) == "unreachable"
        assert store.lookups == 2

    asyncio.run(run())


def test_no_retry_after_the_timeout() -> None:
    async def run() -> None:
        store = ScriptedStore(hang)
        started = time.monotonic()
        assert await reason_of(ResilientStore(store, timeout=0.05, retries=5)) == "timeout"
        assert 0.05 <= time.monotonic() - started < 5
        assert store.lookups == 1
        store = ScriptedStore(unreachable, unreachable)
        assert await reason_of(ResilientStore(store, timeout=0.01, retries=5)) == "unreachable"  # the pause is longer
        assert store.lookups == 1

    asyncio.run(run())


def test_the_timeout_is_for_all_attempts_together() -> None:
    async def run() -> None:
        store = ScriptedStore(unreachable, hang)
        started = time.monotonic()
        assert await reason_of(ResilientStore(store, timeout=0.3, retries=5)) == "timeout"
        assert 0.3 <= time.monotonic() - started < 5
        assert store.lookups == 2

    asyncio.run(run())


def test_a_refusal_does_not_open_the_circuit() -> None:
    async def run() -> None:
        scripted = ScriptedStore(*[refused] * 5)
        store = ResilientStore(scripted, timeout=10, retries=3, failures=2)
        for _ in range(5):
            assert await reason_of(store) == "error"
        assert scripted.lookups == 5
        assert store.breaker.state is State.CLOSED

    asyncio.run(run())


def test_timeouts_of_large_lookups_do_not_open_the_circuit() -> None:
    async def run() -> None:
        store = ResilientStore(ScriptedStore(hang, hang, hang), timeout=0.01, failures=2)
        for _ in range(3):
            with pytest.raises(FeastUnavailable, match=r"did not answer within 0\.01 s"):
                await store.fetch({"k": list(range(1000))}, ["view__x"])
        store.timeout = 10
        assert await fetch(store) is FETCHED

    asyncio.run(run())


def test_timeouts_of_a_hundred_rows_open_the_circuit() -> None:
    async def run() -> None:
        store = ResilientStore(ScriptedStore(hang), timeout=0.01, failures=1)
        with pytest.raises(FeastUnavailable, match=r"did not answer within 0\.01 s"):
            await store.fetch({"k": list(range(100))}, ["view__x"])
        with pytest.raises(FeastUnavailable) as refused:
            await fetch(store)
        assert refused.value.reason == "circuit_open"

    asyncio.run(run())


def test_the_first_lookup_has_a_timeout(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(opening, "OPEN_TIMEOUT", 0.05)
    with caplog.at_level(logging.WARNING, "predictors"):
        asyncio.run(
            opening.warm_up(ScriptedStore(hang), LookupPlan({"x": Feature("view", "x")}, {}, {}, frozenset(), {}))
        )
    assert caplog.messages == ["the first feature lookup failed: no answer within 0.05 s"]


class TestBreaker:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        class Clock:
            now = 1000.0

            def monotonic(self) -> float:
                return self.now

        clock = Clock()
        monkeypatch.setattr(breakers, "time", clock)
        return clock

    def test_it_opens_admits_a_trial_and_closes(self, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "predictors")

        async def run() -> None:
            scripted = ScriptedStore(unreachable, unreachable, unreachable)
            store = ResilientStore(scripted, timeout=10, retries=0, failures=2, open_seconds=5)
            assert [await reason_of(store) for _ in range(4)] == ["unreachable"] * 2 + ["circuit_open"] * 2
            assert scripted.lookups == 2
            clock.now += 5
            assert [await reason_of(store) for _ in range(2)] == ["unreachable", "circuit_open"]
            clock.now += 4.9
            assert await reason_of(store) == "circuit_open"
            clock.now += 0.1
            assert await fetch(store) is FETCHED
            assert store.breaker.state is State.CLOSED
            assert scripted.lookups == 4

        asyncio.run(run())
        assert [one.message for one in caplog.records if one.name == "predictors"] == [
            "no feature lookups for 5 s after 2 failures in a row: connection reset",
            "Feast answers again",
        ]

    def test_failures_that_are_not_in_a_row(self, clock: Any) -> None:
        async def run() -> None:
            scripted = ScriptedStore(unreachable, refused, unreachable)
            store = ResilientStore(scripted, timeout=10, retries=0, failures=2)
            assert [await reason_of(store) for _ in range(3)] == ["unreachable", "error", "unreachable"]
            assert await fetch(store) is FETCHED

        asyncio.run(run())

    @pytest.mark.parametrize("leaves", [True, False], ids=["caller-leaves", "bug"])
    def test_an_undecided_trial_is_followed_by_another(self, clock: Any, leaves: bool) -> None:
        async def run() -> None:
            store = ResilientStore(
                ScriptedStore(unreachable, hang if leaves else bug), timeout=10, retries=0, failures=1
            )
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

    def test_cancelled_lookups_are_no_failures(self) -> None:
        async def run() -> None:
            store = ResilientStore(ScriptedStore(*[hang] * 3), timeout=10, failures=1)
            for _ in range(3):
                task = asyncio.ensure_future(fetch(store))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await fetch(store) is FETCHED

        asyncio.run(run())

    def test_failures_of_earlier_lookups_do_not_keep_it_open_longer(self, clock: Any) -> None:
        breaker = breakers.Breaker(1, 5)
        assert breaker.allows()
        assert breaker.allows()
        breaker.failed()
        clock.now += 4
        breaker.failed()
        clock.now += 1
        assert breaker.allows()

    def test_zero_is_never(self) -> None:
        breaker = breakers.Breaker(0, 5)
        for _ in range(100):
            breaker.failed()
        assert breaker.allows()
