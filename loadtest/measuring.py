"""Runs one test, from the first request to the result."""

from __future__ import annotations

import asyncio
import datetime
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import uvloop

from loadtest import profiles, scrape, slo
from loadtest.clients import GrpcClient, HttpClient
from loadtest.offer import offer
from loadtest.outcome import LoadResult
from loadtest.results import Result
from loadtest.target import Target, UnusableTarget

VARIATIONS = 64
"""Number of different requests, which are sent in turn."""
MAX_REQUESTS = 50_000_000
"""Limit for one test: the due times must fit into memory."""
STOPS = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a test early; the measurements are kept."""


@dataclass(frozen=True, slots=True)
class MeasuringPlan:
    target: Target
    protocol: str = "v1"
    profile: str = "steady"
    rps: float = 100.0
    duration: float = 60.0
    slo: str = slo.DEFAULT
    rows: int = 1
    seed: int = 0
    timeout: float = 10.0
    warmup: float = 1.0
    metrics_url: str = ""
    say: Callable[[str], None] = field(default=lambda line: print(line, file=sys.stderr, flush=True))


def measure(plan: MeasuringPlan) -> Result:
    """Runs the test; raises `UnusableTarget` if it cannot start."""
    offered = plan.rps * plan.duration
    if offered > MAX_REQUESTS:
        raise UnusableTarget(f"{plan.rps:g} requests per second for {plan.duration:g} s are more than {MAX_REQUESTS:,}")
    due_times = profiles.due_times(plan.profile, plan.rps, plan.duration).tolist()
    if not due_times:
        raise UnusableTarget(f"no request is due within {plan.duration:g} s at {plan.rps:g} per second")
    objectives = slo.parse(plan.slo)
    payloads, vary = plan.target.payloads(plan.protocol, plan.rows, plan.seed, VARIATIONS)
    schema = plan.target.schema()
    if vary.value != "all values":
        plan.say(f"the model does not accept all values: varied is {vary.value}")
    result = Result(
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), plan.target.url, schema["model_name"],
        str(schema.get("model_version", "")), str(schema.get("flavor", "")), plan.protocol, plan.profile, plan.rps,
        plan.duration, plan.rows, plan.seed, vary.value, plan.slo, LoadResult(),
    )  # fmt: skip

    async def run() -> None:
        before = (profiles.due_times("ramp", plan.rps, plan.warmup) - plan.warmup).tolist()
        scrapes: list[tuple[float, str]] = []
        waiting: set[asyncio.Task[None]] = set()
        reported = 0.0
        stopped = False
        loop = asyncio.get_running_loop()

        def stop() -> None:
            """Stops after the requests in flight; a second signal stops at once."""
            nonlocal stopped
            stopped = True
            for one in STOPS:
                loop.remove_signal_handler(one)

        for one in STOPS:
            loop.add_signal_handler(one, stop)
        kind = GrpcClient if plan.protocol == "grpc" else HttpClient
        async with HttpClient(plan.target, plan.timeout) as http, kind(plan.target, plan.timeout) as client:

            async def scrape_metrics(at: float) -> None:
                status, text = await http.get(plan.metrics_url or f"{plan.target.url}/metrics")
                if status == 200:
                    scrapes.append((at, text))
                elif not scrapes:
                    result.server["missing"] = f"/metrics answers {status or text}"

            def watch(now: float) -> bool:
                nonlocal reported
                if stopped:
                    result.stopped = now
                    return False
                if now - reported < 1 or now < 0:
                    return True
                reported = now
                task = asyncio.create_task(scrape_metrics(now))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
                plan.say(progress(result.outcome, now, plan.duration))
                if plan.profile != "step":
                    return True
                # The previous step is judged once it is over.
                size = plan.duration / profiles.STEPS
                end = round(size * profiles.step_at(now / plan.duration))
                part = result.outcome.between(round(end - size), end)
                return not end or all(one.kept for one in part.checks(objectives))

            await offer(client, payloads, before, LoadResult(), lambda now: not stopped)
            if stopped:
                raise KeyboardInterrupt
            await scrape_metrics(0)
            began = time.perf_counter()
            await offer(client, payloads, due_times, result.outcome, watch)
            await asyncio.gather(*waiting)
            await scrape_metrics(time.perf_counter() - began)
        if len(scrapes) > 1:
            result.server = scrape.difference(sorted(scrapes), result.model)

    # gRPC's poller does not run in uvloop.
    asyncio.run(run()) if plan.protocol == "grpc" else uvloop.run(run())
    return result


def progress(outcome: LoadResult, now: float, duration: float) -> str:
    """One line about the last two seconds, most of whose responses have arrived."""
    recent = outcome.between(max(int(now) - 2, 0), int(now) + 1)
    latencies = recent.latencies
    times = (
        ", ".join(f"p{share:g} {slo.seconds(latencies.percentile(share / 100))}" for share in (50, 95, 99))
        if latencies.count
        else "no response yet"
    )
    errors = outcome.errors
    tail = f", {errors.total()} errors ({', '.join(sorted(errors))})" if errors else ""
    return f"{now:4.0f} s of {duration:.0f}: {outcome.offered} sent, {times}{tail}"
