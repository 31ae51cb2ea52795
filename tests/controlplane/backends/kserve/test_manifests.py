"""What is applied for a revision."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.backends.kserve.kinds import APPLIED, CLAIM, kind_of
from controlplane.backends.kserve.manifests import (
    DIGEST,
    REVISION,
    manifests,
    pods_of,
    problems,
    record_name,
    recorded,
    rendered,
    revision_labels,
)
from generator import ServeSpec, read_spec, render
from tests.cluster.cases import SPECS
from tests.controlplane.backends.kserve.serves import KEY, NAMESPACE, content, service_of

EXAMPLES = sorted((Path(__file__).parents[4] / "kserve" / "examples").glob("*.spec.yaml"))


def test_labels_on_every_object_say_whose_it_is() -> None:
    of = content(
        infra={
            "replicas": {"min": 2, "max": 3},
            "scaling": {"by": "hpa", "schedule": [{"start": "0 8 * * *", "end": "0 9 * * *", "min": 3}]},
        }
    )
    listed = manifests(KEY, 7, of)
    assert {each["kind"] for each in listed} >= {"InferenceService", "PodDisruptionBudget", "CronJob", "ConfigMap"}
    for each in listed:
        assert each["metadata"]["namespace"] == NAMESPACE
        assert {name: text for name, text in each["metadata"]["labels"].items() if name.startswith("mlflow-kserve/")} == {
            "mlflow-kserve/environment": "prod", "mlflow-kserve/serve": "fraud",
            "mlflow-kserve/revision": "7", "mlflow-kserve/digest": of.sha256[:40],
        }  # fmt: skip


def test_what_is_applied_is_what_the_generator_renders() -> None:
    """But for labels, and the record."""
    of = content()
    for ours, theirs in zip(manifests(KEY, 1, of), rendered("fraud", of), strict=False):
        assert ours["kind"] == theirs["kind"]
        assert ours.get("spec", {}).get("predictor", {}).get("containers") == theirs.get("spec", {}).get(
            "predictor", {}
        ).get("containers")


def test_claims_are_shared_and_have_no_revision() -> None:
    of = content(infra={"storage": {"strategy": "pvc", "cache": {"claim": "cache", "create": True}}})
    (claim,) = [each for each in manifests(KEY, 1, of) if each["kind"] == CLAIM.kind]
    assert REVISION not in claim["metadata"]["labels"]


def test_the_record_tells_the_revision() -> None:
    of = content(infra={"resources": {"cores": "2"}})
    record = manifests(KEY, 3, of)[-1]
    assert record["metadata"]["name"] == record_name("fraud")
    known = recorded(record)
    assert known is not None
    assert (known.key, known.revision, known.content, known.content.sha256) == (KEY, 3, of, of.sha256)


def test_a_record_that_somebody_has_changed_tells_nothing() -> None:
    record = manifests(KEY, 3, content())[-1]
    text = record["data"]["content.json"]
    for changed in (text.replace("fraud/1", "fraud/9"), "{", "{}"):
        assert recorded({**record, "data": {"content.json": changed}}) is None


def test_pods_keep_their_labels_if_nothing_of_them_changes() -> None:
    before = content(infra={"replicas": {"min": 1, "max": 2}})
    listed = manifests(KEY, 1, before)
    service, record = service_of(listed), listed[-1]
    kept = pods_of(KEY, 2, content(infra={"replicas": {"min": 1, "max": 5}}), service, record)
    assert kept == revision_labels(service) == {REVISION: "1", DIGEST: before.sha256[:40]}
    assert pods_of(KEY, 2, content("models:/fraud/2"), service, record) is None
    assert pods_of(KEY, 1, content("models:/fraud/2"), service, None) == kept, "that was decided before"
    assert pods_of(KEY, 2, before, service, None) is None
    assert pods_of(KEY, 1, before, None, record) is None
    second = service_of(manifests(KEY, 2, content(infra={"replicas": {"min": 1, "max": 5}}), kept))
    assert (second["metadata"]["labels"][REVISION], revision_labels(second)) == ("2", kept)


def test_an_environment_says_what_its_serves_have_in_common() -> None:
    of = content(
        domain_suffix=".mycompany.com", image_registry="registry.example.com/ml", image_tag="7", mode="Standard",
        tracking_uri="http://mlflow.mlflow:5000", tracking_secret="mlflow", security_group="sg-1, sg-2",
        subnets="subnet-a", ft_redis_url="redis://features:6379",
    )  # fmt: skip
    service = service_of(manifests(KEY, 1, of))
    container = service["spec"]["predictor"]["containers"][0]
    assert container["image"] == "registry.example.com/ml/predictor-sklearn:7"
    assert container["envFrom"] == [{"secretRef": {"name": "mlflow"}}]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["MLFLOW_TRACKING_URI"] == "http://mlflow.mlflow:5000"
    assert variables["FT_REDIS_URL"] == "redis://features:6379"
    annotations = service["metadata"]["annotations"]
    assert annotations["alb.ingress.kubernetes.io/security-groups"] == "sg-1, sg-2"
    assert annotations["alb.ingress.kubernetes.io/subnets"] == "subnet-a"
    imaged = service_of(manifests(KEY, 1, content(infra={"image": "mine:1"}, image_registry="registry.example.com/ml")))
    assert imaged["spec"]["predictor"]["containers"][0]["image"] == "mine:1"
    other = service_of(manifests(KEY, 1, content(security_group="sg-1", ingress_class="nginx")))
    assert not any(name.startswith("alb.") for name in other["metadata"]["annotations"])


def test_what_cannot_be_rendered_is_said_field_by_field() -> None:
    wrong = content(infra={"exposure": {"route": "own"}, "scaling": {"rps": 5}})
    assert {each.field for each in problems("fraud", wrong)} >= {"spec.scaling.prometheus"}
    unknown = content().model_copy(update={"flavor": None})
    assert [each.field for each in problems("fraud", unknown)] == ["spec.flavor"]


@pytest.mark.parametrize("name", [*SPECS, *(path.name for path in EXAMPLES)])
def test_every_kind_that_is_rendered_is_known(name: str) -> None:
    """What is not in the table could be applied and would never be found again."""
    files = {path.name: path for path in EXAMPLES}
    spec = read_spec(files[name].read_text()) if name in files else ServeSpec.model_validate(SPECS[name])
    for each in render(spec):
        assert kind_of(each) in (*APPLIED, CLAIM)
