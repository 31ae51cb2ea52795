"""What a cluster would refuse, or ignore without a word, is refused before it gets there."""

from __future__ import annotations

from typing import Any

import pytest

from generator import ModelFacts, ServeSpec, SpecError, render
from tests.generator.refusals import refused_with_a_way_out

BASE: dict[str, Any] = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn"}
KNATIVE = {"mode": "Knative"}
CANARY = {"model": "models:/fraud/8", "percent": 10}
BY_KSERVE = {**CANARY, "by": "kserve"}
ROUTE = {"exposure": {"domain_suffix": "example.com"}}
CONTAINER = {"storage": {"strategy": "container"}}

# what is said, where it is wrong, a word of why, and what makes it right
REFUSED: dict[str, tuple[dict[str, Any], str, str, dict[str, Any]]] = {
    "candidate without a registry": (
        {"candidate": {"model": "models:/fraud/8"}}, "candidate.model", "tracking.uri", {"tracking": {"uri": "http://mlflow"}},
    ),
    "candidate that is the model": (
        {"candidate": {"model": "models:/fraud/7"}, "tracking": {"uri": "http://mlflow"}},
        "candidate.model", "itself", {"candidate": {"model": "models:/fraud/8"}},
    ),
    "old KServe": ({"kserve": "0.15"}, "kserve", "0.16", {"kserve": "0.16"}),
    "storage container by name": (
        {"kserve": "0.19", "storage": {"strategy": "container", "storage_container": "mine"}},
        "storage.storage_container", "0.20", {"kserve": "0.20"},
    ),
    "storage container that nobody asks": (
        {"storage": {"strategy": "emptydir", "storage_container": "mine"}},
        "storage.storage_container", "emptydir", {"storage": {"strategy": "container", "storage_container": "mine"}},
    ),
    "container concurrency in Standard": ({"container_concurrency": 4}, "container_concurrency", "Knative", KNATIVE),
    "rolling in Knative": ({**KNATIVE, "rolling": {"surge": 2}}, "rolling", "Knative", {"mode": "Standard"}),
    "revision in Knative": ({**KNATIVE, "revision": "v7"}, "revision", "Knative", {"mode": "Standard"}),
    "TLS in Knative": ({**KNATIVE, "auth": {"tls_secret": "tls"}}, "auth.tls_secret", "plain text", {"mode": "Standard"}),
    "grace above the timeout in Knative": (
        {**KNATIVE, "grace_period": "90s"}, "grace_period", "60s", {"timeout": "90s"},
    ),
    "no timeout in Knative": ({**KNATIVE, "timeout": "0s"}, "timeout", "default", {"timeout": "60s"}),
    "canary of old KServe in Standard": (
        {**CONTAINER, "canary": BY_KSERVE, "kserve": "0.19"},
        "canary.by", "ignores canaryTrafficPercent", {**ROUTE, "canary": CANARY},
    ),
    "canary by KServe without storageUri": (
        {"canary": BY_KSERVE}, "canary.by", "storage.strategy: container", CONTAINER,
    ),
    "canary by KServe of the same model": (
        {**CONTAINER, "canary": {**BY_KSERVE, "model": "models:/fraud/7"}},
        "canary.model", "URI changes", {"canary": BY_KSERVE},
    ),
    "canary with the name of the stable one": (
        {**CONTAINER, "canary": BY_KSERVE, "revision": "v8"}, "canary.name", "'v8'", {"revision": "v7"},
    ),
    "canary with more pods": (
        {**CONTAINER, "canary": {**BY_KSERVE, "replicas": 3}, "replicas": {"min": 2}},
        "canary.replicas", "replicas.min", {"replicas": {"min": 3}},
    ),
    "canary by a route without host names": ({"canary": CANARY}, "exposure.domain_suffix", "ingressDomain", ROUTE),
    "canary by a route that nobody takes": (
        {"canary": CANARY, "exposure": {"visibility": "cluster-local"}}, "canary", "past any route", ROUTE,
    ),
    "canary by a route that changes nothing": (
        {**ROUTE, "canary": {**CANARY, "model": "models:/fraud/7"}}, "canary.model", "another", {"canary": CANARY},
    ),
    "canaries with more than all": (
        {**ROUTE, "canary": CANARY, "variants": [{**CANARY, "name": "b", "percent": 91}]},
        "canary.percent", "101 %", {"variants": [{**CANARY, "name": "b", "percent": 90}]},
    ),
    "canaries of one name": (
        {**ROUTE, "canary": CANARY, "variants": [CANARY]},
        "variants[0].name", "'next'", {"variants": [{**CANARY, "name": "b"}]},
    ),
    "variants without a canary": (
        {**ROUTE, "variants": [{**CANARY, "name": "b"}]}, "variants", "expected canary", {"canary": CANARY},
    ),
    "variants in Knative": (
        {**KNATIVE, "canary": CANARY, "variants": [{**CANARY, "name": "b"}]}, "variants", "by: route", {"variants": []},
    ),
    "testers in Knative": (
        {**KNATIVE, "canary": {**CANARY, "testers": {"header": "x-tester"}}},
        "canary.testers", "percent only", {"canary": CANARY},
    ),
    "shadow by KServe": (
        {**CONTAINER, "canary": {**BY_KSERVE, "shadow": {"percent": 5}}},
        "canary.shadow", "percent only", {"canary": BY_KSERVE},
    ),
    "a way to split in Knative": ({**KNATIVE, "canary": BY_KSERVE}, "canary.by", "KServe's", {"canary": CANARY}),
    "a route of ours in Knative": (
        {**KNATIVE, "exposure": {"route": "own"}}, "exposure.route", "its own routes", {"exposure": {}},
    ),
    "canary in Knative that changes nothing": (
        {**KNATIVE, "canary": {**CANARY, "model": "models:/fraud/7"}},
        "canary.model", "another", {"canary": {**CANARY, "model": "models:/fraud/7", "image": "other:1"}},
    ),
    "name of a canary in Knative": ({**KNATIVE, "canary": {**CANARY, "name": "x"}}, "canary.name", "Standard", {"canary": CANARY}),
    "pods of a canary in Knative": (
        {**KNATIVE, "canary": {**CANARY, "replicas": 1}}, "canary.replicas", "Standard", {"canary": CANARY},
    ),
    "a folder of this machine": ({"model": "/home/me/model"}, "model", "not on the cluster", {"model": "s3://bucket/model"}),
    "a spelling that nobody knows": (
        {"model": "mlflow://fraud/7"}, "model", "expected mlflow://models/", {"model": "mlflow://models/fraud/7"},
    ),
    "no version, as KServe spells it": (
        {"model": "mlflow://models:/fraud"}, "model", "names no version", {"model": "mlflow://models:/fraud/7"},
    ),
    "an alias as KServe spells it, without a registry": (
        {"model": "mlflow://models:/fraud@champion", "reload": {"interval": "10s"}},
        "reload.interval", "tracking.uri", {"tracking": {"uri": "http://mlflow:5000"}},
    ),
    "pvc by an init container": (
        {"model": "pvc://claim/model", "storage": {"strategy": "emptydir"}}, "storage.strategy", "container", CONTAINER,
    ),
    "uv in an image that has none": (
        {"dependencies": {"env_manager": "uv"}}, "dependencies.env_manager", "has no uv", {"flavor": "pyfunc"},
    ),
    "no Feast in the image": (
        {"feast": {"repo_path": "/feast"}}, "feast.repo_path", "do not contain Feast", {"image": "fraud:1"},
    ),
    "a bucket that the server's image cannot read": (
        {"model": "s3://bucket/model", "storage": {"strategy": "server"}},
        "storage.strategy", "no client", {"image": "mine/predictor:1"},
    ),
    "webhook of a registry that nobody named": (
        {"model": "models:/fraud@champion", "reload": {"webhook_secret": {"secret": "hook", "key": "secret"}}},
        "reload.webhook_secret", "tracking.uri", {"tracking": {"uri": "http://mlflow:5000"}},
    ),
    "a port that nothing leads to": (
        {"env": {"MLFLOW_KSERVE_HTTP_PORT": "9000"}}, "env.MLFLOW_KSERVE_HTTP_PORT", "probes", {"env": {}},
    ),
    "a port that nothing leads to, as a flag": ({"args": ["--http_port=9000"]}, "args[0]", "probes", {"args": ["--nan=error"]}),
    "probes without the token that they need": (
        {"args": ["--protect", "health,metrics"]}, "args[0]", "no token", {"args": ["--protect", "metrics"]},
    ),
    "a monitor without the token that it needs": (
        {"args": ["--protect=metrics"], "monitoring": {"scrape": "podmonitor"}},
        "args[0]", "monitor has no token", {"monitoring": {"scrape": "off"}},
    ),
    "grace that the pod is not given": (
        {"env": {"MLFLOW_KSERVE_GRACE_PERIOD": "300"}},
        "env.MLFLOW_KSERVE_GRACE_PERIOD", "set grace_period", {"env": {}, "grace_period": "300s"},
    ),
    "a variable of Knative": ({**KNATIVE, "env": {"PORT": "1"}}, "env.PORT", "Knative sets it", {"mode": "Standard"}),
    "a volume that Knative does not let write": (
        {**KNATIVE, "volumes": [{"name": "s", "path": "/s", "csi": {"driver": "d"}, "read_only": False}]},
        "volumes[0].read_only", "Knative", {"mode": "Standard"},
    ),
    "a volume in the place of the image": (
        {"volumes": [{"name": "s", "path": "/", "empty_dir": "1Gi"}]}, "volumes[0].path", "hide the image", {"volumes": []},
    ),
    "visibility as a label": (
        {"labels": {"networking.kserve.io/visibility": "cluster-local"}},
        "labels[networking.kserve.io/visibility]", "exposure.visibility",
        {"labels": {}, "exposure": {"visibility": "cluster-local"}},
    ),
    "the scraping of Knative in Standard": (
        {"annotations": {"serving.kserve.io/enable-prometheus-scraping": "true"}},
        "annotations[serving.kserve.io/enable-prometheus-scraping]", "monitoring.scrape", KNATIVE,
    ),
    "no security by a reference": (
        {"predictor": "runtime", "security": "off"}, "security", "ServingRuntimes", {"runtime": "mine"},
    ),
    "runtime of a container": ({"runtime": "mine"}, "runtime", "predictor: runtime", {"predictor": "runtime"}),
    "reload without a registry": (
        {"model": "models:/fraud@champion", "reload": {"interval": "10s"}},
        "reload.interval", "tracking.uri", {"tracking": {"uri": "http://mlflow:5000"}},
    ),
    "batcher with V2": ({"batcher": {}}, "batcher", "V1 only", {"protocol": "v1"}),
    "payload logger with gRPC": (
        {"payload_logger": {}, "protocol": "grpc"}, "payload_logger", "gRPC", {"protocol": "v2"},
    ),
    "payload logger with TLS": (
        {"payload_logger": {}, "auth": {"tls_secret": "tls"}}, "payload_logger", "plain text", {"auth": {}},
    ),
    "payload logger with a canary by KServe": (
        {**CONTAINER, "canary": BY_KSERVE, "payload_logger": {}},
        "payload_logger", "agent", {**ROUTE, "canary": CANARY},
    ),
    "limit below what is asked for": (
        {"resources": {"cores": 2, "limits": {"cores": "500m"}}},
        "resources.limits.cores", "500m is less than the request of 2", {"resources": {"cores": 2, "limits": {"cores": "2500m"}}},
    ),
    "memory limit below what is asked for": (
        {"resources": {"limits": {"memory": "64Mi"}}},
        "resources.limits.memory", "64Mi", {"resources": {"memory": "32Mi", "limits": {"memory": "64Mi"}}},
    ),
    "unknown word for nodes": ({"node_capacity": "cheap"}, "node_capacity", "spot or on-demand", {"node_capacity": "spot"}),
    "PYTHONPATH": ({"env": {"PYTHONPATH": "/x"}}, "env.PYTHONPATH", "webhook refuses", {"env": {"MY_PATH": "/x"}}),
    "STORAGE_URI": ({"env": {"STORAGE_URI": "s3://x"}}, "env.STORAGE_URI", "model", {"env": {}}),
    "mode as an annotation": (
        {"annotations": {"serving.kserve.io/deploymentMode": "Knative"}},
        "annotations[serving.kserve.io/deploymentMode]", "set mode", {"annotations": {"example.com/a": "b"}},
    ),
    "volume without a source": (
        {"volumes": [{"name": "x", "path": "/x"}]},
        "volumes[0]", "exactly one", {"volumes": [{"name": "x", "path": "/x", "secret": "x"}]},
    ),
    "volume at a place that is taken": (
        {"volumes": [{"name": "x", "path": "/tmp/", "secret": "x"}]},
        "volumes[0].path", "already in use", {"volumes": [{"name": "x", "path": "/tmp2", "secret": "x"}]},
    ),
    "volumes of one name": (
        {"volumes": [{"name": "x", "path": "/x", "secret": "x"}, {"name": "x", "path": "/y", "secret": "x"}]},
        "volumes[1].name", "already in use", {"volumes": [{"name": "x", "path": "/x", "secret": "x"}]},
    ),
    "start that is over before the first question": (
        {"probes": {"period": "60s", "start_within": "10s"}}, "probes.start_within", "60s", {"probes": {"period": "5s"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason_and_a_way_out(case: str) -> None:
    refused_with_a_way_out(BASE, REFUSED[case])


def test_everything_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        render(
            ServeSpec.model_validate({**BASE, "kserve": "0.15", "node_capacity": "x", "batcher": {}, "runtime": "x"})
        )
    assert {problem.where for problem in caught.value.problems} == {"kserve", "node_capacity", "batcher", "runtime"}


def test_a_flavor_that_nobody_knows() -> None:
    spec = ServeSpec(name="fraud", model="models:/fraud/7")
    with pytest.raises(SpecError, match="flavor: is not known for models:/fraud/7"):
        render(spec)
    render(spec, {"models:/fraud/7": ModelFacts("sklearn")})


def test_a_model_that_looks_features_up_needs_feast() -> None:
    """It would not start without."""
    facts = {
        "models:/fraud/7": ModelFacts.of({"flavors": {"sklearn": {}}, "metadata": {"feast": {"feature_service": "f"}}})
    }
    base = {"name": "fraud", "model": "models:/fraud/7"}
    with pytest.raises(SpecError, match="feast: the model gets feature service 'f' from Feast: expected server_url"):
        render(ServeSpec.model_validate(base), facts)
    for said in (
        {"feast": {"server_url": "http://feast:6566"}},
        {"env": {"FEAST_SERVER_URL": "http://feast:6566"}},
        {"args": ["--feast=false"]},
    ):
        render(ServeSpec.model_validate(base | said), facts)
