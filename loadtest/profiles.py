"""How the rate of requests changes over a test, and when each of them is due."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PROFILES = ("steady", "ramp", "spike", "step")
STAIRS = 5
CALM = 0.2
"""The share of the full rate before and after a spike, and at the beginning of a ramp."""
GRID = 1000  # points a test, between which the rate is a straight line


def share(profile: str, moment: float) -> float:
    """Of the full rate, at `moment` from 0, the beginning, to 1, the end."""
    if profile == "ramp":
        return CALM + (1 - CALM) * min(moment / 0.8, 1)
    if profile == "spike":
        return 1.0 if 0.4 <= moment < 0.6 else CALM
    if profile == "step":
        return (stair(moment) + 1) / STAIRS
    return 1.0


def stair(moment: float) -> int:
    return min(int(moment * STAIRS), STAIRS - 1)


def due_times(profile: str, rate: float, duration: float) -> npt.NDArray[np.float64]:
    """When requests are due, in seconds from the beginning: evenly, as close together as the rate says."""
    edges = np.linspace(0, 1, GRID + 1)
    rates = [rate * share(profile, float(moment)) for moment in (edges[:-1] + edges[1:]) / 2]
    sent = np.concatenate([[0.0], np.cumsum(rates) * duration / GRID])
    due: npt.NDArray[np.float64] = np.interp(np.arange(int(sent[-1] + 1e-6)), sent, edges * duration)
    return due
