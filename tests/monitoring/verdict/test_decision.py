"""The verdict: what fails, what passes, what stays open."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from monitoring.objectives import Unfit
from monitoring.verdict import ArmCounts, Gates, TrafficWindow, judge, look_from

GATES = Gates(warm_up_seconds=0, latency_margin=None, refused=False)


def window(at: int, baseline: ArmCounts, candidate: ArmCounts) -> TrafficWindow:
    return TrafficWindow(30.0 * at, 30.0 * (at + 1), baseline, candidate)


def arm(requests: int, errors: int = 0) -> ArmCounts:
    return ArmCounts(requests, errors, pods=1, ready=1)


def series(baseline: Sequence[tuple[int, int]], candidate: Sequence[tuple[int, int]]) -> list[TrafficWindow]:
    pairs = zip(baseline, candidate, strict=True)
    return [window(at, arm(*one), arm(*other)) for at, (one, other) in enumerate(pairs)]


def test_more_errors_than_the_baseline_fail() -> None:
    look = judge(series([(1425, 7)] * 8, [(75, 2)] * 8), GATES)
    assert look.verdict == "fail"
    assert look.reason.startswith("errors: 2.67 % against 0.491 %, more than 1.5 times as much (e = ")


def test_a_few_errors_more_are_left_open() -> None:
    assert judge(series([(1425, 7)] * 8, [(75, 1), (75, 0)] * 4), GATES).verdict == "inconclusive"


def test_clean_traffic_passes_once_there_is_enough() -> None:
    """The objective of 1 % takes some hundred requests."""
    looks = [judge(series([(1000, 0)] * 4, [(count, 0)] * 4), GATES) for count in (75, 100)]
    assert [look.verdict for look in looks] == ["inconclusive", "pass"]


def test_no_traffic_never_passes() -> None:
    look = judge(series([(1000, 0)] * 500, [(0, 0)] * 500), GATES)
    assert (look.verdict, look.reason) == ("inconclusive", "errors: the candidate has had no traffic yet")


def test_as_many_errors_as_the_baseline_pass_above_the_objective_too() -> None:
    """A baseline that itself misses the objective is no reason to keep the candidate out."""
    assert judge(series([(500, 15)] * 20, [(500, 15)] * 20), GATES).verdict == "pass"


def test_a_bad_time_of_both_arms_is_no_evidence() -> None:
    outage = [(1000, 2)] * 5 + [(1000, 400)] * 3
    assert judge(series(outage, [(all // 10, bad // 10) for all, bad in outage]), GATES).verdict != "fail"
    assert judge(series([(1000, 2)] * 8, [(all // 10, bad // 10) for all, bad in outage]), GATES).verdict == "fail"


def test_a_burst_is_one_piece_of_evidence() -> None:
    quiet, burst = [(75, 0)] * 9, (75, 18)
    assert judge(series([(1425, 7)] * 10, [*quiet, burst]), GATES).verdict == "inconclusive"
    assert judge(series([(1425, 7)] * 10, [(75, 2)] * 9 + [(75, 1)]), GATES).verdict == "fail", "as many, spread"


def test_weights_that_move_are_no_evidence() -> None:
    """Pooled, the candidate has 1.9 times the baseline's share: it has its traffic in the bad hour."""
    windows = series([(1900, 2)] * 10 + [(1000, 10)] * 10, [(100, 0)] * 10 + [(1000, 10)] * 10)
    gate = judge(windows, GATES).gate("errors")
    assert gate is not None
    assert (gate.candidate or 0) / (gate.baseline or 1) > 1.8
    assert (gate.against or 0) < 1 < (gate.in_favour or 0)


def test_a_candidate_that_fails_all_at_once_fails_at_the_next_look() -> None:
    windows = series([(1425, 7)] * 41, [(75, 0)] * 40 + [(75, 75)])
    look = judge(windows, GATES)
    assert (look.verdict, look.reason) == ("fail", "error guard: more than 25 % in a stretch of time")


def test_a_burst_is_no_outage_where_the_baseline_has_them_too() -> None:
    """In a short window of little traffic it is most of the requests."""
    burst = [*[(25, 0)] * 9, (25, 20)]
    assert judge(series([(475, 2)] * 10, burst), GATES).verdict == "fail"
    assert judge(series([(475, 0), (475, 0), (475, 20), (475, 0), (475, 0)] * 2, burst), GATES).verdict != "fail"


def test_bursts_are_told_from_windows_with_traffic() -> None:
    """A candidate that gets its first requests later has not been seen for longer."""
    burst = series([(750, 0)] * 12, [(0, 0)] * 10 + [(750, 20)] + [(750, 0)])
    gate = judge(burst, GATES).gate("errors")
    assert gate is not None
    assert (gate.verdict, gate.against, gate.in_favour) == ("inconclusive", 1.0, 1.0)
    assert judge(series([(750, 0)] * 13, [(0, 0)] * 10 + [(750, 20)] * 3), GATES).verdict == "fail"


def test_a_candidate_that_has_all_the_traffic_passes_by_the_objective() -> None:
    assert judge(series([(0, 0)] * 4, [(200, 0)] * 4), GATES).verdict == "pass"


def test_errors_of_requests_that_began_in_an_earlier_window_count() -> None:
    """Of a candidate that times out, requests are in one window, and their errors in another."""
    gate = judge(series([(100, 2)] * 40, [(3, 0), (0, 3)] * 20), GATES).gate("errors")
    assert gate is not None
    assert gate.verdict == "fail"


def test_warm_up_is_left_out() -> None:
    cold = series([(100, 0)] * 2, [(100, 100)] * 2)
    assert judge(cold, Gates(warm_up_seconds=60)).verdict == "inconclusive"
    assert judge(cold, Gates(warm_up_seconds=0)).verdict == "fail"


def test_a_step_passes_on_its_own_traffic() -> None:
    windows = series([(1000, 0)] * 3, [(1000, 0)] * 2 + [(100, 0)])
    assert judge(windows, GATES).verdict == "pass"
    assert judge(windows, GATES, step_began=60.0).verdict == "inconclusive"


def test_bursts_of_the_step_count_in_it() -> None:
    calm, bursts = [(475, 2)] * 10, [(475, 40), (475, 0)] * 5
    assert judge(series(calm * 2, [(40, 0)] * 20), GATES, step_began=300.0).verdict == "pass"
    assert judge(series(calm + bursts, [(40, 0)] * 20), GATES, step_began=300.0).verdict == "inconclusive"


def test_a_look_is_json_and_back() -> None:
    windows = series([(1000, 5)] * 4, [(100, 1)] * 4)
    windows[-1] = window(3, ArmCounts(10, 1, 2, {0.01: 5, float("inf"): 9}), arm(0))
    look = judge(windows, GATES)
    assert look_from(json.loads(json.dumps(look.plain(), allow_nan=False))) == look


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"alpha": 0}, "alpha: 0 is no share"),
        ({"error_slo": 1.0}, "error_slo: 1 is no share"),
        ({"margin": 2.0}, "margin: 2: expected at least 1, and less than 2, the tolerance"),
        ({"max_distance": 0.02}, "max_distance: 0.02 is between two buckets: expected one of 0, 1e-09"),
        ({"warm_up_seconds": float("nan")}, "warm_up_seconds: nan: expected a number"),
    ],
)
def test_gates_that_make_no_sense_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(Unfit, match=said):
        Gates(**wrong)  # type: ignore[arg-type]
