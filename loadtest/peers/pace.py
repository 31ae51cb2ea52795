"""Durations and repetitions of the full run and of the quick one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtest.peers.cases import BenchmarkCase
from loadtest.peers.servers import ECHO, MLFLOW, MLSERVER


@dataclass(frozen=True, slots=True)
class BenchmarkPace:
    # Whole seconds: wrk counts in them.
    seconds: int
    warm_up: int
    rounds: int
    memory_rounds: int
    # How often a burst that others disturbed is repeated.
    repeats: int
    # Cases that would end later than this many seconds after the start are left out.
    budget: float = math.inf


FULL = BenchmarkPace(seconds=3, warm_up=1, rounds=5, memory_rounds=3, repeats=1)
QUICK = BenchmarkPace(seconds=1, warm_up=1, rounds=3, memory_rounds=1, repeats=1, budget=270)

# Approximate seconds until ready, when several servers start on one core.
_DEFAULT_START_SECONDS = 4.0
_START_SECONDS = {MLFLOW: 9.0, MLSERVER: 5.0, ECHO: 0.5}
_THOUSAND_REQUESTS = 4.0


def estimate(case: BenchmarkCase, pace: BenchmarkPace) -> float:
    """Seconds that a case will take, roughly."""
    starting = sum(_START_SECONDS.get(who, _DEFAULT_START_SECONDS) for who in case.contenders)
    if case.kind == "start":
        return starting * (pace.rounds + 1)
    if case.kind in ("memory", "workers"):
        return pace.memory_rounds * (starting + _THOUSAND_REQUESTS) * (3 if case.kind == "workers" else 1)
    return starting + len(case.contenders) * (pace.warm_up + pace.rounds * (pace.seconds + 0.2))
