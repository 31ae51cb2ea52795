"""Notes about the resources around the InferenceService: requirements of the cluster, and host names."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from predictors.uris import ModelURI


def notes_of(plan: ManifestPlan) -> list[str]:
    return [*hosts(plan), *network_policy(plan), *monitoring(plan), *watching(plan), *mesh(plan), *cache(plan)]


def hosts(plan: ManifestPlan) -> Iterator[str]:
    spec, exposure = plan.spec, plan.spec.exposure
    if exposure.visibility == "cluster-local":
        if not plan.knative:
            yield (
                "KServe keeps the routes of a serve that was external before, and it stays reachable: kubectl delete "
                f"httproute {spec.name} {plan.workload} --namespace {spec.namespace}"
            )
        return
    if exposure.retries == "envoy-gateway":
        yield "the BackendTrafficPolicy needs Envoy Gateway 1.5 or newer"
    elif exposure.retries == "route":
        yield "the field retry needs the experimental HTTPRoute of the Gateway API, and a gateway that supports it"
    if exposure.domain_suffix:
        between = "." if plan.knative else "-"
        yield (
            f"answers at http://{spec.name}{between}{spec.namespace}.{exposure.domain_suffix}, "
            "unless the platform has another domain template"
        )
    if spec.auth.tls_secret:
        yield (
            "the gateway calls the pods over plain HTTP, while they serve HTTPS only: callers from outside need a "
            f"BackendTLSPolicy for the Service {plan.workload}; without such callers, set exposure.visibility: "
            "cluster-local"
        )
    if exposure.host is None:
        return
    if plan.knative:
        yield f"{exposure.host} needs a ClusterDomainClaim, or a config-network in which Knative creates it"
        return
    yield f"{exposure.host} needs a listener of the Gateway {exposure.gateway} for routes from {spec.namespace}"
    if plan.canary:
        yield (
            f"unlike KServe's own, the route of {exposure.host} does not wait until a canary is ready: "
            "start and end a rollout with percent: 0"
        )


def network_policy(plan: ManifestPlan) -> Iterator[str]:
    spec, policy = plan.spec, plan.spec.network_policy
    if policy is None:
        return
    if plan.knative:
        yield (
            "the NetworkPolicy sees Knative's ingress as the caller: from_namespaces needs its namespace, "
            "such as istio-system or kourier-system"
        )
    elif spec.exposure.visibility == "external":
        yield "the NetworkPolicy sees the gateway's pods as callers from outside: from_namespaces needs their namespace"
    if ModelURI.parse(spec.model).is_mlflow and not policy.allow_to:
        yield "the NetworkPolicy blocks models that MLflow keeps in an object store and does not serve itself"
    if spec.monitoring.scrape != "off" and spec.monitoring.namespace is None:
        yield "the NetworkPolicy admits Prometheus only if monitoring.namespace or from_namespaces has its namespace"


def monitoring(plan: ManifestPlan) -> Iterator[str]:
    scrape, tls = plan.spec.monitoring.scrape, plan.spec.auth.tls_secret
    if scrape in ("podmonitor", "servicemonitor"):
        yield "the monitor needs the Prometheus operator"
        if tls:
            name = f"{plan.workload}.{plan.spec.namespace}.svc"
            yield f"Prometheus trusts the ca.crt in the Secret {tls}, whose certificate must be for {name}"


def watching(plan: ManifestPlan) -> Iterator[str]:
    settings = plan.spec.monitoring
    if settings.rules:
        yield (
            "the PrometheusRule needs the Prometheus operator, and the labels namespace and pod on each metric, "
            "as its monitors set them"
        )
        if settings.runbooks is None:
            yield "the alerts link to docs/runbooks; set monitoring.runbooks for links that work everywhere"
    if settings.dashboard:
        yield "the ConfigMap of dashboards needs Grafana's sidecar, which looks for the label grafana_dashboard"


def mesh(plan: ManifestPlan) -> Iterator[str]:
    if plan.spec.istio:
        yield "Istio's rules apply to pods with its proxy only: the namespace needs the label istio-injection"


def cache(plan: ManifestPlan) -> Iterator[str]:
    settings = plan.spec.storage.cache
    if plan.strategy == "pvc" and settings.access_mode == "ReadWriteOnce" and plan.max_replicas > 1:
        yield f"the claim {settings.claim} is ReadWriteOnce: pods on other nodes never start"
