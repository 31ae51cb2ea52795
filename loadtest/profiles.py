"""Profiles: how the rate changes over a test, and when each request is due."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PROFILES = ("steady", "ramp", "spike", "step")
STEPS = 5
BASE_SHARE = 0.2
"""Share of the full rate before and after a spike, and at the start of a ramp."""
GRID_POINTS = 1000  # points per test, between which the rate is linear


def share(profile: str, moment: float) -> float:
    """Share of the full rate at `moment`, from 0 (start) to 1 (end)."""
    if profile == "ramp":
        return BASE_SHARE + (1 - BASE_SHARE) * min(moment / 0.8, 1)
    if profile == "spike":
        return 1.0 if 0.4 <= moment < 0.6 else BASE_SHARE
    if profile == "step":
        return (step_at(moment) + 1) / STEPS
    return 1.0


def step_at(moment: float) -> int:
    return min(int(moment * STEPS), STEPS - 1)


def due_times(profile: str, rate: float, duration: float) -> npt.NDArray[np.float64]:
    """When requests are due, in seconds from the start, evenly spaced at the current rate."""
    edges = np.linspace(0, 1, GRID_POINTS + 1)
    rates = [rate * share(profile, float(moment)) for moment in (edges[:-1] + edges[1:]) / 2]
    sent = np.concatenate([[0.0], np.cumsum(rates) * duration / GRID_POINTS])
    due: npt.NDArray[np.float64] = np.interp(np.arange(int(sent[-1] + 1e-6)), sent, edges * duration)
    return due
