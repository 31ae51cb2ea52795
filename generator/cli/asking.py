"""What the cluster has of a serve, and what of its spec only the cluster knows: host names and gateway."""

from __future__ import annotations

from dataclasses import dataclass

from generator.cli.cluster import KubectlCluster
from generator.cli.console import WRONG, Stop
from generator.cli.request import ServeRequest
from generator.plan import decide
from generator.rollout.hosts import with_hosts
from generator.rollout.observed import ObservedServe
from generator.rollout.parts import ISVC, ROUTE, objects_of
from generator.spec import ServeSpec


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
        gateway = ingress.settings.get("kserveIngressGateway")
        spec = with_hosts(spec, plans[1], observed, ingress.hosts(plans[1]), gateway)
    modes = observed.value(ISVC, spec.name, "metadata", "annotations") or {}
    mode = modes.get("serving.kserve.io/deploymentMode", spec.mode)
    if mode != spec.mode:
        raise Stop(f"mode: {spec.name} runs in {mode} on the cluster, and KServe refuses to change it", WRONG)
    return Asked(cluster, observed, spec)
