"""Windows from counters: what has been counted since the last reading, across restarts and pods that come and go."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import inf
from typing import Any

from monitoring.verdict.counts import OURS, REFUSED, ArmCounts, ShadowCounts, TrafficWindow
from monitoring.verdict.sources import CounterSample, CounterSource, is_counter

LATENCY = "model_prediction_latency_seconds_bucket"
DISTANCES, RATIOS = "model_shadow_difference_bucket", "model_shadow_latency_ratio_bucket"
SHARE, QUANTILE = "model_prediction_share", "model_prediction_quantile"
SeriesKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class PodReading:
    """The counters of a pod when it was last read; None before it ever answered."""

    counters: dict[SeriesKey, float] | None = None


@dataclass(slots=True)
class ArmReader:
    """Counts one arm. The first answers are where its counting begins."""

    source: CounterSource
    pods: dict[str, PodReading] | None = None

    def count(self, answers: Mapping[str, Sequence[CounterSample] | None]) -> tuple[ArmCounts, ShadowCounts]:
        """What has been counted since the last answers."""
        first = self.pods is None
        known = {} if self.pods is None else self.pods
        grown: list[Mapping[SeriesKey, int]] = []
        restarts = ready = 0
        for pod, samples in answers.items():
            # One that appears later has counted nothing before that belongs to an earlier window.
            reading = known.setdefault(pod, PodReading(None if first or samples is None else {}))
            if samples is None:
                continue
            counters = {series_key(each): each.value for each in samples if is_counter(each.name)}
            if reading.counters is not None:
                since, restarted = growth(reading.counters, counters)
                grown.append(since)
                restarts += restarted
            reading.counters = counters
            ready += any(is_ready(each) for each in samples)
        self.pods = known
        pods = [each for each in answers.values() if each is not None]
        return replace(counts(grown, len(answers), ready, restarts), **outputs(pods)), shadow_counts(grown)


@dataclass(slots=True)
class WindowReader:
    """Reads both arms together."""

    baseline: CounterSource
    candidate: CounterSource
    arms: tuple[ArmReader, ArmReader] = field(init=False)
    began: float | None = None

    def __post_init__(self) -> None:
        self.arms = ArmReader(self.baseline), ArmReader(self.candidate)

    def read(self, now: float) -> TrafficWindow:
        """The window since the last call. That of the first call is empty: counting begins with it."""
        answers = [arm.source.read() for arm in self.arms]  # both or neither: a window has the same time for each
        (baseline, _), (candidate, shadow) = (arm.count(each) for arm, each in zip(self.arms, answers, strict=True))
        began = now if self.began is None else self.began
        window = TrafficWindow(began, now, baseline, candidate, shadow)
        self.began = now
        return window


def growth(before: Mapping[SeriesKey, float], now: Mapping[SeriesKey, float]) -> tuple[Mapping[SeriesKey, int], bool]:
    """How much each counter has grown, and whether the pod restarted: it then began again at zero."""
    restarted = any(now.get(key, 0.0) < value for key, value in before.items())
    since = {key: round(value if restarted else value - before.get(key, 0.0)) for key, value in now.items()}
    return since, restarted


def counts(grown: Sequence[Mapping[SeriesKey, int]], pods: int, ready: int, restarts: int) -> ArmCounts:
    """Of what each pod has counted."""
    requests = errors = refused = failed_reloads = 0
    for (name, labels), number in chain.from_iterable(each.items() for each in grown):
        found = dict(labels)
        if name == "model_predictions_total":
            requests += number
        elif name == "model_prediction_errors_total":
            errors += number * (found["error_type"] in OURS)
            refused += number * (found["error_type"] == REFUSED)
        elif name == "model_shadow_requests_total":  # where it is in the shadow, these are all that it is asked
            requests += number * (found["result"] != "dropped")
            errors += number * (found["result"] == "failed")
        elif name == "model_reloads_total":
            failed_reloads += number * (found["outcome"] == "failed")
    return ArmCounts(requests, errors, refused, histogram(LATENCY, grown), pods, ready, restarts, failed_reloads)


def shadow_counts(grown: Sequence[Mapping[SeriesKey, int]]) -> ShadowCounts:
    labels: Counter[str] = Counter()
    for (name, keys), value in chain.from_iterable(each.items() for each in grown):
        if name == "model_shadow_labels_total":
            labels[dict(keys)["result"]] += value
    distances, ratios = histogram(DISTANCES, grown), histogram(RATIOS, grown)
    return ShadowCounts(labels.total(), labels["different"], distances, ratios)


def histogram(wanted: str, grown: Sequence[Mapping[SeriesKey, int]]) -> dict[float, int]:
    """All pods' together. Of pods whose edges differ those that all have: of the others not all is known."""
    pods: list[Counter[float]] = []
    for each in grown:
        edges: Counter[float] = Counter()
        for (name, labels), value in each.items():
            if name == wanted:
                edges[float(dict(labels)["le"])] += value
        if edges.get(inf):
            pods.append(edges)
    common = sorted(set.intersection(*map(set, pods))) if pods else []
    return {edge: sum(each[edge] for each in pods) for edge in common}


def is_ready(sample: CounterSample) -> bool:
    """Whether the sample says that a model is there, be it beside another one."""
    beside = sample.name == "model_role" and sample.labels.get("role") in ("candidate", "shadow")
    return sample.value == 1 and (beside or sample.name == "model_loaded")


def outputs(pods: Iterable[Sequence[CounterSample]]) -> dict[str, Any]:
    """What the drift windows of the pods say of the outputs: means over pods, weighted by rows."""
    classes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    quantiles: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    weights: dict[tuple[str, bool], float] = defaultdict(float)
    total = 0.0
    for samples in pods:
        rows = sum(each.value for each in samples if each.name == "model_drift_window_rows")
        total += rows
        numeric = {each.labels["output"]: each.name == QUANTILE for each in samples if each.name in (SHARE, QUANTILE)}
        for output in numeric.items():
            weights[output] += rows
        for name, labels, value in samples:
            if name == SHARE:
                classes[labels["output"]][labels["value"]] += value * rows
            elif name == QUANTILE:
                quantiles[labels["output"]][float(labels["quantile"])] += value * rows
    return {
        "rows": round(total),
        "classes": {name: scaled(values, weights[name, False]) for name, values in classes.items()},
        "quantiles": {name: scaled(values, weights[name, True]) for name, values in quantiles.items()},
    }


def scaled(values: Mapping[Any, float], weight: float) -> dict[Any, float]:
    return {key: value / weight for key, value in sorted(values.items())} if weight else {}


def series_key(sample: CounterSample) -> SeriesKey:
    return sample.name, tuple(sorted(sample.labels.items()))
