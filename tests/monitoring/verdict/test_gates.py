"""The gates beside errors: latency, refused inputs, health, answers of a shadow, moved predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from monitoring.objectives import LatencyObjective
from monitoring.verdict import ArmCounts, Evidence, Gates, Look, ShadowCounts, TrafficWindow, judge, look_from

GATES = Gates(warm_up_seconds=0)


def histogram(**slower: int) -> dict[float, int]:
    """1000 requests, of which so many were slower than 10 ms and 100 ms."""
    return {0.01: 1000 - slower["ms10"], 0.1: 1000 - slower["ms100"], inf: 1000}


FAST = histogram(ms10=80, ms100=1)
HEALTHY = ArmCounts(1000, latency=FAST, pods=2, ready=2)


def windows(count: int, change: Callable[[TrafficWindow], TrafficWindow] = lambda one: one) -> list[TrafficWindow]:
    return [change(TrafficWindow(30.0 * at, 30.0 * at + 30, HEALTHY, HEALTHY)) for at in range(count)]


def candidate(count: int = 10, gates: Gates = GATES, **values: object) -> Look:
    """The look at a candidate that is unlike the baseline in these values."""
    arm = replace(HEALTHY, **values)  # type: ignore[arg-type]
    return judge(windows(count, lambda one: replace(one, candidate=arm)), gates)


def gate(look: Look, name: str) -> Evidence:
    evidence = look.gate(name)
    assert evidence is not None, name
    return evidence


def test_an_equal_passes_every_gate() -> None:
    look = candidate()
    assert look.verdict == "pass", look.reason
    names = {each.gate for each in look.evidence}
    assert names == {"readiness", "restarts", "failed reloads", "errors", "error guard", "refused inputs", "latency"}
    assert look.reason.startswith("errors: 0 % against 0 %, below 1 % (e = ")


def test_a_slower_candidate_fails() -> None:
    look = candidate(latency=histogram(ms10=160, ms100=2))
    assert (look.verdict, [each.gate for each in look.evidence if each.verdict != "pass"]) == ("fail", ["latency"])
    assert gate(look, "latency").candidate == pytest.approx(0.16), "beyond the edge nearest to the baseline's p90"
    assert candidate(gates=replace(GATES, latency_margin=None), latency=histogram(ms10=990, ms100=0)).verdict == "pass"


def test_what_is_slow_is_told_from_windows_that_are_no_evidence() -> None:
    assert gate(judge(windows(1), GATES), "latency").in_favour == 1
    slow = replace(HEALTHY, latency=histogram(ms10=900, ms100=0))
    look = judge([*windows(1, lambda one: replace(one, candidate=slow)), *windows(9)], GATES)
    assert gate(look, "latency").candidate == pytest.approx(0.08)
    few = replace(HEALTHY, latency={edge: count // 20 for edge, count in FAST.items()})
    look = judge(windows(1, lambda one: replace(one, baseline=few)), GATES)
    assert gate(look, "latency").reason == "the baseline has had too few requests to tell what is slow"


def test_other_buckets_are_no_fast_requests() -> None:
    look = candidate(latency={0.02: 1000, inf: 1000})
    assert (look.verdict, look.reason) == ("inconclusive", "latency: the candidate has had no traffic yet")


def test_an_objective_of_latency_acts_at_once() -> None:
    gates = replace(GATES, latency_guard=LatencyObjective("p95", 0.95, 0.1))
    slow = replace(HEALTHY, latency=histogram(ms10=300, ms100=120))
    look = judge([*windows(40), *windows(1, lambda one: replace(one, baseline=slow, candidate=slow))], gates)
    assert (look.verdict, look.reason) == ("fail", "latency guard: more than 5 % in a stretch of time")


def test_errors_are_a_share_of_what_was_not_refused() -> None:
    assert gate(candidate(errors=10, refused=500), "errors").candidate == pytest.approx(0.02)


def test_a_candidate_that_refuses_what_the_baseline_takes_fails() -> None:
    look = candidate(refused=60)
    assert (look.verdict, look.reason[:15]) == ("fail", "refused inputs:")
    both = replace(HEALTHY, refused=60)
    assert judge(windows(10, lambda one: replace(one, baseline=both, candidate=both)), GATES).verdict == "pass"


@pytest.mark.parametrize(
    ("values", "verdict", "reason"),
    [
        ({"restarts": 1}, "fail", "restarts: 10, at most 0 allowed"),
        ({"failed_reloads": 1}, "fail", "failed reloads: 10, at most 0 allowed"),
        ({"ready": 0}, "fail", "readiness: no pod has been ready for 300 s"),
        ({"ready": 1}, "inconclusive", "readiness: 1 of 2 pods are ready"),
    ],
)
def test_pods_that_do_not_run_are_no_candidate(values: dict[str, int], verdict: str, reason: str) -> None:
    look = candidate(gates=GATES, **values)
    assert (look.verdict, look.reason) == (verdict, reason)


def test_a_pod_has_its_time_to_get_ready() -> None:
    assert candidate(1, ready=0).verdict == "inconclusive"


def test_a_crash_during_warm_up_counts() -> None:
    assert candidate(2, gates=Gates(warm_up_seconds=600), restarts=1).verdict == "fail"


@pytest.mark.parametrize(("differing", "verdict"), [(0, "pass"), (4, "pass"), (10, "inconclusive"), (30, "fail")])
def test_a_shadow_may_answer_otherwise_so_often(differing: int, verdict: str) -> None:
    gates = replace(GATES, max_disagreement=0.01)
    look = judge(windows(10, lambda one: replace(one, shadow=ShadowCounts(1000, differing))), gates)
    assert gate(look, "disagreement").verdict == look.verdict == verdict


@pytest.mark.parametrize(("beyond", "verdict"), [(0, "pass"), (100, "pass"), (250, "inconclusive"), (400, "fail")])
def test_a_shadow_may_not_take_much_longer_for_the_same_requests(beyond: int, verdict: str) -> None:
    """Its own latencies are no requests of callers."""
    ratios = {1.0: 50, 1.5: 500 - beyond, inf: 500}
    arm = replace(HEALTHY, latency={})
    look = judge(windows(10, lambda one: replace(one, candidate=arm, shadow=ShadowCounts(ratios=ratios))), GATES)
    assert gate(look, "latency").verdict == look.verdict == verdict


def test_numbers_are_different_answers_beyond_a_distance() -> None:
    shadow = ShadowCounts(distances={0.01: 700, 0.1: 999, inf: 1000})
    pair = windows(10, lambda one: replace(one, shadow=shadow))
    strict, lenient = (replace(GATES, max_disagreement=0.01, max_distance=each) for each in (0.01, 0.1))
    assert (judge(pair, strict).verdict, judge(pair, lenient).verdict) == ("fail", "pass")
    assert judge(pair, replace(GATES, max_disagreement=0.01)).verdict == "inconclusive", "no labels were compared"
    look = judge(pair, strict)
    assert look_from(json.loads(json.dumps(look.plain(), allow_nan=False))) == look


def test_a_shadow_without_answers_does_not_pass() -> None:
    assert judge(windows(50), replace(GATES, max_disagreement=0.01)).verdict == "inconclusive"


YES, NO = {"yes": 0.9, "no": 0.1}, {"yes": 0.4, "no": 0.6}
PRICES = {0.05: 1.0, 0.25: 2.0, 0.5: 3.0, 0.75: 4.0, 0.95: 5.0}


def with_outputs(**values: object) -> ArmCounts:
    return replace(HEALTHY, **{"rows": 5000, "classes": {"label": YES}, "quantiles": {"price": PRICES}} | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("moved", "warned"),
    [
        ({}, []),
        ({"classes": {"label": NO}}, ["label"]),
        ({"classes": {"label": {"maybe": 1.0}}}, ["label"]),
        ({"quantiles": {"price": {share: value + 2 for share, value in PRICES.items()}}}, ["price"]),
        ({"quantiles": {"price": {share: value * 1.05 for share, value in PRICES.items()}}}, []),
        ({"classes": {"label": NO}, "rows": 50}, []),
        ({"classes": {"label": {"yes": 0.73, "no": 0.27}}}, ["label"]),
        ({"classes": {"label": {"yes": 0.73, "no": 0.27}}, "rows": 200}, []),  # fewer rows differ more by chance
        ({"classes": {}, "quantiles": {}}, []),
    ],
)
def test_moved_predictions_warn_and_may_fail(moved: dict[str, object], warned: list[str]) -> None:
    pair = windows(10, lambda one: replace(one, baseline=with_outputs(), candidate=with_outputs(**moved)))
    look = judge(pair, GATES)
    assert [each.split()[0] for each in look.warnings] == warned
    assert look.verdict == "pass"
    assert judge(pair, replace(GATES, shift_gates=True)).verdict == ("fail" if warned else "pass")
    assert look_from(json.loads(json.dumps(look.plain()))) == look


@pytest.mark.parametrize(("predicted", "warned"), [(3.0, False), (7.0, True), (2.0, True)])
def test_a_constant_prediction_is_told_from_another(predicted: float, warned: bool) -> None:
    ours, theirs = (with_outputs(quantiles={"price": dict.fromkeys(PRICES, value)}) for value in (3.0, predicted))
    look = judge(windows(3, lambda one: replace(one, baseline=ours, candidate=theirs)), GATES)
    assert bool(look.warnings) == warned
