"""The picture of a verdict: what is drawn is what was known, and the moment of decision is marked."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from monitoring.verdict import ArmCounts, Evidence, Gates, Look, TrafficWindow, judge, picture
from monitoring.verdict.picture import EVIDENCE
from monitoring.verdict.simulate import ErrorRates
from tests.monitoring.verdict.test_simulations import counted

GATES = Gates(warm_up_seconds=0, latency_margin=None)
SVG = "{http://www.w3.org/2000/svg}"


def rollout(rates: ErrorRates) -> list[Look]:
    baseline, candidate = rates.draw(np.random.default_rng(3), 1)
    windows = [
        TrafficWindow(30.0 * at, 30.0 * at + 30, counted(baseline, at), counted(candidate, at)) for at in range(40)
    ]
    looks: list[Look] = []
    while not looks or (looks[-1].verdict == "inconclusive" and len(looks) < len(windows)):
        looks.append(judge(windows[: len(looks) + 1], GATES))
    return looks


@pytest.mark.parametrize(
    ("rates", "title"),
    [
        (ErrorRates(0.005, 0.02), "errors: fail after "),
        (ErrorRates(0.002, 0.002), "errors: pass after "),
        (ErrorRates(0.005, 0.01), "errors: inconclusive so far"),
        (ErrorRates(0.0, 0.0), "errors: pass after "),
    ],
)
def test_a_rollout_is_drawn(rates: ErrorRates, title: str) -> None:
    looks = rollout(rates)
    drawn = ElementTree.fromstring(picture(looks))
    assert drawn.get("aria-label", "").startswith(title)
    lines = {each.get("class"): each.get("points", "").split() for each in drawn.iter(f"{SVG}polyline")}
    assert lines.keys() == {"baseline", "candidate", "against", "favour"}
    assert {len(points) for points in lines.values()} == {len(looks)}
    assert sum(each.get("class") == "moment" for each in drawn.iter(f"{SVG}line")) == (
        looks[-1].verdict != "inconclusive"
    )
    coordinates = [float(value) for points in lines.values() for point in points for value in point.split(",")]
    assert all(0 < value < 720 for value in coordinates)


def test_evidence_beyond_measure_stays_in_its_panel() -> None:
    looks = [judge([TrafficWindow(0.0, 30.0, ArmCounts(10_000), ArmCounts(10_000, 9_000))] * 3, GATES)]
    drawn = ElementTree.fromstring(picture(looks))
    against = next(each for each in drawn.iter(f"{SVG}polyline") if each.get("class") == "against")
    assert EVIDENCE[0] <= float(against.get("points", "").split(",")[1]) <= EVIDENCE[1]


def test_the_gate_that_failed_is_drawn() -> None:
    windows = [TrafficWindow(0.0, 30.0, ArmCounts(1000), ArmCounts(1000, refused=400))] * 3
    looks = [judge(windows[:count], GATES) for count in (1, 2, 3)]
    assert "refused inputs: fail after" in picture(looks)
    assert "errors: fail" in picture(looks, "errors"), "another one may be asked for"


def test_what_was_not_counted_is_not_drawn() -> None:
    assert picture([]) == ""
    assert picture([judge([TrafficWindow(0.0, 30.0, ArmCounts(), ArmCounts())], GATES)]).startswith("<svg")


def test_names_are_no_markup() -> None:
    evidence = Evidence("<script>", "fail", "", 50.0, 20.0)
    look = Look(TrafficWindow(0.0, 30.0, ArmCounts(), ArmCounts()), "fail", "", (evidence,))
    assert "<script" not in picture([look])
