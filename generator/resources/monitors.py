"""How Prometheus finds the metrics of the predictor: by annotations of the pods, or by the operator's resources."""

from __future__ import annotations

import math
from typing import Any

from generator.plan import ManifestPlan
from generator.resources import containers
from generator.resources.meta import POD_LABEL, Resource, resource
from generator.spec.values import seconds
from monitoring import scrape


def annotations_of(plan: ManifestPlan) -> dict[str, str]:
    """The same in both modes, since the predictor's own port answers beside Knative's proxy as well.

    KServe's annotation is switched off, because it puts the port of Knative's proxy in the place of ours: that one
    knows requests, but not the model.
    """
    if plan.spec.monitoring.scrape != "annotations":
        return {}
    return {
        "serving.kserve.io/enable-prometheus-scraping": "false",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(containers.http(plan)),
        "prometheus.io/path": scrape.PATH,
        **({"prometheus.io/scheme": "https"} if plan.spec.auth.tls_secret else {}),
    }


def resources_of(plan: ManifestPlan) -> list[Resource]:
    """A monitor of all pods of the serve, the canary's too, whatever KServe names their Deployments and Services."""
    wanted = plan.spec.monitoring
    kinds: dict[str, scrape.Kind] = {"podmonitor": "PodMonitor", "servicemonitor": "ServiceMonitor"}
    kind = kinds.get(wanted.scrape)
    if kind is None:
        return []
    spec = scrape.monitor(kind, {"matchLabels": {POD_LABEL: plan.spec.name}}, [endpoint(plan)])
    monitor = resource(plan, "monitoring.coreos.com/v1", kind, plan.spec.name, {"spec": spec})
    monitor["metadata"]["labels"] |= wanted.labels
    return [monitor]


def endpoint(plan: ManifestPlan) -> dict[str, Any]:
    interval = math.ceil(seconds(plan.spec.monitoring.interval))
    tls = plan.spec.auth.tls_secret
    return {
        **scrape.endpoint(port(plan), interval),
        "scheme": "https" if tls else None,
        # Prometheus asks each pod by its address; the certificate is for the name that callers use.
        "tlsConfig": {
            "ca": {"secret": {"name": tls, "key": "ca.crt"}},
            "serverName": f"{plan.workload}.{plan.spec.namespace}.svc",
        }
        if tls
        else None,
        "relabelings": moved(plan) or None,
    }


def port(plan: ManifestPlan) -> str:
    """The port's name: Knative gives the one that it knows a name of its own."""
    if plan.knative:
        return "user-port"
    return "https" if plan.spec.auth.tls_secret else "http1"


def moved(plan: ManifestPlan) -> list[dict[str, Any]]:
    return [scrape.beside_grpc()] if plan.knative and plan.spec.protocol == "grpc" else []
