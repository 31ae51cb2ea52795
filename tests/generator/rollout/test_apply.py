"""The commands with --apply and --ask, against a cluster that answers through kubectl."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator import ModelFacts, render
from generator.cli.main import main
from generator.specfile.load import read_spec
from tests.generator.rollout.fake_kubectl import FakeKubectl, config_of_kserve, controller_of_kserve, fake_kubectl
from tests.generator.rollout.simulated import KnativeCluster, SimulatedCluster, StandardCluster

SPEC = "name: fraud\nnamespace: ml\nmodel: models:/fraud/7\nflavor: sklearn\nreplicas: {min: 2}\n"
EIGHT = ("--model", "models:/fraud/8", "--percent", "10", "--apply", "--write")
CONFIG = ("configmap", "inferenceservice-config")
CONTROLLER = ("deployment", "kserve-controller-manager")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "serve.yaml"
    path.write_text(SPEC)
    return path


def deployed(cluster: SimulatedCluster, file: Path) -> None:
    for document in render(read_spec(file.read_text()), {"models:/fraud/7": ModelFacts("sklearn")}):
        cluster.store(document)
    cluster.settle()


@pytest.fixture
def standard(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[StandardCluster, FakeKubectl]]:
    """Version 7 in Standard mode."""
    cluster = StandardCluster(random.Random(1))
    deployed(cluster, file)
    with fake_kubectl(cluster, tmp_path, monkeypatch) as fake:
        fake.others[CONFIG] = config_of_kserve()
        yield cluster, fake


Standard = tuple[StandardCluster, FakeKubectl]


def test_a_rollout_from_begin_to_end(standard: Standard, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster, _ = standard
    assert main(["canary", str(file), *EIGHT]) == 0
    told = capsys.readouterr().err
    assert "1/6 start fraud-next with models:/fraud/8: " in told
    assert cluster.models() == {"models:/fraud/7": 90, "models:/fraud/8": 10}
    written = yaml.safe_load(file.read_text())
    assert written["exposure"]["hosts"] == ["fraud-ml.example.com", "fraud-predictor-ml.example.com"]
    assert main(["promote", str(file), "--apply", "--write"]) == 0
    assert cluster.models() == {"models:/fraud/8": 100}
    assert main(["undo", str(file), "--apply", "--write"]) == 0
    assert cluster.models() == {"models:/fraud/7": 100}
    assert yaml.safe_load(file.read_text())["model"] == "models:/fraud/7"


def test_a_canary_that_has_its_pods_is_promoted(standard: Standard, file: Path) -> None:
    """One pod is enough for any share: that it is there does not say that a promotion has begun."""
    cluster, _ = standard
    file.write_text(SPEC.replace("min: 2", "min: 1"))
    deployed(cluster, file)
    assert main(["canary", str(file), *EIGHT]) == 0
    assert main(["rollback", str(file), "--apply", "--write"]) == 0
    assert cluster.models() == {"models:/fraud/7": 100}
    assert main(["promote", str(file), "--apply", "--write"]) == 0
    assert cluster.models() == {"models:/fraud/8": 100}


def test_names_and_gateway_are_those_of_kserve(standard: Standard, file: Path) -> None:
    """From its route, if there is one, or else from its ConfigMap."""
    cluster, fake = standard
    assert main(["canary", str(file), *EIGHT]) == 0
    parent = cluster.objects["HTTPRoute", "fraud-route"]["spec"]["parentRefs"]
    assert parent == [{"namespace": "kserve", "name": "kserve-ingress-gateway"}]
    for name in ("fraud", "fraud-predictor", "fraud-route"):
        cluster.objects.pop(("HTTPRoute", name), None)
    cluster.gateway()
    cluster.served = False  # the test takes the routes away, not the rollout
    file.write_text(SPEC)
    fake.others[CONFIG] = config_of_kserve(ingressDomain="example.org")
    assert main(["canary", str(file), *EIGHT, "--resume"]) == 0
    route = cluster.objects["HTTPRoute", "fraud-route"]["spec"]
    assert route["hostnames"] == ["fraud-ml.example.org", "fraud-predictor-ml.example.org"]
    assert route["parentRefs"] == [{"namespace": "edge", "name": "public"}]


def test_asking_changes_nothing(standard: Standard, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster, _ = standard
    before = dict(cluster.objects)
    assert main(["canary", str(file), *EIGHT[:4], "--ask", "--only", "command"]) == 0
    assert "kubectl delete httproute fraud --namespace ml" in capsys.readouterr().out
    assert {key: each["spec"] for key, each in cluster.objects.items()} == {
        key: each["spec"] for key, each in before.items()
    }
    assert file.read_text() == SPEC


def test_an_interrupted_run_is_resumed(standard: Standard, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster, _ = standard
    assert main(["canary", str(file), *EIGHT]) == 0
    file.write_text(SPEC)  # as if the run had ended before it was written
    assert main(["canary", str(file), *EIGHT]) == 1
    assert "--resume goes on" in capsys.readouterr().err
    assert main(["canary", str(file), *EIGHT, "--resume"]) == 0
    assert "1/2 start fraud-next" not in capsys.readouterr().out
    assert cluster.models() == {"models:/fraud/7": 90, "models:/fraud/8": 10}


def test_what_a_run_left_behind_is_undone(standard: Standard, file: Path) -> None:
    """The spec knows nothing of the canary."""
    cluster, _ = standard
    assert main(["canary", str(file), *EIGHT]) == 0
    file.write_text(SPEC)
    assert main(["undo", str(file), "--apply"]) == 0
    assert cluster.models() == {"models:/fraud/7": 100}
    assert not {("InferenceService", "fraud-next"), ("HTTPRoute", "fraud-route")} & set(cluster.objects)
    assert ("HTTPRoute", "fraud") in cluster.objects


def test_what_is_not_ready_is_not_promoted(
    standard: Standard, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, _ = standard
    cluster.never_ready = frozenset({"models:/fraud/8"})
    assert main(["canary", str(file), *EIGHT, "--wait", "30"]) == 1
    told = capsys.readouterr().err
    assert "Stopped at step 1 (start fraud-next with models:/fraud/8)" in told
    assert "kubectl delete inferenceservice fraud-next --namespace ml" in told
    assert file.read_text() == SPEC
    assert cluster.models() == {"models:/fraud/7": 100}


@pytest.mark.parametrize(
    ("more", "config", "image", "words"),
    [
        ((), {"enableGatewayApi": False}, None, "makes Ingresses, which split no traffic: expected mode: Knative"),
        (("--by", "kserve"), {}, "kserve/kserve-controller:v0.20.0", "KServe 0.20.0 of this cluster sends"),
    ],
    ids=["ingress", "a release that splits nothing"],
)
def test_what_the_cluster_cannot_do_is_refused(
    standard: Standard,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    config: dict[str, Any],
    image: str | None,
    words: str,
) -> None:
    cluster, fake = standard
    file.write_text(SPEC + "storage: {strategy: container}\n")
    fake.others[CONFIG] = config_of_kserve(**config)
    if image:
        fake.others[CONTROLLER] = controller_of_kserve(image)
    before = dict(cluster.objects)
    assert main(["canary", str(file), *EIGHT, *more]) == 1
    assert words in capsys.readouterr().err
    assert set(cluster.objects) == set(before)


def test_a_newer_kserve_splits(standard: Standard, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, fake = standard
    file.write_text(SPEC + "storage: {strategy: container}\n")
    fake.others[CONTROLLER] = controller_of_kserve("registry.example.com/kserve-controller:v0.21.0@sha256:00")
    assert main(["canary", str(file), *EIGHT[:4], "--by", "kserve", "--ask"]) == 0
    assert "canary" in capsys.readouterr().out


def test_a_serve_of_that_name_stays(standard: Standard, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster, _ = standard
    other = read_spec(SPEC).model_copy(update={"name": "fraud-next"})
    for document in render(other):
        cluster.store(document)
    assert main(["canary", str(file), *EIGHT]) == 1
    assert "there is an InferenceService fraud-next already: expected another name" in capsys.readouterr().err


def test_paths_of_kserve_are_not_lost(standard: Standard, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster, _ = standard
    route = cluster.objects["HTTPRoute", "fraud"]
    path = {"type": "RegularExpression", "value": "/serving/ml/fraud/"}
    route["spec"]["rules"].append({"matches": [{"path": path}], "backendRefs": [{"name": "fraud-predictor"}]})
    assert main(["canary", str(file), *EIGHT]) == 1
    assert "also leads /serving/ml/fraud/ to the serve (pathTemplate)" in capsys.readouterr().err


def test_knative(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(SPEC + "mode: Knative\n")
    cluster = KnativeCluster(random.Random(1))
    deployed(cluster, file)
    with fake_kubectl(cluster, tmp_path, monkeypatch):
        assert main(["canary", str(file), *EIGHT]) == 0
        assert cluster.models() == {"models:/fraud/7": 90, "models:/fraud/8": 10}
        assert main(["rollback", str(file), "--apply", "--write"]) == 0
        assert main(["undo", str(file), "--apply", "--write"]) == 0
        assert cluster.models() == {"models:/fraud/7": 100}
