"""The route for a host name of the serve."""

from __future__ import annotations

import math
from typing import Any

from generator.plan import ManifestPlan
from generator.resources import containers
from generator.resources.meta import Resource, resource
from generator.spec.values import seconds

SERVICE_PORT = 80
GRPC_SERVICES = ("inference.GRPCInferenceService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection")


def resources_of(plan: ManifestPlan) -> list[Resource]:
    host = plan.spec.exposure.host
    if host is None:
        return []
    return [mapping(plan, host) if plan.knative else route(plan, host)]


def mapping(plan: ManifestPlan, host: str) -> Resource:
    """A DomainMapping to the Knative Service, which splits the traffic as KServe configures it."""
    reference = {"kind": "Service", "name": plan.workload, "apiVersion": "serving.knative.dev/v1"}
    return resource(plan, "serving.knative.dev/v1beta1", "DomainMapping", host, {"spec": {"ref": reference}})


def route(plan: ManifestPlan, host: str) -> Resource:
    """An HTTPRoute next to KServe's own, which has only names in the cluster's domain."""
    namespace, _, gateway = plan.spec.exposure.gateway.partition("/")
    content = {
        "spec": {
            "parentRefs": [{"namespace": namespace, "name": gateway}],
            "hostnames": [host],
            "rules": [
                rule(plan, [path(f"/{service}") for service in GRPC_SERVICES], containers.GRPC),
                rule(plan, [path("/")], containers.HTTP),
            ],
        }
    }
    return resource(plan, "gateway.networking.k8s.io/v1", "HTTPRoute", f"{plan.spec.name}-host", content)


def rule(plan: ManifestPlan, matches: list[dict[str, Any]], port: int) -> dict[str, Any]:
    """A rule; the first port of the pods is the Service's port 80, others keep their number."""
    first = containers.ports(plan)[0]["containerPort"]
    return {
        "matches": matches,
        "backendRefs": [
            {"name": name, "port": SERVICE_PORT if port == first else port, "weight": weight}
            for name, weight in backends(plan)
        ],
        "timeouts": {"request": f"{math.ceil(seconds(plan.spec.timeout))}s"},
    }


def path(prefix: str) -> dict[str, Any]:
    return {"path": {"type": "PathPrefix", "value": prefix}}


def backends(plan: ManifestPlan) -> list[tuple[str, int | None]]:
    """KServe's Services and their shares of the traffic."""
    if plan.canary is None or plan.spec.canary is None:
        return [(plan.workload, None)]
    percent = plan.spec.canary.percent
    return [(plan.workload, 100 - percent), (f"{plan.spec.name}-{plan.canary.name}-predictor", percent)]
