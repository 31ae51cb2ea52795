"""Changes in words, and which of them replace pods."""

from __future__ import annotations

from typing import Any

import pytest

from generator import ServeSpec, render
from generator.compare import compare, summary

BASE: dict[str, Any] = {"name": "fraud", "model": "models:/fraud/3", "flavor": "sklearn"}


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Any]:
    return compare(*(render(ServeSpec.model_validate(BASE | each)) for each in (before, after)))


# Before, after, what one of the changes says, and whether pods are replaced in Standard and in Knative.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, bool, bool]] = {
    "most pods": ({}, {"replicas": {"max": 9}}, "maximum replicas: 5 → 9", False, True),
    "least pods": ({}, {"replicas": {"min": 2}}, "minimum replicas: 1 → 2", False, True),
    "image": ({}, {"image_tag": "2"}, "predictor-sklearn:latest → mlflow-kserve/predictor-sklearn:2", True, True),
    "variable": ({"env": {"A": "1"}}, {"env": {"A": "2"}}, "variable A 1 → 2", True, True),
    "new variable": ({}, {"env": {"A": "2"}}, "variable A 2 (new)", True, True),
    "variable that goes": ({"env": {"A": "1"}}, {}, "variable A 1 (removed)", True, True),
    "label": ({}, {"labels": {"team": "ml"}}, "label team ml (new)", True, True),
    "annotation": ({}, {"annotations": {"a": "b"}}, "annotation a b (new)", True, True),
    "memory": ({}, {"resources": {"memory": "2Gi"}}, "memory request 1Gi → 2Gi", True, True),
    "model": ({}, {"model": "models:/fraud/4"}, "models:/fraud/3 → models:/fraud/4", True, True),
}


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
@pytest.mark.parametrize("case", CASES)
def test_changes_in_words(case: str, mode: str) -> None:
    before, after, words, standard, knative = CASES[case]
    differences = changes({"mode": mode} | before, {"mode": mode} | after)
    assert any(words in str(change) for change in differences)
    assert any(change.restarts for change in differences) == (standard if mode == "Standard" else knative)


def test_the_share_of_a_canary_replaces_nothing() -> None:
    by_kserve = {"storage": {"strategy": "container"}}
    for mode, by, more in (("Knative", "route", {}), ("Standard", "kserve", by_kserve)):
        canary = {"model": "models:/fraud/4", "by": by}
        before, after = ({"mode": mode, **more, "canary": {**canary, "percent": n}} for n in (5, 20))
        (change,) = changes(before, after)
        assert "percent of the traffic to the canary" in str(change)
        assert "5 → 20" in str(change)
        assert not change.restarts


def test_nothing_changes() -> None:
    assert changes({}, {}) == []


def test_what_comes_and_goes() -> None:
    before = render(ServeSpec.model_validate(BASE))
    extra = [*before, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}]
    (new,), (gone,) = compare(before, extra), compare(extra, before)
    assert str(new) == "ConfigMap x: is new"
    assert str(gone).startswith("ConfigMap x: is no longer rendered")
    assert summary([new], extra) == "Does not restart the pods."


def test_another_mode_is_another_serve() -> None:
    assert any("KServe refuses this change" in str(change) for change in changes({}, {"mode": "Knative"}))
