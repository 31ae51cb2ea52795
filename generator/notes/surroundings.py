"""What has to be known around the InferenceService: what the cluster must have, and by which name it answers."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from predictors.uris import ModelURI


def notes_of(plan: ManifestPlan) -> list[str]:
    return [*hosts(plan), *network_policy(plan), *monitoring(plan), *watching(plan), *mesh(plan), *cache(plan)]


def hosts(plan: ManifestPlan) -> Iterator[str]:
    spec, wanted = plan.spec, plan.spec.exposure
    if wanted.visibility == "cluster-local":
        return
    if wanted.domain_suffix:
        between = "." if plan.knative else "-"
        yield (
            f"answers at http://{spec.name}{between}{spec.namespace}.{wanted.domain_suffix}, "
            "unless the platform names its domains otherwise"
        )
    if spec.auth.tls_secret:
        yield (
            "the gateway speaks plain HTTP to the pods, which answer HTTPS only: callers from outside need a "
            f"BackendTLSPolicy for the Service {plan.workload}; where there are none, say exposure.visibility: "
            "cluster-local"
        )
    if wanted.host is None:
        return
    if plan.knative:
        yield f"{wanted.host} needs a ClusterDomainClaim, or Knative's config-network to make them by itself"
        return
    yield f"{wanted.host} needs a listener of the Gateway {wanted.gateway} that takes routes from {spec.namespace}"
    if plan.canary:
        yield (
            f"the route of {wanted.host} does not wait until a canary is ready, as KServe's own does: "
            "begin and end a rollout with percent: 0"
        )


def network_policy(plan: ManifestPlan) -> Iterator[str]:
    spec, wanted = plan.spec, plan.spec.network_policy
    if wanted is None:
        return
    if plan.knative:
        yield (
            "the NetworkPolicy sees Knative's ingress as the caller: from_namespaces needs its namespace, "
            "such as istio-system or kourier-system"
        )
    elif spec.exposure.visibility == "external":
        yield "the NetworkPolicy sees the gateway's pods as callers from outside: from_namespaces needs their namespace"
    if ModelURI.parse(spec.model).is_mlflow and not wanted.allow_to:
        yield "the NetworkPolicy lets no model through that MLflow keeps in an object store and does not serve itself"
    if spec.monitoring.scrape != "off" and spec.monitoring.namespace is None:
        yield "the NetworkPolicy lets Prometheus in only if monitoring.namespace or from_namespaces has its namespace"


def monitoring(plan: ManifestPlan) -> Iterator[str]:
    scrape, tls = plan.spec.monitoring.scrape, plan.spec.auth.tls_secret
    if scrape in ("podmonitor", "servicemonitor"):
        yield "the monitor needs the Prometheus operator"
        if tls:
            name = f"{plan.workload}.{plan.spec.namespace}.svc"
            yield f"Prometheus trusts the ca.crt in the Secret {tls}, where the certificate has to be for {name}"


def watching(plan: ManifestPlan) -> Iterator[str]:
    wanted = plan.spec.monitoring
    if wanted.rules:
        yield (
            "the PrometheusRule needs the Prometheus operator, and the labels namespace and pod on each metric, "
            "as its monitors set them"
        )
        if wanted.runbooks is None:
            yield "the alerts link to docs/runbooks; say monitoring.runbooks to have links that anybody can follow"
    if wanted.dashboard:
        yield "the ConfigMap of dashboards needs Grafana's sidecar, which looks for the label grafana_dashboard"


def mesh(plan: ManifestPlan) -> Iterator[str]:
    if plan.spec.istio:
        yield "Istio's rules hold for pods with its proxy only: the namespace needs the label istio-injection"


def cache(plan: ManifestPlan) -> Iterator[str]:
    wanted = plan.spec.storage.cache
    if plan.strategy == "pvc" and wanted.access_mode == "ReadWriteOnce" and plan.max_replicas > 1:
        yield f"the claim {wanted.claim} is ReadWriteOnce: pods on other nodes than the first never start"
