"""What a test makes of its measurements: percentiles, objectives, rates, comparisons, the server's own counters."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import capacity, report, scrape, slo
from loadtest.capacity import Capacity
from loadtest.compare import compare, verdict
from loadtest.histogram import Histogram, from_plain
from loadtest.measuring import MeasuringPlan
from loadtest.outcome import LoadResult, Second
from loadtest.profiles import PROFILES, due_times
from loadtest.results import Result
from loadtest.target import Target, UnusableTarget


@given(st.lists(st.floats(2e-6, 100), min_size=1), st.floats(0.01, 1))
def test_percentiles_are_exact_to_one_percent(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(1, int(np.ceil(share * len(values)))) - 1]
    assert histogram.percentile(share) == pytest.approx(exact, rel=0.01)
    assert from_plain(histogram.plain()) == histogram


@given(st.dictionaries(st.sampled_from(["p50", "p99.9", "mean", "max"]), st.integers(1, 9999), min_size=1))
def test_objectives_are_read(limits: dict[str, int]) -> None:
    text = ", ".join(f"{name}={limit}ms" for name, limit in limits.items())
    objectives = {one.name: one.limit for one in slo.parse(text)}
    assert objectives == pytest.approx({name: limit / 1e3 for name, limit in limits.items()})


@pytest.mark.parametrize(
    "text",
    ["", "p95", "p95=500", "p95<500ms", "p101=1s", "p95=500ms,", "errors=1", "errors=101%", "rps=5", "p95=1s,p95=2s"],
)
def test_what_is_no_objective_is_named(text: str) -> None:
    with pytest.raises(UnusableTarget, match="--slo: ") as said:
        slo.parse(text)
    assert "\n" not in str(said.value)


def test_errors_are_a_share_of_what_was_asked() -> None:
    outcome = LoadResult({0: Second(offered=1000, errors=Counter({"503": 250}))})
    checks = {text: outcome.checks(slo.parse(text))[0] for text in ("errors=25%", "errors=24.9%", "p50=1s")}
    assert [(one.measured, one.kept) for one in checks.values()] == [(0.25, True), (0.25, False), (None, False)]


@pytest.mark.parametrize("profile", PROFILES)
def test_requests_are_due_at_the_rate_of_the_profile(profile: str) -> None:
    due = due_times(profile, 100, 10)
    assert (np.diff(due) > 0).all()
    assert due[0] == 0
    assert due[-1] < 10
    a_second = np.histogram(due, bins=10, range=(0, 10))[0].tolist()
    wanted = {
        "steady": [100] * 10,
        "ramp": [25, 35, 45, 55, 65, 75, 85, 95, 100, 100],
        "spike": [20, 20, 20, 20, 100, 100, 20, 20, 20, 20],
        "step": [20, 20, 40, 40, 60, 60, 80, 80, 100, 100],
    }
    assert a_second == pytest.approx(wanted[profile], abs=1)


def result(slower: float = 1.0, failing: float = 0.0, seed: int = 0, rps: float = 100.0) -> Result:
    """A minute of a server whose seconds are not all alike."""
    dice, outcome = random.Random(seed), LoadResult()
    for at in range(60):
        second = outcome.seconds.setdefault(at, Second(offered=100))
        busy = dice.uniform(0.8, 1.2)
        for _ in range(100):
            if dice.random() < failing:
                second.errors["503"] += 1
            else:
                second.latencies.add(0.01 * slower * busy * dice.lognormvariate(0, 0.3))
    return Result("now", "http://x", "m", "1", "sklearn", "v1", "steady", rps, 60, 1, 0, "", slo.DEFAULT, outcome)


def worse(a: Result, b: Result) -> set[str]:
    return {one.name for one in compare(a, b, tolerance=0.1) if one.worse}


def test_a_server_is_not_worse_than_itself() -> None:
    assert [worse(result(seed=seed), result(seed=seed + 100)) for seed in range(5)] == [set()] * 5


def test_a_slower_one_is_worse() -> None:
    assert worse(result(), result(1.3, seed=1)) == {"p50", "p95", "p99"}
    assert worse(result(), result(1.03, seed=1)) == set(), "that is within the tolerance"
    assert worse(result(1.3), result(seed=1)) == set(), "a faster one is not worse"
    assert not [one for one in compare(result(), result(1.3, seed=1), tolerance=0.5) if one.worse]


def test_what_nobody_can_tell_is_said() -> None:
    differences = compare(result(), result(seed=1), tolerance=0.0)
    assert {one.name: one.sign for one in differences} == dict.fromkeys(["p50", "p95", "p99"], "may be worse") | {
        "errors": "not worse"
    }
    assert verdict(differences).startswith("B may be worse")


def test_one_with_errors_is_worse() -> None:
    assert worse(result(), result(failing=0.02, seed=1)) == {"errors"}
    few = result()
    for second in few.outcome.seconds.values():
        second.offered, second.errors = 10_000, Counter({"503": 5})
    assert worse(result(), few) == set(), "half of a tenth of a percent is no reason"


def short(seconds: int, rps: int, slower: float = 1.0, seed: int = 0, lasting: float = 0.0) -> Result:
    """A server whose good and bad times last, the longer the nearer `lasting` is to 1."""
    dice, outcome = random.Random(seed), LoadResult()
    mood = dice.gauss(0, 1)
    for at in range(seconds):
        second = outcome.seconds.setdefault(at, Second(offered=rps))
        mood = lasting * mood + (1 - lasting**2) ** 0.5 * dice.gauss(0, 1)
        for _ in range(rps):
            second.latencies.add(0.01 * slower * 1.16**mood * dice.lognormvariate(0, 0.3))
    return Result("now", "http://x", "m", "1", "sklearn", "v1", "steady", rps, seconds, 1, 0, "", slo.DEFAULT, outcome)


def test_bad_times_that_last_are_no_difference() -> None:
    pairs = [(short(40, 50, seed=seed, lasting=0.8), short(40, 50, seed=seed + 999, lasting=0.8)) for seed in range(40)]
    alarms = [any(one.worse for one in compare(a, b, tolerance=0)) for a, b in pairs]
    assert sum(alarms) <= 7, "with seconds drawn one by one it is every fourth"


def test_too_few_requests_say_nothing() -> None:
    with pytest.raises(UnusableTarget, match="B has 9 seconds to compare: it needs 10"):
        compare(short(10, 50), short(9, 50), 0.1)
    few = short(10, 1)
    few.outcome.seconds[0].latencies.steps.clear()
    with pytest.raises(UnusableTarget, match="9 successful requests in both tests are too few"):
        compare(few, few, 0.1)
    differences = compare(short(20, 10), short(20, 10, slower=1.1, seed=1), 0.1)
    assert {one.name: one.needed for one in differences} == {"p50": 0, "p95": 0, "p99": 500, "errors": 0}
    assert "expected 500 in each test" in str(differences[2])
    assert verdict(differences) == "B may be worse than A, but it is not certain: run longer tests"
    assert verdict(compare(result(), result(), 0.5)) == "B is not worse than A"


def test_only_the_seconds_of_both_are_compared_where_the_rate_changes() -> None:
    """One that ended on its second step was asked for less: that does not make it the better one."""
    a, b = result(), result(1.3, seed=1)
    a.profile = b.profile = "step"
    for at in range(24, 60):
        del b.outcome.seconds[at]
        a.outcome.seconds[at].latencies = Histogram(Counter({2000: 100}))  # slow where it was asked for more
    assert worse(a, b) >= {"p50"}


def test_tests_that_differ_are_not_compared() -> None:
    with pytest.raises(UnusableTarget, match="differ in rps: 100.0 and 50.0"):
        compare(result(), result(rps=50.0), 0.1)


def test_a_step_that_broke_is_not_made_up_for_by_those_before() -> None:
    measured = result()
    measured.profile, measured.slo = "step", "p50=20ms"
    assert (measured.held, measured.kept) == (100, True)
    for at in range(48, 60):
        measured.outcome.seconds[at].latencies = Histogram(Counter({2000: 100}))
    assert all(one.kept for one in measured.checks)
    assert (measured.held, measured.kept) == (80, False)
    for at in range(12, 24):
        measured.outcome.seconds[at].latencies = Histogram(Counter({2000: 100}))
    assert measured.held == 20, "what comes after the step that broke is no more"
    for second in measured.outcome.seconds.values():
        second.latencies = Histogram(Counter({2000: 100}))
    assert report.held(measured) == "the SLO held on no step"


def test_a_test_that_was_stopped_has_no_verdict() -> None:
    measured = result()
    measured.slo = "p50=1s"
    assert measured.kept
    measured.stopped = 30.0
    assert (measured.kept, measured.verdict) == (False, "stopped after 30 s of 60; until then the SLO was kept")


def test_pods_for_a_rate() -> None:
    assert Capacity(rps=120).pods(500, pods=1, headroom=0.3) == 6
    assert Capacity(rps=120).pods(500, pods=2, headroom=0.0) == 9


@pytest.mark.parametrize(("limit", "start"), [(137, 50), (137, 2000), (0.4, 50), (1e9, 50)])
@pytest.mark.parametrize("lag", [0.0, 0.3])
def test_the_highest_rate_is_found(limit: float, start: float, lag: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(plan: MeasuringPlan) -> Result:
        measured = result(rps=plan.rps)
        measured.slo = "errors=0%" if plan.rps <= limit else "p50=1us"
        measured.outcome.lags.add(lag)
        return measured

    monkeypatch.setattr(capacity, "measure", measure)
    said: list[str] = []
    highest = Capacity()
    capacity.search(MeasuringPlan(Target("http://x"), duration=10, say=said.append), start, 3000, highest)
    assert len(said) == len(highest.tries) < 20
    if limit == 137:
        assert highest.rps <= 137 < highest.missed <= 1.051 * highest.rps
        assert ("the load generator itself was late" in highest.line(1)) == bool(lag)
    elif limit < 1:
        assert (highest.rps, highest.missed) == (0, 1)
        assert highest.line(1).startswith("not even 1 requests per second met")
    else:
        assert (highest.rps, highest.missed) == (3000, 0)
        assert "the highest rate tried" in highest.line(1)


def metrics(fast: int, slow: int, errors: int) -> str:
    name, labels = "model_prediction_latency_seconds", 'model_name="m",model_version="1"'
    return f"""
