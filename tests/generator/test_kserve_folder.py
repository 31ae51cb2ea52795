"""kserve/ is what the generator makes, a cluster takes it as it is, and it takes over from KServe's own runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from generator import ServeSpec, render
from generator.cli.main import main
from generator.crds import Crds
from generator.platform import platform
from generator.resources.runtimes import runtime_name
from predictors.flavor import FLAVORS
from tests.generator.judge import judge
from tests.generator.kubectl import kubectl, needed
from tools.kserve_folder import FOLDER, ROOT, SPEC, contents

MADE = contents()
EXAMPLES = [path for path in MADE if path.parent.name == "examples"]
Document = dict[str, Any]

# As KServe installs it, as far as the choice goes.
MLSERVER: Document = {
    "metadata": {"name": "kserve-mlserver"},
    "spec": {
        "supportedModelFormats": [
            {"name": "mlflow", "version": version, "autoSelect": True, "priority": 1} for version in ("1", "2")
        ],
        "protocolVersions": ["v2"],
    },
}


def documents(*names: str) -> list[Document]:
    """Those of files of the folder, without kustomize's."""
    texts = [MADE[FOLDER / name] for name in names] or list(MADE.values())
    parsed = [document for text in texts for document in yaml.safe_load_all(text)]
    return [document for document in parsed if document["kind"] != "Kustomization"]


@pytest.mark.parametrize("path", MADE, ids=lambda path: str(path.relative_to(FOLDER)))
def test_nothing_has_drifted(path: Any) -> None:
    assert path.read_text() == MADE[path], "run: make manifests"


def test_nothing_else_lies_there() -> None:
    """Least of all a module: it would hide KServe's own package."""
    specs = set(FOLDER.glob(f"examples/*{SPEC}"))
    assert {path for path in FOLDER.rglob("*") if path.is_file()} == set(MADE) | specs
    assert len(EXAMPLES) == len(specs)


def test_a_cluster_takes_the_platform(optional_crds: Crds | None) -> None:
    verdict = judge(documents("runtimes.yaml", "storage.yaml", "namespace/cache.yaml"), optional_crds)
    assert verdict.problems == []
    assert verdict.external == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_cluster_with_the_platform_takes_the_examples(path: Any, optional_crds: Crds | None) -> None:
    example = list(yaml.safe_load_all(MADE[path]))
    verdict = judge(documents("runtimes.yaml", "storage.yaml") + example, optional_crds)
    assert verdict.problems == []
    assert {one for one in verdict.external if "mlflow-tracking" not in one} <= {
        "Gateway kserve/kserve-ingress-gateway"
    }


def test_each_example_says_the_command_that_made_it() -> None:
    for path in EXAMPLES:
        spec = path.relative_to(ROOT).with_name(path.stem + SPEC)
        assert f": python -m generator render {spec}. Change the spec, not this.\n" in MADE[path].split("apiVersion")[0]


def test_the_command_writes_the_folder(tmp_path: Path) -> None:
    assert main(["platform", "-o", str(tmp_path / "made")]) == 0
    written = {path.relative_to(tmp_path / "made"): path.read_text() for path in (tmp_path / "made").rglob("*.yaml")}
    assert written == {path.relative_to(FOLDER): text for path, text in MADE.items() if path not in EXAMPLES}


def test_the_command_takes_images_of_ones_own(tmp_path: Path) -> None:
    assert main(["platform", "-o", str(tmp_path), "--registry", "reg.io", "--tag", "1.2", "--namespace", "ml"]) == 0
    assert "image: reg.io/predictor-sklearn:1.2\n" in (tmp_path / "runtimes.yaml").read_text()
    assert "image: reg.io/storage:1.2\n" in (tmp_path / "storage.yaml").read_text()
    assert "namespace: ml\n" in (tmp_path / "namespace" / "kustomization.yaml").read_text()


