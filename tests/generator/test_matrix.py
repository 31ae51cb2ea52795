"""Whatever a spec says, what it is rendered into passes the judge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings

from generator import ServeSpec, SpecError, render
from generator.crds import Crds
from generator.output import stream
from tests.generator import kubectl
from tests.generator.judge import judge
from tests.generator.knative import GATED
from tests.generator.strategies import specs

# The notes of a render name the feature flags of Knative that these need.
FLAGS = frozenset({*GATED, "persistentVolumeClaim", "csi", "fieldRef"})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(specs())
def test_what_is_rendered_is_good(optional_crds: Crds | None, spec: dict[str, Any]) -> None:
    wanted = ServeSpec.model_validate(spec)
    try:
        documents = render(wanted)
    except SpecError:
        # Some of what excludes each other is said before a cluster says it; hypothesis objects if it is much.
        reject()
    verdict = judge(documents, optional_crds, FLAGS)
    assert verdict.problems == []


@kubectl.needed
@settings(max_examples=15)
@given(specs())
def test_kubectl_reads_what_is_written(spec: dict[str, Any]) -> None:
    try:
        documents = render(ServeSpec.model_validate(spec))
    except SpecError:
        reject()
    assert kubectl.parsed(stream(documents, "made for a test")) == documents


@pytest.mark.parametrize(
    ("protocol", "predictor"),
    [("v1", "container"), ("v2", "container"), ("grpc", "container"), ("v1", "runtime"), ("v2", "runtime")],
)
def test_knative_needs_no_flags_by_itself(optional_crds: Crds | None, protocol: str, predictor: str) -> None:
    spec = {"name": "fraud", "model": "models:/fraud/3", "flavor": "sklearn", "mode": "Knative"}
    documents = render(ServeSpec.model_validate({**spec, "protocol": protocol, "predictor": predictor}))
    assert judge(documents, optional_crds).problems == []
