"""Routes for host names of the serve, which split the traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from generator.plan import ManifestPlan
from generator.resources import containers
from generator.resources.meta import Resource, resource
from generator.spec.values import seconds

SERVICE_PORT = 80
RETRIES = 2
EVERY_PATH = {"type": "PathPrefix", "value": "/"}
BEFORE_KSERVE = {"type": "RegularExpression", "value": r"^/(inference\.GRPCInferenceService/.*|.*)$"}
"""Every path too. Of routes for a host name, gateways prefer the longer expression; this is longer than KServe's."""
GRPC_CONTENT = {"type": "RegularExpression", "name": "content-type", "value": "^application/grpc.*"}
Backends = Sequence[tuple[str, int | None]]
"""Services, with their weights if there is more than one."""


ISVC_HEADERS = ("KServe-Isvc-Name", "KServe-Isvc-Namespace")
"""Headers that KServe's routes set."""


def resources_of(plan: ManifestPlan) -> list[Resource]:
    host = plan.spec.exposure.host
    if plan.knative:
        return [mapping(plan, host)] if host else []
    own = [route(plan, own_route(plan), plan.hosts)] if plan.has_own_route else []
    return [*own, *([route(plan, host_route(plan), [host])] if host else []), *retry_policy(plan)]


def retry_policy(plan: ManifestPlan) -> list[Resource]:
    """Envoy Gateway's policy for all routes that lead to the serve, whoever made them; some are there at times only."""
    if plan.spec.exposure.retries != "envoy-gateway" or plan.part_of is not None:
        return []
    names = [plan.spec.name, plan.workload, own_route(plan), *([host_route(plan)] if plan.spec.exposure.host else [])]
    targets = [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name} for name in names]
    never_arrived = ["connect-failure", "refused-stream", "reset-before-request"]
    content = {
        "spec": {"targetRefs": targets, "retry": {"numRetries": RETRIES, "retryOn": {"triggers": never_arrived}}}
    }
    return [resource(plan, "gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy", plan.spec.name, content)]


def own_route(plan: ManifestPlan) -> str:
    """The name of our route for KServe's host names."""
    return f"{plan.spec.name}-route"


def host_route(plan: ManifestPlan) -> str:
    """The name of our route for a host name of the serve's owner."""
    return f"{plan.spec.name}-host"


def mapping(plan: ManifestPlan, host: str) -> Resource:
    """A DomainMapping to the Knative Service, which splits the traffic as KServe configures it."""
    reference = {"kind": "Service", "name": plan.workload, "apiVersion": "serving.knative.dev/v1"}
    return resource(plan, "serving.knative.dev/v1beta1", "DomainMapping", host, {"spec": {"ref": reference}})


def route(plan: ManifestPlan, name: str, hosts: list[str]) -> Resource:
    """An HTTPRoute with the split of the traffic."""
    namespace, _, gateway = plan.spec.exposure.gateway.partition("/")
    content = {
        "spec": {
            "parentRefs": [{"namespace": namespace, "name": gateway}],
            "hostnames": hosts,
            "rules": rules(plan, BEFORE_KSERVE if name == own_route(plan) else EVERY_PATH),
        }
    }
    return resource(plan, "gateway.networking.k8s.io/v1", "HTTPRoute", name, content)


def rules(plan: ManifestPlan, path: dict[str, str]) -> list[dict[str, Any]]:
    """Testers first, then everybody; gRPC before REST."""
    canaries = list(zip(plan.spec.canaries, plan.behind, strict=True)) if plan.behind else []
    testers = [
        each
        for canary, behind in canaries
        if canary.testers
        for each in protocols(
            plan, path, [(behind.workload, None)], header(canary.testers.header, canary.testers.value)
        )
    ]
    mirrors = [(behind.workload, canary.shadow.percent) for canary, behind in canaries if canary.shadow]
    return testers + protocols(plan, path, shares(plan), None, mirrors)


def protocols(
    plan: ManifestPlan,
    path: dict[str, str],
    backends: Backends,
    match: dict[str, Any] | None,
    mirrors: Sequence[tuple[str, int]] = (),
) -> list[dict[str, Any]]:
    """A rule for gRPC, which content types tell, and one for all the rest."""
    wanted = [match] if match else []
    return [
        rule(plan, containers.GRPC, path, backends, [*wanted, GRPC_CONTENT], mirrors),
        rule(plan, containers.HTTP, path, backends, wanted, mirrors),
    ]


def rule(
    plan: ManifestPlan,
    pod_port: int,
    path: dict[str, str],
    backends: Backends,
    headers: list[dict[str, Any]],
    mirrors: Sequence[tuple[str, int]],
) -> dict[str, Any]:
    """A rule; the first port of the pods is the Service's port 80, others keep their number."""
    first = containers.ports(plan)[0]["containerPort"]
    port = SERVICE_PORT if pod_port == first else pod_port
    named = zip(ISVC_HEADERS, (plan.spec.name, plan.spec.namespace), strict=True)
    filters: list[dict[str, Any]] = [
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"set": [{"name": name, "value": value} for name, value in named]},
        }
    ]
    for service, percent in mirrors:
        copied = {"backendRef": {"name": service, "port": port}} | ({"percent": percent} if percent < 100 else {})
        filters.append({"type": "RequestMirror", "requestMirror": copied})
    return {
        "matches": [{"path": path} | ({"headers": headers} if headers else {})],
        "filters": filters,
        "backendRefs": [{"name": name, "port": port, "weight": weight} for name, weight in backends],
        **({"retry": {"attempts": RETRIES}} if plan.spec.exposure.retries == "route" else {}),
        "timeouts": {"request": f"{math.ceil(seconds(plan.spec.timeout))}s"},
    }


def header(name: str, value: str) -> dict[str, Any]:
    return {"type": "Exact", "name": name, "value": value}


def shares(plan: ManifestPlan) -> Backends:
    """The Services behind the route, and their weights."""
    if plan.behind:
        beside = [(each.workload, canary.percent) for canary, each in zip(plan.spec.canaries, plan.behind, strict=True)]
        return [(plan.workload, 100 - sum(percent for _, percent in beside)), *beside]
    if plan.canary is None or plan.spec.canary is None:
        return [(plan.workload, None)]
    percent = plan.spec.canary.percent
    return [(plan.workload, 100 - percent), (f"{plan.spec.name}-{plan.canary.name}-predictor", percent)]
