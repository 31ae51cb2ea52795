"""Cases under load: all servers run, are checked and warmed up, and are then loaded in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from loadtest.peers import load, payloads
from loadtest.peers.cases import IN_PROCESS, BenchmarkCase
from loadtest.peers.client import PeerClient
from loadtest.peers.load import Burst, LoadedPort
from loadtest.peers.models import Saved
from loadtest.peers.pace import BenchmarkPace
from loadtest.peers.place import APPS, PYTHON, cores
from loadtest.peers.process import BenchmarkFailed, environment
from loadtest.peers.results import CaseResult
from loadtest.peers.servers import ECHO, PeerServer, Starter

T = TypeVar("T")

_UNITS = {"throughput": "req/s", "grpc": "req/s", "latency": "ms", "tail": "p99/p50", "big": "ms"}
_BODIES = {"throughput": 32, "grpc": 1, "latency": 32, "tail": 32, "big": 1}
_CLIENT_LIMIT = 0.9
_MAX_STANDSTILLS = 4


def measure(outcome: CaseResult, model: Saved, starter: Starter, pace: BenchmarkPace, work: Path) -> None:
    with _started(outcome, model, starter) as servers:
        turns = _Turns(outcome, model, servers, pace, work)
        turns.check()
        turns.warm_up()
        turns.measure()
    turns.report()


class _Turns:
    def __init__(
        self, outcome: CaseResult, model: Saved, servers: dict[str, PeerServer], pace: BenchmarkPace, work: Path
    ) -> None:
        self._outcome = outcome
        self._case: BenchmarkCase = outcome.case
        self._model = model
        self._servers = servers
        self._pace = pace
        self._work = work
        # Different rows in turn, so that a server cannot gain by caching its last response.
        self._batches = [model.rows(self._case.rows, seed) for seed in range(10, 10 + _BODIES[self._case.kind])]
        self._labels = [model.labels(batch) for batch in self._batches]
        self._posts = {
            who: [self._case.payload_for(who, batch) for batch in self._batches] for who in self._case.contenders
        }
        self._reply_bytes: dict[str, int] = {}
        self._values: dict[str, list[float]] = {who: [] for who in self._case.contenders}
        self._bursts: dict[str, list[Burst]] = {who: [] for who in self._case.contenders}

    def check(self) -> None:
        """Checks that every server returns the model's own labels for the rows of the case."""
        for who in self._outcome.present:
            if who != IN_PROCESS:
                self._try(who, partial(self._check, self._servers[who]))

    def warm_up(self) -> None:
        for who in self._outcome.present:
            self._outcome.progress.say(f"{who}: warm-up")
            self._try(who, partial(self._patient, who, self._pace.warm_up))

    def measure(self) -> None:
        for number in range(1, self._pace.rounds + 1):
            # Every other round is reversed, so that no server always follows the same one.
            for who in self._outcome.present[:: 1 if number % 2 else -1]:
                got = self._try(who, partial(self._undisturbed, who))
                if got is None:
                    continue
                if isinstance(got, Burst):
                    self._bursts[who].append(got)
                    self._outcome.see(number, who, **got.as_dict())
                else:
                    self._outcome.see(number, who, milliseconds=got)
                self._values[who].append(self._value(got))
                self._outcome.progress.say(f"round {number} of {self._pace.rounds}, {who}: {_burst_line(got)}")

    def report(self) -> None:
        for bar in self._case.bars:
            row = self._outcome.row(bar, _UNITS[self._case.kind], self._values)
            if not row.ratios or not self._case.higher_is_better or bar.peer is None:
                continue
            pairs = zip(self._bursts[bar.ours], self._bursts[bar.peer], strict=True)
            row.cpu_ratios = [mine.per_cpu_second / theirs.per_cpu_second for mine, theirs in pairs]
            busy = statistics.median(burst.client_busy for burst in self._bursts[bar.ours])
            if busy > _CLIENT_LIMIT:
                row.note = f"the load generator was the limit: {busy:.0%} of its core"

    def _try(self, who: str, action: Callable[[], T]) -> T | None:
        """Runs an action; a failure excludes its server from the case."""
        try:
            return action()
        except (BenchmarkFailed, OSError, ValueError, KeyError) as error:
            log = self._servers[who].child.tail() if who in self._servers else ""
            self._outcome.fail(who, f"{error}\n{log}")
            return None

    def _check(self, server: PeerServer) -> None:
        client = PeerClient(server.port)
        for batch, post, labels in zip(self._batches, self._posts[server.who], self._labels, strict=True):
            if self._case.kind == "grpc":
                reply = _grpc_reply(server, batch)
                got = payloads.grpc_labels(reply)
            else:
                reply, headers = client.post(post)
                got = post.read(reply, headers)
            expected = [0] * len(labels) if server.who == ECHO else labels
            if got != expected:
                raise BenchmarkFailed(f"{server.who} returns wrong labels: {got[:10]}, expected {expected[:10]}")
            self._reply_bytes[server.who] = len(reply)
        client.close()

    def _undisturbed(self, who: str) -> Burst | float:
        """The less disturbed of two bursts: on a shared machine others use a core now and then."""
        best = self._patient(who, self._pace.seconds)
        for _ in range(self._pace.repeats):
            if isinstance(best, float) or best.foreign <= load.DISTURBED:
                break
            again = self._patient(who, self._pace.seconds)
            if isinstance(again, Burst) and again.foreign < best.foreign:
                best = again
        return best

    def _patient(self, who: str, seconds: int) -> Burst | float:
        """A burst, and another one if nothing happened at all: virtual machines pause for seconds now and then."""
        for _ in range(_MAX_STANDSTILLS):
            try:
                return self._burst(who, seconds)
            except load.NoReply:
                self._outcome.progress.say(f"{who}: no response and no error, repeated")
        return self._burst(who, seconds)

    def _burst(self, who: str, seconds: int) -> Burst | float:
        if who == IN_PROCESS:
            return self._in_process(seconds)
        server, calls = self._servers[who], self._case.connections
        if self._case.kind == "grpc":
            target = LoadedPort(server.child, server.grpc_port, self._work)
            body = payloads.grpc_request(self._batches[0])
            return load.grpc(target, body, self._reply_bytes[who], calls=calls, seconds=seconds)
        target = LoadedPort(server.child, server.port, self._work)
        return load.wrk(target, self._posts[who], connections=calls, seconds=seconds)

    def _in_process(self, seconds: int) -> float:
        """The median milliseconds of the request's bare work, on the servers' core."""
        body = self._work / "big.json"
        body.write_bytes(self._posts[IN_PROCESS][0].body)
        argv = ["taskset", "-c", str(cores()[0]), str(PYTHON), str(APPS / "baseline.py")]
        argv += [f"--model={self._model.folder / 'model.pkl'}", f"--body={body}", f"--seconds={seconds}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment())  # noqa: S603
        if done.returncode:
            raise BenchmarkFailed(f"the in-process baseline failed: {done.stderr[-1500:]}")
        printed = json.loads(done.stdout.rpartition("@")[2])
        if printed["labels"] != self._labels[0]:
            raise BenchmarkFailed("the in-process baseline gives other labels than the model")
        return float(printed["median_ms"])

    def _value(self, got: Burst | float) -> float:
        if isinstance(got, float):
            return got
        if self._case.higher_is_better:
            return got.requests_per_second
        return got.p99 / got.p50 if self._case.kind == "tail" else got.p50


@contextmanager
def _started(outcome: CaseResult, model: Saved, starter: Starter) -> Iterator[dict[str, PeerServer]]:
    servers: dict[str, PeerServer] = {}
    try:
        contenders = [who for who in outcome.present if who != IN_PROCESS]
        outcome.progress.say("starting " + "; ".join(contenders))
        for who in contenders:
            servers[who] = starter.start(who, model)
        for who, server in servers.items():
            try:
                server.wait_ready()
            except BenchmarkFailed as error:
                outcome.fail(who, str(error))
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def _burst_line(got: Burst | float) -> str:
    if isinstance(got, float):
        return f"{got:.2f} ms"
    disturbed = f", others used {got.foreign:.0%} of a core" if got.foreign > load.DISTURBED else ""
    return f"{got.requests_per_second:,.0f} req/s, p50 {got.p50:.2f} ms, p99 {got.p99:.2f} ms{disturbed}"


def _grpc_reply(server: PeerServer, data: payloads.Rows) -> bytes:
    """The response that gRPC's own client gets."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            return bytes(infer(payloads.grpc_request(data), timeout=30, wait_for_ready=True))
        except grpc.RpcError as error:
            raise BenchmarkFailed(f"gRPC answered {error}") from error
