"""The rollout as a state machine: whatever happens to it, and when."""

from __future__ import annotations

import pytest

from controlplane.actions import Action, BeginStep, NextStep, Promote, SplitTraffic, Succeed
from controlplane.domain.rollouts import StrategyConfig, plan_of
from controlplane.rollout import RolloutState, advance

NOW = 1000.0
PLAN = plan_of("canary", StrategyConfig.model_validate({"steps": [5, 50, 100], "interval": "1m"}))
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
