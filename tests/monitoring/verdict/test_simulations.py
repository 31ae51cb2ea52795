"""Seeded rollouts: how often a good candidate fails, and how soon a bad one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monitoring.verdict import ArmCounts, Gates, TrafficWindow, judge
from monitoring.verdict.evalues import ArmSeries
from monitoring.verdict.simulate import GROWING, ErrorRates, Slowness, report, simulate

RUNS = 1500
ERRORS_ALONE = 0.05 / 0.6
"""α for which errors alone have 5 %."""


@pytest.mark.parametrize(
    ("rollouts", "most"),
    [
        (ErrorRates(0.005, 0.005), 0.02),
        (ErrorRates(0.02, 0.02), 0.02),
        (ErrorRates(0.0, 0.0), 0.0),
        (ErrorRates(0.005, 0.005, weights=GROWING), 0.02),
        (ErrorRates(0.005, 0.005, 10), 0.05),
        (ErrorRates(0.005, 0.005, 20), 0.05),
        (ErrorRates(0.005, 0.005, 20, GROWING), 0.08),
        (ErrorRates(0.005, 0.005, 20, GROWING, seconds=10), 0.08),
        (Slowness(), 0.02),
        (Slowness(moods=0.1), 0.05),
        (Slowness(moods=0.1, seconds=10), 0.08),
    ],
    ids=repr,
)
@pytest.mark.parametrize("margin", [1.0, 1.5])
def test_a_candidate_as_good_as_the_baseline_seldom_fails(
    rollouts: ErrorRates | Slowness, most: float, margin: float
) -> None:
    """With a margin of 1 there is nothing between false alarms and the bound."""
    gates = Gates(margin=margin, alpha=ERRORS_ALONE if isinstance(rollouts, ErrorRates) else 0.05)
    assert simulate(rollouts, gates, RUNS).failed <= most


@pytest.mark.parametrize(
    ("rollouts", "gates", "least", "minutes"),
    [
        (ErrorRates(0.005, 0.02), Gates(margin=1, alpha=ERRORS_ALONE), 0.99, 2.5),
        (ErrorRates(0.005, 0.01), Gates(margin=1, alpha=ERRORS_ALONE), 0.64, 10.0),
        (ErrorRates(0.005, 0.02), Gates(), 0.99, 5.0),
        (ErrorRates(0.005, 0.03), Gates(), 0.99, 2.5),
        (ErrorRates(0.0, 0.02), Gates(), 0.99, 2.0),
        (Slowness(1.25), Gates(latency_margin=1), 0.97, 2.0),
        (Slowness(1.25), Gates(), 0.97, 3.5),
        (Slowness(1.5, seconds=10), Gates(), 0.99, 0.7),
        (Slowness(1.5, moods=0.1), Gates(), 0.95, 2.0),
    ],
    ids=repr,
)
def test_a_candidate_that_is_worse_fails(
    rollouts: ErrorRates | Slowness, gates: Gates, least: float, minutes: float
) -> None:
    outcome = simulate(rollouts, gates, RUNS)
    assert outcome.failed >= least
    assert (outcome.failed_after or 0) <= minutes


@pytest.mark.parametrize("rollouts", [ErrorRates(0.005, 0.02), ErrorRates(0.001, 0.02), Slowness(1.5)], ids=repr)
def test_a_candidate_that_is_worse_seldom_passes(rollouts: ErrorRates | Slowness) -> None:
    assert simulate(rollouts, Gates(), RUNS).passed <= 0.02


def test_clean_traffic_passes_within_minutes() -> None:
    outcome = simulate(ErrorRates(0.005, 0.0), Gates(), RUNS)
    assert (outcome.failed, outcome.passed) == (0, 1)
    assert (outcome.passed_after or 99) <= 3


def test_bursts_are_false_alarms_where_dispersion_is_not_divided_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.verdict.comparison.running_dispersion", lambda *arms: np.ones_like(arms[0].bad))
    assert simulate(ErrorRates(0.005, 0.005, 20), Gates(), RUNS).failed > 0.2


def test_what_is_simulated_is_what_judges() -> None:
    rollouts, gates = ErrorRates(0.005, 0.02), Gates(warm_up_seconds=0, latency_margin=None)
    baseline, candidate = rollouts.draw(np.random.default_rng(0), 1)
    windows = [
        TrafficWindow(30.0 * at, 30.0 * at + 30, counted(baseline, at), counted(candidate, at)) for at in range(40)
    ]
    outcome = simulate(rollouts, gates, 1)
    looks = [judge(windows[:count], gates).verdict for count in range(1, 41)]
    assert outcome.failed == 1
    assert looks.index("fail") + 1 == 2 * (outcome.failed_after or 0)
    assert "pass" not in looks[: looks.index("fail")]


def counted(arm: ArmSeries, at: int) -> ArmCounts:
    return ArmCounts(int(arm.every[0, at]), int(arm.bad[0, at]))


def test_the_page_has_these_figures() -> None:
    page = (Path(__file__).parents[3] / "docs" / "verdict.md").read_text()
    assert "\n".join(report(Gates())) in page, "run: python -m monitoring.verdict.simulate"
