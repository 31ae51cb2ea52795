"""What the drift windows of several pods say together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controlplane.drift import drift_of
from monitoring.verdict import CounterSample


def pod(rows: float, psi: float, version: str = "1") -> list[CounterSample]:
    labels = {"model_name": "fraud", "model_version": version}
    return [
        CounterSample("model_drift_window_rows", labels, rows),
        CounterSample("model_feature_psi", {**labels, "feature": "age"}, psi),
        CounterSample("model_feature_missing_ratio", {**labels, "feature": "age"}, 0.5),
        CounterSample("model_feature_psi", {**labels, "feature": "load"}, 0.15),
        CounterSample("model_prediction_psi", {**labels, "output": "predictions"}, 0.0),
        CounterSample("model_loaded", labels, 1),
    ]


def shown(*pods: list[CounterSample] | None) -> Iterator[tuple[str, str, str, float]]:
    read = drift_of({str(number): each for number, each in enumerate(pods)})
    return ((each.kind, each.name, each.state, each.psi) for each in read.columns)


def test_a_pod_counts_as_much_as_its_window_holds() -> None:
    read = drift_of({"a": pod(300, 0.1), "b": pod(100, 0.9), "c": None})
    assert (read.pods, read.answered, read.rows) == (3, 2, 400)
    first, *_ = read.columns
    assert (first.name, first.missing) == ("age", 0.5)
    assert first.psi == pytest.approx(0.3)
    assert list(shown(pod(300, 0.1), pod(100, 0.9))) == [
        ("input", "age", "drifted", pytest.approx(0.3)),
        ("input", "load", "moved", pytest.approx(0.15)),
        ("output", "predictions", "steady", 0.0),
    ]


def test_versions_beside_each_other_are_not_mixed() -> None:
    read = drift_of({"a": [*pod(100, 0.5), *pod(100, 0.3, "2")]})
    assert {each.version: each.psi for each in read.columns if each.name == "age"} == {"1": 0.5, "2": 0.3}


def test_nothing_is_known_of_pods_that_measure_nothing() -> None:
    rows_alone = pod(20, 0.5)[:1]
    assert list(shown(rows_alone, [], None)) == []
    assert drift_of({}).columns == []
