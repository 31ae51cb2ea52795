"""`python -m loadtest.overload`: measures a server at five times its capacity.

Callers that wait for their responses first measure the capacity. Then five times as many requests are sent, whether the
server keeps up or not. The server has one core, the load generator another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from loadtest.offered import OpenLoopGrpcClient, OpenLoopHttpClient, OpenLoopResult, closed_loop, open_loop
from loadtest.peers import load, payloads
from loadtest.peers.client import status
from loadtest.peers.machine import machine
from loadtest.peers.models import Models, rows
from loadtest.peers.place import PYTHON, ROOT, cores, stay_off_the_servers_core
from loadtest.peers.ports import free_port
from loadtest.peers.process import BenchmarkFailed, Child, stop_all

PAGE = ROOT / "docs" / "benchmarks" / "overload.md"
SPINNING = Path(__file__).with_name("spinning.py")
FACTOR = 5
CALLERS = 16
CONNECTIONS = (16, 64, 256, 1000)
MIB = 1024**2


@dataclass(slots=True)
class OverloadRun:
    protocol: str
    flags: str
    capacity: float
    result: OpenLoopResult
    capacity_per_cpu: float
    overloaded_per_cpu: float = 0.0
    """Correct responses per second of processor time, which a busy neighbour does not change."""
    memory: list[int] = field(default_factory=list)
    """Bytes before, at most, and after."""
    health: list[float] = field(default_factory=list)
    """Seconds that liveness probes took under overload."""

    def row(self) -> str:
        refused = "UNAVAILABLE" if self.protocol == "gRPC" else "503"
        result, skip = self.result, self.result.seconds / 5
        good = result.rate("200", skip)
        others = sum(map(len, result.latencies.values())) - result.count("200") - result.count(refused)
        per_cpu = self.overloaded_per_cpu / self.capacity_per_cpu
        answered, refusals = times(result, "200"), times(result, refused)
        before, most, after = (round(one / MIB) for one in self.memory)
        return (
            f"| {self.protocol} | {self.flags} | {self.capacity:,.0f} | {result.offered / result.seconds:,.0f} "
            f"| {good:,.0f} | **{good / self.capacity:.0%}** | {per_cpu:.0%} | {answered} | {refusals} | {others} "
            f"| {result.without_hint} | {max(self.health, default=0) * 1e3:,.0f} | {before} / {most} / {after} |"
        )


COLUMNS = (
    "protocol", "settings", "capacity", "offered", "answered", "of capacity", "per CPU second",
    "answered: p50 / p99 ms", "refused: p50 / p99 ms", "other", "no Retry-After", "health, max ms",
    "MiB before / max / after",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def times(result: OpenLoopResult, status: str) -> str:
    if not result.count(status):
        return "–"
    return f"{result.percentile(status, 0.5) * 1e3:,.0f} / {result.percentile(status, 0.99) * 1e3:,.0f}"


@contextlib.contextmanager
def served(folder: Path, work: Path, *flags: str) -> Iterator[tuple[Child, int, int]]:
    http, grpc = free_port(), free_port()
    argv = [str(PYTHON), "-m", "predictors.mlflow", f"--model-uri={folder}", f"--model-name={payloads.MODEL}"]
    argv += ["--host=127.0.0.1", f"--http-port={http}", f"--grpc-port={grpc}", *flags]
    child = Child(argv, cores()[0], work / "server.log", ROOT)
    try:
        while status(http, "/v2/health/ready") != 200:
            if child.exited() is not None or time.perf_counter() - child.started > 120:
                raise BenchmarkFailed(f"the server is not ready:\n{child.tail()}")
            time.sleep(0.05)
        yield child, http, grpc
    finally:
        child.stop()


async def overload(child: Child, http: int, grpc: int, protocol: str, flags: str, seconds: float) -> OverloadRun:
    client: Any = (
        OpenLoopGrpcClient(grpc, payloads.MODEL) if protocol == "gRPC" else OpenLoopHttpClient(http, payloads.V1_PATH)
    )
    health = OpenLoopHttpClient(http, "")
    await closed_loop(client, CALLERS, 1)
    began = child.cpu_seconds()
    before = await closed_loop(client, CALLERS, seconds / 2)
    memory, capacity = [child.pss_bytes()], before.rate("200", seconds / 8)
    capacity_per_cpu = before.count("200") / (child.cpu_seconds() - began)
    asking: set[asyncio.Task[None]] = set()
    run = OverloadRun(protocol, flags, capacity, OpenLoopResult(), capacity_per_cpu)

    async def ask() -> None:
        began = time.perf_counter()
        if await health.get("/v2/health/live") != "200":
            raise BenchmarkFailed("the server is not alive")
        run.health.append(time.perf_counter() - began)

    def watch() -> None:
        memory.append(child.pss_bytes())
        asking.add(asyncio.create_task(ask()))

    began = child.cpu_seconds()
    run.result = await open_loop(client, FACTOR * capacity, seconds, watch)
    run.overloaded_per_cpu = run.result.count("200") / (child.cpu_seconds() - began)
    await asyncio.gather(*asking)
    run.memory = [memory[0], max(memory), child.pss_bytes()]
    await client.close()
    await health.close()
    return run


def slow_model(work: Path, seconds: float) -> list[OverloadRun]:
    """The slow model, over both protocols, with default settings and with a shorter wait."""
    folder, runs = work / "spinning", []
    save(folder)
    for flags in ([], ["--max-wait=0.2"]):
        with served(folder, work, *flags) as (child, http, grpc):
            for protocol in ("V1", "gRPC"):
                words = " ".join(flags) or "default"
                say(f"{protocol}, a slow model, settings: {words}")

                run = overload(child, http, grpc, protocol, words, seconds)
                runs.append(asyncio.run(run) if protocol == "gRPC" else uvloop.run(run))
                say(runs[-1].row())
    return runs


def fast_model(work: Path, seconds: int) -> list[str]:
    """A model faster than the load generator, under a growing number of connections that wait for their responses."""
    model = Models(work).get("lr")
    lines = []
    posts = [payloads.v1(rows(1, seed)) for seed in range(8)]
    with served(model.folder, work) as (child, http, _):
        target = load.LoadedPort(child, http, work)
        load.wrk(target, posts, connections=CALLERS, seconds=1)
        for connections in CONNECTIONS:
            burst = load.wrk(target, posts, connections=connections, seconds=seconds)
            line = f"| {connections:,} | {burst.requests_per_second:,.0f} | {burst.p50:.1f} | {burst.p99:.1f} "
            lines.append(f"{line}| {child.pss_bytes() / MIB:.0f} |")
            say(lines[-1])
    return lines


def save(folder: Path) -> None:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    numbers = ModelSignature(Schema([ColSpec("double", "x")]), Schema([ColSpec("double")]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(folder, python_model=str(SPINNING), signature=numbers, pip_requirements=[])


def page(runs: list[OverloadRun], crowds: list[str], seconds: float) -> str:
    about = "\n".join(f"- {name}: {what}" for name, what in machine(ROOT).items())
    return f"""# Five times the capacity