@needed
@pytest.mark.parametrize("folder", ["", "namespace"], ids=["cluster", "namespace"])
def test_kustomize_finds_everything(folder: str) -> None:
    built = list(yaml.safe_load_all(kubectl("kustomize", str(FOLDER / folder))))
    names = ["namespace/cache.yaml"] if folder else ["runtimes.yaml", "storage.yaml"]
    key = lambda document: (document["kind"], document["metadata"]["name"])  # noqa: E731
    assert sorted(built, key=key) == sorted(documents(*names), key=key)


def test_the_tracking_secret_is_not_applied_with_the_rest() -> None:
    """It would empty the one that somebody has filled in."""
    for name in ("kustomization.yaml", "namespace/kustomization.yaml"):
        assert not any("secret" in file for file in yaml.safe_load(MADE[FOLDER / name])["resources"])


def test_a_filled_in_secret_and_files_of_others_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["platform", "-o", str(tmp_path)]) == 0
    secret = tmp_path / "namespace" / "tracking-secret.yaml"
    assert main(["platform", "-o", str(tmp_path), "--namespace", "ml"]) == 0
    assert "namespace: ml\n" in secret.read_text()  # a template still
    filled = secret.read_text().replace("PASSWORD: ''", "PASSWORD: secret")
    secret.write_text(filled)
    capsys.readouterr()
    assert main(["platform", "-o", str(tmp_path), "--tag", "2"]) == 0
    assert secret.read_text() == filled
    assert f"{secret}: has been filled in, and is kept\n" in capsys.readouterr().err
    runtimes = (tmp_path / "runtimes.yaml").read_text()
    (tmp_path / "kustomization.yaml").write_text("resources: [mine.yaml]\n")
    assert main(["platform", "-o", str(tmp_path), "--tag", "3"]) == 2
    assert "kustomization.yaml: was not written by mlflow-kserve, and would be overwritten" in capsys.readouterr().err
    assert (tmp_path / "runtimes.yaml").read_text() == runtimes


# Which runtime KServe chooses


def chosen(version: str | None, protocol: str, runtimes: list[Document]) -> list[str]:
    """The runtimes that KServe may select for modelFormat mlflow without a runtime, the first choice first."""
    fitting = []
    for runtime in runtimes:
        formats = [
            one
            for one in runtime["spec"]["supportedModelFormats"]
            if one.get("autoSelect") and one["name"] == "mlflow" and version in (None, one["version"])
        ]
        if formats and protocol in runtime["spec"]["protocolVersions"]:
            fitting.append((-formats[0].get("priority", 0), runtime["metadata"]["name"]))
    return [name for _, name in sorted(fitting)]


@pytest.mark.parametrize("version", [None, "1", "2", "3"])
@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
def test_ours_is_chosen_before_mlserver(version: str | None, protocol: str) -> None:
    both = [MLSERVER, *documents("runtimes.yaml")]
    assert chosen(version, protocol, both)[0] == "mlflow-kserve-boosting"
    assert chosen(version, protocol, [MLSERVER]) == (["kserve-mlserver"] if protocol == "v2" and version != "3" else [])


def test_the_webhook_finds_no_two_of_one_priority() -> None:
    priorities = [
        (one["name"], one["version"], one["priority"])
        for runtime in [MLSERVER, *documents("runtimes.yaml")]
        for one in runtime["spec"]["supportedModelFormats"]
        if one.get("autoSelect")
    ]
    assert len(priorities) == len(set(priorities))


def test_every_flavor_has_a_runtime_with_its_image() -> None:
    images = {
        one["metadata"]["name"]: one["spec"]["containers"][0]["image"]
        for one in platform("reg.io", "1.2")["runtimes.yaml"]
    }
    assert {flavor.name: images[runtime_name(flavor.name)] for flavor in FLAVORS} == {
        flavor.name: f"reg.io/predictor-{flavor.image}:1.2" for flavor in FLAVORS
    }


