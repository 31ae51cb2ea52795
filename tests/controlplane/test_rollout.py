"""The rollout as a state machine: whatever happens to it, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controlplane.actions import (
    Action,
    BeginStep,
    Fail,
    Judge,
    NextStep,
    PauseRollout,
    Promote,
    SplitTraffic,
    Succeed,
)
from controlplane.domain.rollouts import Strategy, StrategyConfig, plan_of
from controlplane.rollout import RolloutState, advance
from monitoring.verdict import Verdict

NOW = 1000.0
PLAN = plan_of("canary", StrategyConfig.model_validate({"steps": [5, 50], "interval": "1m", "skip_analysis": True}))
LATER = NOW + 600


def at(step: int, begun_at: float | None = None, paused: bool = False) -> RolloutState:
    return RolloutState(PLAN, 1, 2, step, begun_at, paused)


@pytest.mark.parametrize(
    ("state", "weights", "action"),
    [
        (at(0), {1: 100}, SplitTraffic({1: 95, 2: 5})),
        (at(0), {1: 95, 2: 5}, BeginStep()),
        (at(0, NOW - 59), {1: 95, 2: 5}, None),
        (at(0, NOW - 60), {1: 95, 2: 5}, NextStep()),
        (at(0, NOW - 10), {1: 100}, SplitTraffic({1: 95, 2: 5})),
        (at(1), {1: 95, 2: 5}, SplitTraffic({1: 50, 2: 50})),
        (at(2), {1: 50, 2: 50}, Promote(2)),
        (at(2), {2: 100}, Succeed()),
        # Paused: the weights stay as they are, and time does not count.
        (at(0, None, paused=True), {1: 100}, None),
        (at(0, NOW - 60, paused=True), {1: 95, 2: 5}, None),
        (at(1, NOW - 60, paused=True), {1: 95, 2: 5}, SplitTraffic({1: 50, 2: 50})),
        (at(2, None, paused=True), {1: 50, 2: 50}, None),
    ],
)  # fmt: skip
def test_the_next_action(state: RolloutState, weights: dict[int, int], action: Action | None) -> None:
    assert advance(state, weights, LATER, NOW).action == action


VERDICTS = st.sampled_from(["pass", "fail", "inconclusive"])
STRATEGIES = st.sampled_from([
    ("rolling", {}), ("canary", {"interval": 60}), ("canary", {"interval": 60, "inconclusive": "pause"}),
    ("linear", {"step_weight": 30, "interval": 60}), ("blue-green", {"interval": 0, "smoke": [{"path": "/"}]}),
    ("canary", {"steps": [0, 1, 99], "interval": 0, "skip_analysis": True}),
])  # fmt: skip


class RolloutMachine(RuleBasedStateMachine):
    """Carries out what is decided, or crashes before it is noted, while verdicts, people and time do what they like."""

    @initialize(strategy=STRATEGIES)
    def start(self, strategy: tuple[Strategy, dict[str, Any]]) -> None:
        plan = plan_of(strategy[0], StrategyConfig.model_validate(strategy[1]))
        self.state = RolloutState(plan, 1, 2)
        self.weights: dict[int, int] = {1: 100}
        self.now, self.deadline = NOW, NOW + 600
        self.passed: list[int] = []
        self.skipped: set[int] = set()
        self.ended: Action | None = None

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 60.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(paused=st.booleans())
    def person(self, paused: bool) -> None:
        if not self.ended and self.state.paused and not paused:
            self.deadline = self.now + 660
        self.state = replace(self.state, paused=paused)

    @rule()
    def promote(self) -> None:
        if self.state.current and not self.ended:
            self.skipped.add(self.state.step)
            self.following(paused=False)

    def following(self, **fields: Any) -> None:
        self.state = replace(self.state, step=self.state.step + 1, begun_at=None, verdict="inconclusive", **fields)

    @rule(verdict=VERDICTS, noted=st.booleans())
    def act(self, verdict: Verdict, noted: bool) -> None:
        if self.ended:
            return
        decision = advance(self.state, self.weights, self.deadline, self.now)
        match decision.action:
            case SplitTraffic(weights):
                assert sum(weights.values()) == 100
                assert weights.keys() <= {1, 2}
                self.weights = dict(weights)
            case Promote(revision):
                assert (revision, self.state.current) == (2, None)
                self.weights = {2: 100}
            case None:
                assert self.state.paused or (decision.again_at is not None and decision.again_at > self.now)
            case action if noted:
                self.note(action, verdict)

    def note(self, action: Action, verdict: Verdict) -> None:
        step = self.state.current
        match action:
            case BeginStep():
                assert step is not None
                assert self.weights == self.state.weights
                self.state, self.deadline = replace(self.state, begun_at=self.now), self.now + step.deadline
            case Judge():
                self.state = replace(self.state, looked_at=self.now, verdict=verdict)
            case NextStep():
                assert step is not None
                assert self.state.begun_at is not None
                assert self.now >= self.state.begun_at + step.interval
                assert not step.judged or self.state.verdict == "pass"
                self.passed.append(self.state.step)
                self.following()
            case PauseRollout():
                assert step is not None
                assert (step.inconclusive, self.state.verdict != "fail") == ("pause", True)
                self.state = replace(self.state, paused=True)
            case Fail():
                assert self.state.verdict == "fail" or self.now >= self.deadline
                self.ended = action
            case Succeed():
                self.ended = action

    @invariant()
    def all_requests_only_after_all_steps(self) -> None:
        done = set(self.passed) | self.skipped
        assert self.state.step == len(done)
        if self.weights == {2: 100} or isinstance(self.ended, Succeed):
            assert done == set(range(len(self.state.plan.steps)))

    @invariant()
    def a_revision_gets_no_more_than_its_step_says(self) -> None:
        allowed = self.state.weights.get(2, 0)
        assert self.weights.get(2, 0) <= allowed


TestRollout = RolloutMachine.TestCase
TestRollout.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
