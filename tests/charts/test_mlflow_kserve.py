"""charts/mlflow-kserve: the control plane in a cluster, with the rights that it uses."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.api.app import OPEN
from controlplane.backends.kserve.kinds import (
    APPLIED,
    CLAIM,
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    KNATIVE_SERVICE,
    POD,
)
from controlplane.cli import guard_of, parser
from controlplane.store.database import Store
from generator import ServeSpec, render
from tests.charts.helm import CHARTS, ROOT, Documents, HelmFailed, helm, template
from tests.generator.schemas import schema_problems

VALUES: dict[str, dict[str, Any]] = {
    "SQLite on a claim": {"admin_tokens": {"secret": "tokens"}, "namespaces": ["ml"]},
    "PostgreSQL and everything else": {
        "image": {"repository": "registry.example.com/controlplane", "tag": "1.10", "pull_secrets": ["registry"]},
        "replicas": 3,
        "database": {"secret": "database"},
        "jwt": {
            "jwks": "https://issuer.example.com/keys",
            "issuer": "https://issuer.example.com",
            "audience": "mlflow-kserve",
            "deployer_scope": "deploy",
            "approver_scope": "approve",
            "admin_scope": "admin",
        },
        "namespaces": ["ml", "ml-prod"],
        "kubeconfig": {"secret": "clusters"},
        "secrets": ["git.token", "hooks"],
        "tracking": {"uri": "http://mlflow.mlflow:5000", "secret": "mlflow"},
        "env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"},
        "service_account": {"name": "deployer", "annotations": {"example.com/role": "deployer"}},
        "network_policy": {"from_namespaces": ["ingress", "monitoring"]},
        "monitoring": {"enabled": True, "labels": {"release": "prometheus"}, "token": {"secret": "viewer"}},
        "node_selector": {"pool": "platform"},
        "tolerations": [{"key": "platform", "operator": "Exists"}],
    },
    "an account and a claim that are there": {
        "admin_tokens": {"secret": "tokens"},
        "service_account": {"create": False, "name": "theirs"},
        "database": {"claim": {"name": "theirs"}},
    },
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nobody may ask": ({}, "admin_tokens.secret"),
    "several on SQLite": ({"admin_tokens": {"secret": "tokens"}, "replicas": 2}, "database.secret"),
    "half of an issuer": ({"jwt": {"jwks": "https://issuer/keys"}}, "belong together"),
    "scopes of no issuer": ({"admin_tokens": {"secret": "tokens"}, "jwt": {"admin_scope": "admin"}}, "scopes"),
    "metrics without a token": (
        {"admin_tokens": {"secret": "tokens"}, "monitoring": {"enabled": True}},
        "monitoring.token.secret",
    ),
    "no account": ({"admin_tokens": {"secret": "tokens"}, "service_account": {"create": False}}, "service_account"),
    "a value that is not there": ({"admin_tokens": {"secret": "tokens"}, "replica": 2}, "replica"),
}
APPLYING = {"get", "list", "create", "patch", "delete"}
Helmed = Callable[[dict[str, Any]], Documents]
Rights = dict[tuple[str, str], set[str]]


@pytest.fixture
def helmed(tmp_path: Path) -> Helmed:
    def run(values: dict[str, Any]) -> Documents:
        file = tmp_path / "values.json"
        file.write_text(json.dumps(values))
        return template("mlflow-kserve", "plane", "platform", file)

    return run


def rights(rules: Iterable[dict[str, Any]]) -> Rights:
    """Verbs by group and resource."""
    result: Rights = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                result.setdefault((group, resource), set()).update(rule["verbs"])
    return result


def group_of(api_version: str) -> str:
    return api_version.rpartition("/")[0]


@pytest.mark.parametrize("name", VALUES)
def test_documents_are_what_their_kinds_allow(name: str, helmed: Helmed) -> None:
    documents = helmed(VALUES[name])
    assert "Deployment/plane" in documents
    assert {key: problems for key, each in documents.items() if (problems := schema_problems(each, None))} == {}


def test_lint(tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(VALUES["SQLite on a claim"]))
    assert "0 chart(s) failed" in helm("lint", str(CHARTS / "mlflow-kserve"), "--values", str(file))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, helmed: Helmed) -> None:
    values, named = REFUSED[name]
    with pytest.raises(HelmFailed, match=named):
        helmed(values)


def test_rights_are_those_that_are_used(helmed: Helmed) -> None:
    documents = helmed(VALUES["PostgreSQL and everything else"])
    expected: Rights = {(group_of(each.api_version), each.plural): set(APPLYING) for each in APPLIED}
    for each in (INFERENCE_SERVICE, HTTP_ROUTE):
        expected[group_of(each.api_version), each.plural].add("watch")
    expected[group_of(CLAIM.api_version), CLAIM.plural] = {"get", "create", "patch"}
    for each in (DEPLOYMENT, KNATIVE_SERVICE, POD):
        expected[group_of(each.api_version), each.plural] = {"get", "list"}
    expected["", "pods/log"] = {"get"}
    assert {each for each in documents if each.startswith(("Role/", "ClusterRole"))} == {"Role/plane-controlplane"}
    assert rights(documents["Role/plane-controlplane"]["rules"]) == expected


def test_rights_are_given_in_each_namespace(tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(VALUES["PostgreSQL and everything else"]))
    text = helm("template", "plane", str(CHARTS / "mlflow-kserve"), "--namespace", "platform", "--values", str(file))
    documents = [each for each in yaml.safe_load_all(text) if each]
    bindings = {each["metadata"]["namespace"]: each["subjects"] for each in documents if each["kind"] == "RoleBinding"}
    account = [{"kind": "ServiceAccount", "name": "deployer", "namespace": "platform"}]
    assert bindings == {"ml": account, "ml-prod": account}
    assert {each["metadata"]["namespace"] for each in documents if each["kind"] == "Role"} == {"ml", "ml-prod"}


def test_rights_that_serves_give_are_held(helmed: Helmed) -> None:
    """Kubernetes lets nobody give rights that they do not have themselves."""
    held = rights(helmed(VALUES["SQLite on a claim"])["Role/plane-controlplane"]["rules"])
    spec = {
        "name": "fraud",
        "model": "models:/fraud/3",
        "flavor": "sklearn",
        "storage": {"strategy": "pvc", "cache": {"create": True, "cleanup": True}},
        "scaling": {"schedule": [{"start": "0 8 * * *", "end": "0 20 * * *", "min": 3}], "by": "hpa", "cpu": 70},
    }
    roles = [each for each in render(ServeSpec.model_validate(spec)) if each["kind"] == "Role"]
    assert len(roles) == 2
    for role in roles:
        for key, verbs in rights(role["rules"]).items():
            assert verbs <= held[key], key


@pytest.mark.parametrize("name", VALUES)
def test_the_command_takes_its_flags(name: str, helmed: Helmed, tmp_path: Path) -> None:
    container = helmed(VALUES[name])["Deployment/plane"]["spec"]["template"]["spec"]["containers"][0]
    command, *flags = container["args"]
    assert command == "up"
    options = parser().parse_args(flags)
    if options.admin_token_file:  # a file of the pod
        options.admin_token_file = str(tmp_path / "tokens")
        (tmp_path / "tokens").write_text("a-token-of-32-characters-or-more\n")
    store = Store(f"sqlite:///{tmp_path / 'control.db'}")
    try:
        store.migrate()
        assert not guard_of(options, store).is_open()
    finally:
        store.close()
    probed = {container[f"{each}Probe"]["httpGet"]["path"] for each in ("startup", "readiness", "liveness")}
    assert probed == {"/healthcheck", "/readycheck"}
    assert probed <= set(OPEN), "probes have no token"


@pytest.mark.parametrize("chart", ["mlflow-kserve", "serve"])
def test_the_version_is_that_of_the_project(chart: str) -> None:
    about = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert about["version"] == about["appVersion"] == project["version"]
