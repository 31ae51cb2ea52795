"""What the cluster has of a serve, and what of its spec only the cluster knows: host names and gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from generator.cli.cluster import Ingress, KubectlCluster
from generator.cli.console import WRONG, Stop
from generator.cli.request import ServeRequest
from generator.plan import ManifestPlan, decide
from generator.resources.meta import Resource
from generator.resources.routes import own_route
from generator.rollout.observed import ObservedServe
from generator.rollout.parts import ISVC, ROUTE, objects_of
from generator.rollout.takeover import kserve_routes
from generator.spec import ServeSpec

DEFAULT_PATHS = {"^/.*$", "/", r"^/inference\.GRPCInferenceService/.*$"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A cluster, what it has, and the spec with what only the cluster knows."""

    cluster: KubectlCluster
    observed: ObservedServe
    spec: ServeSpec


def asked(request: ServeRequest, target: ServeSpec) -> Asked:
    """Asks the cluster about the serves of a spec and of the one that it shall become."""
    spec = request.spec
    plans = [decide(each, request.known_of(each)) for each in (spec, target)]
    objects = list(dict.fromkeys(each for plan in plans for each in objects_of(plan)))
    cluster = KubectlCluster(spec.namespace, request.file.layers.cluster, objects)
    ingress = cluster.ask()
    left = cluster.canaries_of(spec.name) if spec.mode == "Standard" else []
    cluster.objects += [
        (kind, name) for name in left for kind, name in ((ISVC, name), ("Deployment", f"{name}-predictor"))
    ]
    needs_route = bool(left) or any(plan.has_own_route for plan in plans)
    if not needs_route:
        cluster.objects = [each for each in cluster.objects if each[0] != ROUTE]
    observed = cluster.observe()
    if needs_route:
        spec = with_hosts(spec, plans[1], observed, ingress)
    modes = observed.value(ISVC, spec.name, "metadata", "annotations") or {}
    mode = modes.get("serving.kserve.io/deploymentMode", spec.mode)
    if mode != spec.mode:
        raise Stop(f"mode: {spec.name} runs in {mode} on the cluster, and KServe refuses to change it", WRONG)
    return Asked(cluster, observed, spec)


def with_hosts(spec: ServeSpec, plan: ManifestPlan, observed: ObservedServe, ingress: Ingress) -> ServeSpec:
    """The spec with host names and gateway as KServe's own routes have them, unless it has its own."""
    exposure = spec.exposure
    there = [route for name in [*kserve_routes(plan), own_route(plan)] if (route := observed.get(ROUTE, name))]
    for name in kserve_routes(plan):
        refuse_paths(observed.get(ROUTE, name) or {"spec": {}})
    fields: dict[str, Any] = {}
    if not plan.hosts:
        hosts = [host for route in there for host in route["spec"].get("hostnames", [])] or ingress.hosts(plan)
        fields["hosts"] = list(dict.fromkeys(hosts))
    if "gateway" not in exposure.model_fields_set:
        gateway = next(filter(None, map(gateway_of, there)), ingress.settings.get("kserveIngressGateway"))
        if gateway and gateway != exposure.gateway:
            fields["gateway"] = gateway
    return spec.model_copy(update={"exposure": exposure.model_copy(update=fields)}) if fields else spec


def gateway_of(route: Resource) -> str | None:
    for parent in route["spec"].get("parentRefs", []):
        return f"{parent.get('namespace', route['metadata'].get('namespace'))}/{parent['name']}"
    return None


def refuse_paths(route: Resource) -> None:
    """KServe's pathTemplate adds rules for paths, which our route does not have."""
    paths = {
        match["path"].get("value")
        for rule in route["spec"].get("rules", [])
        for match in rule.get("matches", [])
        if "path" in match
    }
    if others := sorted(str(path) for path in paths - DEFAULT_PATHS):
        raise Stop(
            f"canary: the HTTPRoute {route['metadata']['name']} also leads {others[0]} to the serve (pathTemplate), "
            "which a route of ours would not: expected by: kserve, or no pathTemplate in inferenceservice-config",
            WRONG,
        )