Measured on {time.strftime("%Y-%m-%d")} by `make overload`. [Overload](../overload.md) explains the results and
how to set the limits.

## A model that takes milliseconds

A custom Python model computes for some milliseconds and holds the interpreter meanwhile. First, {CALLERS} callers that
wait for their responses measure the capacity in requests per second. Then {FACTOR} times as many requests are offered
for {seconds:g} s at a constant rate. Latencies count from when a request was due. "Per CPU second" compares correct
responses per second of the server's processor time with those without overload, which a busy neighbour does not
change. "Other" counts wrong results, lost connections, other statuses and requests without a response.

{HEAD}
{chr(10).join(run.row() for run in runs)}

## A model that takes microseconds

`wrk` sends requests to scikit-learn's LogisticRegression, served by its engine, over a growing number of connections,
each of which waits for its response. The server's queue cannot grow here: a request is answered as soon as it is read,
and waiting requests stay in the sockets, one per connection. The number of connections bounds the latency, and no
request is refused.

| connections | requests per second | p50 ms | p99 ms | MiB |
|---|---|---|---|---|
{chr(10).join(crowds)}

## The machine

{about}
"""


def say(words: str) -> None:
    sys.stderr.write(words + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.overload", description="Measures a server at five times its capacity."
    )
    parser.add_argument(
        "--quick", action="store_true", help="a short run within a minute, which does not write the page"
    )
    options = parser.parse_args()
    seconds = 4.0 if options.quick else 20.0
    stay_off_the_servers_core()
    work = Path(tempfile.mkdtemp(prefix="overload-"))
    try:
        runs, crowds = slow_model(work, seconds), fast_model(work, 2 if options.quick else 5)
        text = page(runs, crowds, seconds)
    except (BenchmarkFailed, subprocess.SubprocessError) as error:
        say(str(error))
        return 1
    finally:
        stop_all()
        shutil.rmtree(work, ignore_errors=True)
    if options.quick:
        sys.stdout.write(text)
    else:
        PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
