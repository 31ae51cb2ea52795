"""What is said in Kubernetes' own words: laid over what is rendered, and refused where the spec has a field for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from generator import ServeSpec, SpecError, render
from generator.cli.main import main
from generator.crds import Crds

BASE: dict[str, Any] = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "namespace": "ml"}


def service(**fields: Any) -> dict[str, Any]:
    documents = render(ServeSpec.model_validate(BASE | fields))
    return next(each for each in documents if each["kind"] == "InferenceService")


def test_a_field_of_the_pod_is_laid_over_the_predictor(optional_crds: Crds | None) -> None:
    lifecycle = {"preStop": {"exec": {"command": ["sleep", "5"]}}}
    pod = {
        "runtimeClassName": "nvidia",
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["mlflow"]}],
        "containers": [
            {"name": "kserve-container", "lifecycle": lifecycle, "env": [{"name": "EXTRA", "value": "1"}]},
            {"name": "sidecar", "image": "example.com/sidecar:1"},
        ],
        "volumes": [{"name": "more", "emptyDir": {}}],
    }
    plain, patched = service(), service(pod=pod)
    predictor = patched["spec"]["predictor"]
    assert predictor["runtimeClassName"] == "nvidia"
    main_container, sidecar = predictor["containers"]
    assert main_container["lifecycle"] == lifecycle
    (before,) = plain["spec"]["predictor"]["containers"]
    assert main_container["env"] == [*before["env"], {"name": "EXTRA", "value": "1"}]
    assert main_container["image"] == before["image"]
    assert sidecar["name"] == "sidecar"
    assert [each["name"] for each in predictor["volumes"]] == ["tmp", "model", "more"]
    if optional_crds:
        assert list(optional_crds.problems(patched)) == []


def test_a_patch_is_laid_over_the_inference_service() -> None:
    patched = service(patch={"metadata": {"annotations": {"example.com/a": "b"}}, "spec": {"transformer": {"x": 1}}})
    assert patched["metadata"]["annotations"]["example.com/a"] == "b"
    assert "serving.kserve.io/deploymentMode" in patched["metadata"]["annotations"]
    assert patched["spec"]["transformer"] == {"x": 1}


def test_null_takes_a_field_away() -> None:
    spec = ServeSpec.model_validate(BASE | {"pod": {"deploymentStrategy": None, "securityContext": {"fsGroup": None}}})
    (predictor,) = (each["spec"]["predictor"] for each in render(spec) if each["kind"] == "InferenceService")
    assert "deploymentStrategy" not in predictor
    assert "fsGroup" not in predictor["securityContext"]


def test_a_canary_behind_the_route_has_them_too() -> None:
    fields = {"exposure": {"domain_suffix": "example.com"}, "canary": {"model": "models:/fraud/8", "percent": 10}}
    documents = render(ServeSpec.model_validate(BASE | fields | {"pod": {"runtimeClassName": "nvidia"}}))
    classes = [
        each["spec"]["predictor"]["runtimeClassName"] for each in documents if each["kind"] == "InferenceService"
    ]
    assert classes == ["nvidia", "nvidia"]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"pod": {"minReplicas": 3}}, "pod.minReplicas: cannot be set here: set replicas.min instead"),
        ({"patch": {"metadata": {"name": "x"}}}, "patch.metadata.name: cannot be set here: set name instead"),
        ({"patch": {"spec": {"predictor": {"canaryTrafficPercent": 5}}}}, "set canary instead"),
        (
            {
                "patch": {"spec": {"transformer": {"containers": []}}},
                "exposure": {"route": "own", "domain_suffix": "example.com"},
            },
            "patch.spec.transformer: a route of ours leads to the predictor, past it",
        ),
        ({"patch": {"spec": {"canary": []}}}, "patch.spec.canary: cannot be set here"),
    ],
)
def test_what_has_a_field_of_its_own_is_refused(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(SpecError) as caught:
        service(**fields)
    assert where in str(caught.value)


def test_the_crd_finds_what_it_does_not_know(kserve_crds: Crds) -> None:
    patched = service(pod={"runtimeClas": "nvidia"})
    assert any("runtimeClas" in str(problem) for problem in kserve_crds.problems(patched))


def test_explain_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("name: fraud\nmodel: models:/fraud/7\nflavor: sklearn\npod: {runtimeClassName: nvidia}\n")
    assert main(["explain", str(file)]) == 0
    assert "pod.runtimeClassName" in capsys.readouterr().out
