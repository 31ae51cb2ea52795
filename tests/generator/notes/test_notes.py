"""What the person who applies a manifest has to know is said, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from generator import ServeSpec
from generator.notes import notes_of
from generator.render import planned

BASE: dict[str, Any] = {
    "name": "fraud", "model": "models:/fraud@champion", "flavor": "sklearn", "tracking": {"uri": "http://mlflow.ml:5000"},
}  # fmt: skip
SAID: dict[str, tuple[dict[str, Any], str]] = {
    "the storage container": ({"storage": {"strategy": "container"}}, "ClusterStorageContainer"),
    "no tracking server": ({"tracking": {}}, "no tracking server"),
    "nothing to follow": ({"model": "models:/fraud/3", "reload": {"interval": "10s"}}, "reload has no effect"),
    "a flag of Knative": ({"mode": "Knative", "placement": {"node_selector": {"a": "b"}}}, "podspec-nodeselector"),
    "a first canary in Knative": (
        {"mode": "Knative", "canary": {"model": "models:/fraud/8", "percent": 5}}, "apply it without one first",
    ),
    "workers that share a core": ({"workers": 4}, "4 workers share 1 cores"),
}  # fmt: skip


def said_of(spec: dict[str, Any]) -> list[str]:
    return notes_of(planned(ServeSpec.model_validate(BASE | spec)))


@pytest.mark.parametrize("case", SAID)
def test_it_is_said(case: str) -> None:
    spec, words = SAID[case]
    assert any(words in note for note in said_of(spec))
    assert not any(words in note for note in said_of({}))


def test_a_plain_serve_has_nothing_to_be_told() -> None:
    assert said_of({}) == []
