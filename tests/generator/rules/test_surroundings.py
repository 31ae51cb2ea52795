"""What would cut a serve off, or mean nothing, around the InferenceService is refused; what surprises is said."""

from __future__ import annotations

from typing import Any

import pytest

from generator import ServeSpec, SpecError, render
from tests.generator.refusals import noted_until_changed

BASE: dict[str, Any] = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "namespace": "ml"}
KNATIVE = {"mode": "Knative"}
TRACKED = {"tracking": {"uri": "http://mlflow.ops.svc:5000"}}
SHOP = {"network_policy": {"from_namespaces": ["shop"]}}
OPEN = {"network_policy": {"from_namespaces": ["shop"], "allow_to": [{"cidr": "10.0.0.0/8"}]}}
LONG = "a" * 48

# what is said, where it is wrong, a word of why, and what makes it right
REFUSED: dict[str, tuple[dict[str, Any], str, str, dict[str, Any]]] = {
    "nobody may call": ({**TRACKED, "network_policy": {}}, "network_policy.from_namespaces", "nobody", SHOP),
    "a port of plain HTTP with TLS": (
        {**TRACKED, "auth": {"tls_secret": "tls"}, "network_policy": {"allow_from": [{"namespace": "shop", "ports": [8080]}]}},
        "network_policy.allow_from.0.ports", "expected 8443", {"network_policy": {"allow_from": [{"namespace": "shop", "ports": [8443]}]}},
    ),
    "a port of TLS without it": (
        {**TRACKED, "network_policy": {"allow_from": [{"namespace": "shop"}, {"namespace": "ops", "ports": [8443]}]}},
        "network_policy.allow_from.1.ports", "expected 8080", {"auth": {"tls_secret": "tls"}},
    ),
    "no way to the registry": (SHOP, "network_policy.allow_to", "tracking.namespace", {"tracking": {"namespace": "ops"}}),
    "a registry outside": (
        {**SHOP, "tracking": {"uri": "https://mlflow.example.com"}},
        "network_policy.allow_to", "mlflow.example.com", OPEN,
    ),
    "a name of two words": (
        {**SHOP, "tracking": {"uri": "https://mlflow.com"}}, "network_policy.allow_to", "mlflow.com", TRACKED,
    ),
    "no way to the object store": (
        {**SHOP, "model": "s3://bucket/fraud"}, "network_policy.allow_to", "s3://bucket/fraud", {"model": "pvc://claim/fraud"},
    ),
    "no way to the canary's model": (
        {**SHOP, "model": "pvc://claim/1", "canary": {"model": "gs://bucket/2", "percent": 1, "by": "kserve"}},
        "network_policy.allow_to", "gs://bucket/2", OPEN,
    ),
    "no way to the online store": (
        {**SHOP, **TRACKED, "image": "fraud:1", "feast": {"repo_path": "/feast/repo"}},
        "network_policy.allow_to", "online store", {"feast": {"server_url": "http://feast.there.svc"}},
    ),
    "no way to packages": (
        {**SHOP, **TRACKED, "dependencies": {"env_manager": "uv"}}, "network_policy.allow_to", "package index", OPEN,
    ),
    "no way to the logger's broker": (
        {**SHOP, **TRACKED, "payload_logger": {}},
        "network_policy.allow_to", "broker", {"payload_logger": {"url": "http://sink.there.svc"}},
    ),
    "budget that says nothing": (
        {"disruption_budget": {}}, "disruption_budget", "one of", {"disruption_budget": {"max_unavailable": 1}},
    ),
    "budget that says two things": (
        {"disruption_budget": {"min_available": 1, "max_unavailable": 1}, "replicas": {"min": 3}},
        "disruption_budget", "one of", {"disruption_budget": {"min_available": 1}},
    ),
    "budget that lets nobody go": (
        {"disruption_budget": {"min_available": 2}, "replicas": {"min": 2}},
        "disruption_budget.min_available", "drained", {"replicas": {"min": 3}},
    ),
    "share that lets nobody go": (
        {"disruption_budget": {"min_available": "60%"}, "replicas": {"min": 2}},
        "disruption_budget.min_available", "drained", {"disruption_budget": {"min_available": "50%"}},
    ),
    "budget of nothing": (
        {"disruption_budget": {"max_unavailable": "0%"}}, "disruption_budget.max_unavailable", "drained",
        {"disruption_budget": {"max_unavailable": "1%"}},
    ),
    "ServiceMonitor in Knative": (
        {**KNATIVE, "monitoring": {"scrape": "servicemonitor"}},
        "monitoring.scrape", "podmonitor", {"monitoring": {"scrape": "podmonitor"}},
    ),
    "ServiceMonitor of an agent": (
        {"payload_logger": {}, "monitoring": {"scrape": "servicemonitor"}},
        "monitoring.scrape", "podmonitor", {"monitoring": {"scrape": "podmonitor"}},
    ),
    "no time between": ({"monitoring": {"interval": "0s"}}, "monitoring.interval", "0s", {"monitoring": {"interval": "1s"}}),
    "host inside": (
        {"exposure": {"host": "fraud.example.com", "visibility": "cluster-local"}},
        "exposure.host", "one of them", {"exposure": {"host": "fraud.example.com"}},
    ),
    "host without a domain": (
        {"exposure": {"host": "fraud"}}, "exposure.host", "fraud.example.com", {"exposure": {"host": "fraud.example.com"}},
    ),
    "host of the cluster": (
        {**KNATIVE, "exposure": {"host": "fraud.ml.svc.cluster.local"}},
        "exposure.host", "not a public name", {"exposure": {"host": "fraud.example.com"}},
    ),
    "host before TLS": (
        {"exposure": {"host": "fraud.example.com"}, "auth": {"tls_secret": "tls"}},
        "exposure.host", "plain HTTP", {"auth": {}},
    ),
    "mesh that lets nobody in": ({"istio": {}}, "istio", "nobody", {"istio": {"namespaces": ["shop"]}}),
    "callers in Knative": (
        {**KNATIVE, "istio": {"namespaces": ["shop"]}}, "istio.namespaces", "activator", {"mode": "Standard"},
    ),
    "identities in Knative": (
        {**KNATIVE, "istio": {"principals": ["a"]}}, "istio.principals", "activator", {"istio": {"issuer": "https://id"}},
    ),
    "tokens that Istio refuses": (
        {"istio": {"issuer": "https://id"}, "auth": {"tokens": {"secret": "t", "key": "t"}}},
        "istio.issuer", "not JWTs", {"auth": {}},
    ),
    "credentials that nobody takes": (
        {"model": "s3://bucket/fraud", "storage": {"secrets": ["s3"]}},
        "storage.secrets", "service_account.create", {"service_account": {"create": True}},
    ),
    "claim that nobody uses": (
        {"storage": {"strategy": "emptydir", "cache": {"create": True}}},
        "storage.cache.create", "emptydir", {"storage": {"strategy": "pvc", "cache": {"create": True}}},
    ),
    "clean-up with a long name": (
        {"storage": {"strategy": "pvc", "cache": {"claim": "c" * 45, "cleanup": True}}},
        "storage.cache.claim", "52", {"storage": {"strategy": "pvc", "cache": {"claim": "c" * 44, "cleanup": True}}},
    ),
    "gRPC of a runtime in Knative": (
        {**KNATIVE, "protocol": "grpc", "predictor": "runtime"}, "predictor", "probes", {"runtime": "mine"},
    ),
    "a runtime whose model KServe does not download": (
        {"predictor": "runtime", "storage": {"strategy": "emptydir"}}, "storage.strategy", "agent",
        {"storage": {"strategy": "container"}},
    ),
    "a name that gets too long": ({"name": LONG + "a"}, "name", "isvc.", {"name": LONG}),
    "a name that gets too long in Knative": ({**KNATIVE, "name": LONG + "aaaaaa"}, "name", "63", {"name": LONG + "aaaaa"}),
    "a namespace that gets too long": ({"name": LONG, "namespace": "mlops"}, "name", "-predictor-mlops", {"namespace": "prod"}),
    "a revision that gets too long": ({"name": LONG, "revision": "v7"}, "name", "63", {"revision": None}),
    "a canary that gets too long": (
        {"name": LONG, "canary": {"model": "models:/fraud/8", "percent": 1, "by": "kserve"}, "storage": {"strategy": "container"}},
        "canary.name", "v8", {"name": "fraud"},
    ),
}  # fmt: skip


