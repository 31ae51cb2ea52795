"""charts/serve renders what the generator renders, and refuses what it refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generator import ServeSpec, SpecError, render
from tests.charts.helm import CHARTS, Documents, HelmFailed, helm, template
from tools.serve_chart.__main__ import contents
from tools.serve_chart.choices import CHOICES
from tools.serve_chart.variants import REFUSALS, rendered, spec_fields

SPECS: dict[str, dict[str, Any]] = {
    "the least": {"model": "models:/fraud/3", "flavor": "sklearn"},
    "a registry": {
        "model": "models:/fraud@champion",
        "flavor": "xgboost",
        "tracking": {"uri": "http://mlflow.mlflow:5000", "secret": "mlflow"},
        "replicas": {"min": 2, "max": 10},
        "scaling": {"cpu": 60},
        "resources": {"cores": 2, "memory": "4Gi"},
    },
    "text that YAML could misread": {
        "model": "runs:/0123456789abcdef/model",
        "flavor": "pyfunc",
        "image_registry": "registry.example.com:5000/ml",
        "image_tag": "1.10",
        "env": {"A": "no", "B": "say \"{{ .Values.x }}\": 'so' \\ # %d", "C": "1e6", "D": "", "E": "two\nlines"},
        "labels": {"example.com/team": "007", "z": "true"},
        "annotations": {"note": "a: b"},
        "args": ["--max-batch-size=8", "{{ quoted }}"],
    },
    "GPUs of Knative": {
        "model": "s3://bucket/models/fraud",
        "flavor": "pytorch",
        "mode": "Knative",
        "replicas": {"min": 0, "max": 3},
        "scaling": {"concurrency": 12},
        "resources": {"cores": "1500m", "gpu": 2},
        "placement": {"node_selector": {"gpu": "a100"}},
        "exposure": {"host": "fraud.example.com"},
        "monitoring": {"scrape": "podmonitor"},
    },
    "a closed network": {
        "model": "models:/fraud/3",
        "flavor": "onnx",
        "protocol": "grpc",
        "replicas": {"min": 3, "max": 3},
        "scaling": {"by": "none"},
        "tracking": {"uri": "https://mlflow.example.com", "namespace": "mlflow"},
        "network_policy": {"from_namespaces": ["shop", "istio-system"]},
        "monitoring": {"scrape": "servicemonitor"},
        "exposure": {"visibility": "cluster-local"},
        "service_account": {"name": "fraud-reader"},
        "env_from": ["one", "two"],
        "image_pull_secrets": ["registry"],
    },
    "millions": {"model": "pvc://claim/model", "flavor": "lightgbm", "replicas": {"min": 1, "max": 2000000}},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a model without a version": ({"model": "models:/fraud", "flavor": "sklearn"}, "model"),
    "a model whose manifests the chart does not know": ({"model": "https://host/model", "flavor": "sklearn"}, "model"),
    "a password in a manifest": (
        {"model": "models:/fraud/3", "flavor": "sklearn", "tracking": {"uri": "https://me:secret@mlflow"}},
        "uri",
    ),
    "a tracking server that is the pod itself": (
        {"model": "models:/fraud/3", "flavor": "sklearn", "tracking": {"uri": "http://LocalHost:5000"}},
        "uri",
    ),
    "memory without a unit": (
        {"model": "models:/fraud/3", "flavor": "sklearn", "resources": {"memory": "4"}},
        "memory",
    ),
    "no flavor": ({"model": "models:/fraud/3"}, "flavor"),
    "a field of the spec that the chart lacks": (
        {"model": "models:/fraud/3", "flavor": "sklearn", "feast": {"server_url": "http://feast"}},
        "feast",
    ),
    "a variable that the generator sets": (
        {"model": "models:/fraud/3", "flavor": "sklearn", "env": {"MODEL_URI": "models:/other/1"}},
        "MODEL_URI",
    ),
    "a flag that contradicts the pod": (
        {"model": "models:/fraud/3", "flavor": "sklearn", "args": ["--http-port=1"]},
        "args",
    ),
    "a number where text would be written in another way": (
        {"model": "models:/fraud/3", "flavor": "sklearn", "env": {"SIZE": 10000000}},
        "SIZE",
    ),
    "a policy without the namespace of the tracking server": (
        {"model": "models:/fraud/3", "flavor": "sklearn", "network_policy": {"from_namespaces": ["shop"]}},
        "tracking",
    ),
}
MODELS = [
    "models:/fraud/latest",
    "models:/fraud/Production",
    "models:/fraud/12",
    "models:/fraud@champion",
    "models:/m-0123456789abcdef0123456789abcdef",
    "runs:/0123456789abcdef0123456789abcdef/model",
    "hf://org/model",
    "hf://org/model:0123456789abcdef0123456789abcdef01234567",
    "gs://bucket/model",
    "pvc://claim/folder/model",
]
SEEDS = range(40)


Helmed = Callable[[dict[str, Any]], Documents]


@pytest.fixture
def helmed(tmp_path: Path) -> Helmed:
    """Renders a spec with the chart."""

    def run(spec: dict[str, Any]) -> Documents:
        values = tmp_path / "values.json"
        values.write_text(json.dumps({key: each for key, each in spec.items() if key not in ("name", "namespace")}))
        return template("serve", spec.get("name", "fraud"), spec.get("namespace", "ml"), values)

    return run


@pytest.mark.slow
def test_the_chart_is_what_the_generator_makes() -> None:
    for path, text in contents().items():
        assert path.read_text() == text, f"{path.name} is not what the generator makes now: make charts"


def test_lint(tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    values.write_text(json.dumps(SPECS["a registry"]))
    assert "0 chart(s) failed" in helm("lint", str(CHARTS / "serve"), "--values", str(values))


@pytest.mark.parametrize("name", SPECS)
def test_specs_of_people(name: str, helmed: Helmed) -> None:
    resources = render(ServeSpec.model_validate({"name": "fraud", "namespace": "ml", **SPECS[name]}))
    assert helmed(SPECS[name]) == {f"{each['kind']}/{each['metadata']['name']}": each for each in resources}


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
@pytest.mark.parametrize("model", MODELS)
def test_every_kind_of_model(model: str, mode: str, helmed: Helmed) -> None:
    spec = {"model": model, "mode": mode, "flavor": "transformers", "tracking": {"uri": "http://mlflow.mlflow:5000"}}
    assert helmed(spec) == rendered({"name": "fraud", "namespace": "ml", **spec})


@pytest.mark.parametrize("seed", SEEDS)
def test_many_choices_at_a_time(seed: int, helmed: Helmed) -> None:
    """More of them than the templates were derived from."""
    generator = random.Random(seed)
    assignment = tuple(
        generator.randrange(len(each.alternatives)) if generator.random() < 0.4 else 0 for each in CHOICES
    )
    fields = spec_fields(CHOICES, assignment, seed % 2)
    expected = rendered(fields)
    if REFUSALS in expected:
        with pytest.raises(HelmFailed) as failure:
            helmed(fields)
        for reason in expected[REFUSALS]:
            assert reason in str(failure.value)
    else:
        assert helmed(fields) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, helmed: Helmed) -> None:
    values, named = REFUSED[name]
    with pytest.raises(HelmFailed, match=named):
        helmed(values)


def test_a_refusal_has_the_words_of_the_generator(helmed: Helmed) -> None:
    spec = {"model": "models:/fraud/3", "flavor": "sklearn", "replicas": {"min": 4, "max": 2}}
    with pytest.raises(SpecError) as refusal:
        render(ServeSpec.model_validate({"name": "fraud", **spec}))
    with pytest.raises(HelmFailed) as failure:
        helmed(spec)
    assert str(refusal.value) in str(failure.value)
