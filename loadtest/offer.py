"""Sends each request when it is due, whether the server keeps up or not.

Latency counts from when a request was due, not from when it could be sent, so a server that stalls cannot hide the
requests that had to wait (coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from loadtest.outcome import LoadResult
from loadtest.payloads import Payload

MAX_UNANSWERED = 10_000
"""Requests in flight above which no more are sent; those due then count as errors."""
UNANSWERED = "too many unanswered"


class LoadClient(Protocol):
    async def send(self, payload: Payload) -> str: ...


async def offer(
    client: LoadClient,
    payloads: Sequence[Payload],
    due_times: Sequence[float],
    outcome: LoadResult,
    watch: Callable[[float], bool] = lambda now: True,
    max_unanswered: int = MAX_UNANSWERED,
) -> None:
    """Sends a request at each of `due_times`; those before 0 are a warm-up and not counted.

    `watch` is called four times a second and returns whether to continue.
    """
    began = time.perf_counter() - (due_times[0] if len(due_times) else 0)
    tasks: set[asyncio.Task[None]] = set()
    watched, number = 0.0, 0

    async def send(payload: Payload, due: float) -> None:
        lag = time.perf_counter() - began - due
        try:
            error = await client.send(payload)
        except Exception as failed:  # of any kind: every request must be counted
            error = type(failed).__name__
        if due >= 0:
            outcome.lags.add(lag)
            note(due, error)

    def note(due: float, error: str) -> None:
        if error:
            outcome.at(due).errors[error] += 1
        else:
            outcome.at(due).latencies.add(time.perf_counter() - began - due)

    gc.collect()
    gc.freeze()
    gc.disable()  # a pause of this process would look like one of the server
    try:
        while number < len(due_times):
            now = time.perf_counter() - began
            while number < len(due_times) and due_times[number] <= now:
                due = float(due_times[number])
                if due >= 0:
                    outcome.at(due).offered += 1
                if len(tasks) < max_unanswered:
                    task = asyncio.create_task(send(payloads[number % len(payloads)], due))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                elif due >= 0:
                    note(due, UNANSWERED)
                number += 1
            if now - watched > 0.25:
                watched = now
                if not watch(now):
                    break
            if number < len(due_times):
                # At least a millisecond: requests due within it are sent together, and their lag is counted.
                wait = due_times[number] - (time.perf_counter() - began)
                await asyncio.sleep(min(max(wait, 0.001), 0.25))
        if tasks:
            await asyncio.wait(tasks)  # each has its own time limit
    finally:
        gc.enable()
        gc.unfreeze()