def test_a_runtime_fits_every_mode_and_every_grace_period() -> None:
    for runtime in documents("runtimes.yaml"):
        (container,) = runtime["spec"]["containers"]
        said = {variable["name"]: variable["value"] for variable in container["env"]}
        assert "ports" not in container  # Knative takes one, and which one is the protocol's
        assert "MLFLOW_KSERVE_FLAVOR" not in said  # a family serves several
        assert "MODEL_URI" not in said
        # A runtime cannot say terminationGracePeriodSeconds, which is 30 then.
        assert float(said["MLFLOW_KSERVE_DRAIN_DELAY"]) + float(said["MLFLOW_KSERVE_GRACE_PERIOD"]) < 30


def test_the_storage_container_takes_mlflows_uris_only() -> None:
    (container,) = documents("storage.yaml")
    prefixes = tuple(one["prefix"] for one in container["spec"]["supportedUriFormats"])
    for uri in (
        "models:/fraud/3",
        "models:/fraud@champion",
        "runs:/1/model",
        "mlflow-artifacts:/1/a",
        "mlflow://models/a/1",
    ):
        assert uri.startswith(prefixes)
    for uri in ("s3://bucket/x", "gs://bucket/x", "hf://org/model", "pvc://claim/x", "https://host/x"):
        assert not uri.startswith(prefixes)
    assert "args" not in container["spec"]["container"]  # KServe's part
    (source,) = container["spec"]["container"]["envFrom"]
    assert source["secretRef"] == {"name": "mlflow-tracking", "optional": True}
    assert documents("namespace/tracking-secret.yaml")[0]["metadata"]["name"] == "mlflow-tracking"


CONTAINER = {"strategy": "container"}


def over(runtime: Document, reference: Document) -> Document:
    """As KServe merges the pod of a reference over that of its runtime: lists of named things by name, key by key."""
    merged = dict(runtime)
    for key, value in reference.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = over(below, value)
        elif isinstance(below, list) and all("name" in one for one in [*below, *value]):
            named = {one["name"]: one for one in below}
            merged[key] = list((named | {one["name"]: over(named.get(one["name"], {}), one) for one in value}).values())
        else:
            merged[key] = value
    return merged


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"mode": "Knative", "grace_period": "10s"},
        {"protocol": "grpc", "auth": {"tls_secret": "tls"}},
        {"security": {"read_only_root": False, "tmp_size": "4Gi"}},
        {"dependencies": {"env_manager": "virtualenv"}},
    ],
)
def test_a_reference_laid_over_its_runtime_is_the_container_that_the_spec_asks_for(more: Document) -> None:
    spec = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "storage": CONTAINER, **more}
    reference, own = (
        next(
            document["spec"]["predictor"]
            for document in render(ServeSpec.model_validate({**spec, "predictor": kind}))
            if document["kind"] == "InferenceService"
        )
        for kind in ("runtime", "container")
    )
    runtime = next(one for one in documents("runtimes.yaml") if one["metadata"]["name"] == runtime_name("sklearn"))
    merged = over(runtime["spec"]["containers"][0], reference["model"])
    expected = own["containers"][0]
    for part in ("ports", "resources", "securityContext", "startupProbe", "readinessProbe", "livenessProbe"):
        assert merged.get(part) == expected.get(part), part
    assert sorted(map(str, merged["volumeMounts"])) == sorted(map(str, expected["volumeMounts"]))
    env, wanted = ({one["name"]: one["value"] for one in each["env"]} for each in (merged, expected))
    said_to_kserve = {"PROTOCOL", "STORAGE_URI"}
    assert {name: value for name, value in env.items() if value} == {
        name: value for name, value in wanted.items() if name not in said_to_kserve
    }
    assert over({"volumes": runtime["spec"]["volumes"]}, {"volumes": reference["volumes"]})["volumes"] == own["volumes"]