# TYPE {name} histogram
{name}_bucket{{{labels},le="0.1"}} {fast}
{name}_bucket{{{labels},le="0.5"}} {fast + slow}
{name}_bucket{{{labels},le="+Inf"}} {fast + slow}
{name}_bucket{{model_name="other",model_version="1",le="+Inf"}} 1000
{name}_count{{{labels}}} {fast + slow}
# TYPE model_loaded gauge
model_loaded{{{labels}}} 1
model_loaded{{model_name="m",model_version="0"}} 0
# TYPE model_predictions_total counter
model_predictions_total{{{labels}}} {fast + slow + errors}
# TYPE model_prediction_errors_total counter
model_prediction_errors_total{{{labels},error_type="timeout"}} {errors}
"""


def test_the_servers_counters_are_those_of_the_test() -> None:
    counters = scrape.difference([(0, metrics(50, 7, 3)), (10, metrics(140, 17, 5))], "m")
    assert counters["predictions"] == 102
    assert counters["errors"] == {"timeout": 2}
    assert counters["latency"]["p50"] == pytest.approx(0.1 * 50 / 90)
    assert counters["latency"]["p95"] == pytest.approx(0.1 + 0.4 * 0.5)
    assert counters["versions"] == ["1"]


def test_beyond_the_last_bucket_nothing_is_made_up() -> None:
    """As Prometheus has it."""
    assert scrape.quantile({0.1: 1, 30.0: 2, math.inf: 10}, 0.99) == 30


def test_counters_of_another_pod_are_not_taken() -> None:
    assert "went down" in scrape.difference([(0, metrics(50, 7, 3)), (10, metrics(4, 7, 5))], "m")["missing"]
