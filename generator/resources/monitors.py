"""Scraping of the predictor: by annotations of the pods, or by monitors of the Prometheus operator."""

from __future__ import annotations

import math
from typing import Any

from generator.plan import ManifestPlan
from generator.resources import containers
from generator.resources.meta import POD_LABEL, Resource, resource
from generator.spec.values import seconds
from monitoring import scrape


def annotations_of(plan: ManifestPlan) -> dict[str, str]:
    """The same annotations in both modes, since the predictor's own port is also reachable next to Knative's proxy.

    KServe's annotation is switched off, because it would replace our port with that of Knative's proxy, which has
    metrics of requests, but none of the model.
    """
    if plan.spec.monitoring.scrape != "annotations":
        return {}
    return {
        "serving.kserve.io/enable-prometheus-scraping": "false",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(containers.http_port(plan)),
        "prometheus.io/path": scrape.PATH,
        **({"prometheus.io/scheme": "https"} if plan.spec.auth.tls_secret else {}),
    }


def resources_of(plan: ManifestPlan) -> list[Resource]:
    """A monitor of all pods of the serve, including the canary's."""
    settings = plan.spec.monitoring
    kinds: dict[str, scrape.Kind] = {"podmonitor": "PodMonitor", "servicemonitor": "ServiceMonitor"}
    kind = kinds.get(settings.scrape)
    if kind is None:
        return []
    spec = scrape.monitor(kind, {"matchLabels": {POD_LABEL: plan.spec.name}}, [endpoint(plan)])
    monitor = resource(plan, "monitoring.coreos.com/v1", kind, plan.spec.name, {"spec": spec})
    monitor["metadata"]["labels"] |= settings.labels
    return [monitor]


def endpoint(plan: ManifestPlan) -> dict[str, Any]:
    interval = math.ceil(seconds(plan.spec.monitoring.interval))
    tls = plan.spec.auth.tls_secret
    return {
        **scrape.endpoint(port(plan), interval),
        "scheme": "https" if tls else None,
        # Prometheus scrapes pods by address; the certificate has the name that callers use.
        "tlsConfig": {
            "ca": {"secret": {"name": tls, "key": "ca.crt"}},
            "serverName": f"{plan.workload}.{plan.spec.namespace}.svc",
        }
        if tls
        else None,
        "relabelings": relabelings(plan) or None,
    }


def port(plan: ManifestPlan) -> str:
    """The name of the port; Knative renames its only one."""
    if plan.knative:
        return "user-port"
    return "https" if plan.spec.auth.tls_secret else "http1"


def relabelings(plan: ManifestPlan) -> list[dict[str, Any]]:
    return [scrape.beside_grpc()] if plan.knative and plan.spec.protocol == "grpc" else []
