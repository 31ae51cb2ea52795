"""Work in threads that nobody waits for any more: it ends at its next step, and its memory goes back."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from predictors.queueing.thread_slots import PredictionThreads, ThreadSlots, stop_if_abandoned


class Steps:
    """Work of two steps, between which it waits for the test."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.reached: list[str] = []
        self.memory: weakref.ref[Any] | None = None

    def run(self) -> str:
        held = np.zeros(1000)
        self.memory = weakref.ref(held)
        try:
            self.reached.append("first")
            self.begun.set()
            assert self.go_on.wait(10)
            stop_if_abandoned()
            self.reached.append("second")
        finally:
            self.ended.set()
        return f"{len(held)} values"


def in_loop(test: Callable[[ThreadSlots], Any]) -> None:
    with PredictionThreads(1) as executor:
        asyncio.run(test(ThreadSlots(executor, 1)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_work_goes_on_while_somebody_waits() -> None:
    async def run(slots: ThreadSlots) -> None:
        steps = Steps()
        steps.go_on.set()
        assert await slots.run(steps.run, lambda: lambda: None) == "1000 values"
        assert steps.reached == ["first", "second"]

    in_loop(run)


def test_work_that_is_given_up_ends_at_its_next_step() -> None:
    async def run(slots: ThreadSlots) -> None:
        steps, released = Steps(), threading.Event()
        task = asyncio.create_task(slots.run(steps.run, lambda: released.set))
        await until(steps.begun.is_set)
        gc.disable()
        try:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not released.is_set()
            steps.go_on.set()
            await until(released.is_set)
            assert steps.reached == ["first"]
            assert steps.memory is not None
            del task
            await until(lambda: steps.memory() is None)  # type: ignore[misc]  # without a collection of garbage
        finally:
            gc.enable()
        # The next work of the same thread is not given up.
        assert await slots.run(lambda: stop_if_abandoned() or "done", lambda: lambda: None) == "done"  # type: ignore[func-returns-value]

    in_loop(run)


def test_nothing_is_given_up_outside_of_such_threads() -> None:
    stop_if_abandoned()