def refusals(said: dict[str, Any]) -> dict[str, str]:
    try:
        render(ServeSpec.model_validate(BASE | said))
    except SpecError as error:
        return {problem.where: problem.message for problem in error.problems}
    return {}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason_and_a_way_out(case: str) -> None:
    said, where, word, mended = REFUSED[case]
    assert word in refusals(said)[where]
    assert where not in refusals(said | mended)


def test_a_cache_that_auto_does_not_use_is_no_mistake() -> None:
    """Environments name a cache for all serves; small models do without."""
    assert not refusals({"model_size": "1Mi", "storage": {"cache": {"create": True, "cleanup": True}}})


# what is said, a word of the note, and what makes it go away
NOTED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "URL in Standard": ({"exposure": {"domain_suffix": "x.io"}}, "http://fraud-ml.x.io", {"exposure": {}}),
    "URL in Knative": ({**KNATIVE, "exposure": {"domain_suffix": "x.io"}}, "http://fraud.ml.x.io", {"exposure": {}}),
    "gateway of a host": ({"exposure": {"host": "a.x.io"}}, "listener of the Gateway", {"exposure": {}}),
    "claim of a domain": ({**KNATIVE, "exposure": {"host": "a.x.io"}}, "ClusterDomainClaim", {"mode": "Standard"}),
    "canary with a host": (
        {"exposure": {"host": "a.x.io"}, "canary": {"model": "models:/fraud/8", "percent": 1, "by": "kserve"}, "storage": {"strategy": "container"}},
        "percent: 0", {"canary": None},
    ),
    "callers in Knative": ({**KNATIVE, **OPEN}, "kourier-system", {"mode": "Standard"}),
    "callers from outside": (OPEN, "gateway's pods", {"exposure": {"visibility": "cluster-local"}}),
    "artifacts elsewhere": ({**SHOP, **TRACKED}, "object store", OPEN),
    "Prometheus outside": (OPEN, "Prometheus", {"monitoring": {"namespace": "monitoring"}}),
    "operator": ({"monitoring": {"scrape": "podmonitor"}}, "Prometheus operator", {"monitoring": {}}),
    "certificate": (
        {"monitoring": {"scrape": "podmonitor"}, "auth": {"tls_secret": "tls"}}, "fraud-predictor.ml.svc", {"auth": {}},
    ),
    "mesh": ({"istio": {"namespaces": ["shop"]}}, "istio-injection", {"istio": None}),
    "gateway in plain text": (
        {"auth": {"tls_secret": "tls"}}, "BackendTLSPolicy", {"exposure": {"visibility": "cluster-local"}},
    ),
    "claim that Knative lets write": (
        {**KNATIVE, "volumes": [{"name": "d", "path": "/d", "pvc": "d", "read_only": False}]},
        "persistent-volume-write", {"volumes": [{"name": "d", "path": "/d", "pvc": "d"}]},
    ),
    "claim for one node": (
        {"storage": {"strategy": "pvc", "cache": {"access_mode": "ReadWriteOnce"}}}, "ReadWriteOnce",
        {"replicas": {"max": 1}},
    ),
    "Secret of the storage container": ({"storage": {"strategy": "container"}}, "mlflow-tracking in ml", {"storage": {}}),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTED)
def test_what_has_to_be_known_is_said(case: str) -> None:
    noted_until_changed(BASE, NOTED[case])
