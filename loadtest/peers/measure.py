"""Measures a case in the way of its kind."""

from __future__ import annotations

from pathlib import Path

from loadtest.peers import bursts, lifecycle
from loadtest.peers.cases import IN_PROCESS, BenchmarkCase
from loadtest.peers.models import Models
from loadtest.peers.pace import BenchmarkPace
from loadtest.peers.progress import Progress
from loadtest.peers.results import CaseResult
from loadtest.peers.servers import Starter

_ONE_AT_A_TIME = {"start": lifecycle.starts, "memory": lifecycle.memory, "workers": lifecycle.workers}


class Measure:
    def __init__(self, starter: Starter, models: Models, pace: BenchmarkPace, work: Path, progress: Progress) -> None:
        self._starter = starter
        self._models = models
        self._pace = pace
        self._work = work
        self._progress = progress

    def run(self, case: BenchmarkCase) -> CaseResult:
        outcome = CaseResult(case, self._progress)
        for who in case.contenders:
            reason = None if who == IN_PROCESS else self._starter.unavailable(who)
            if reason:
                outcome.leave_out(who, reason)
        model = self._models.get(case.model)
        if case.kind in _ONE_AT_A_TIME:
            _ONE_AT_A_TIME[case.kind](outcome, model, self._starter, self._pace)
        else:
            bursts.measure(outcome, model, self._starter, self._pace, self._work)
        return outcome
