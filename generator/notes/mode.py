"""Notes about what each mode needs of the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.spec.values import seconds

MAX_CONCURRENCY = 1000
"""What Knative allows as containerConcurrency, unless it is configured otherwise."""


def notes_of(plan: ManifestPlan) -> list[str]:
    return [*knative(plan), *canary(plan)]


def knative(plan: ManifestPlan) -> Iterator[str]:
    """Fields of pods that Knative's config-features must enable."""
    if not plan.knative:
        return
    spec, placement = plan.spec, plan.spec.placement
    capacity = spec.node_capacities.get(spec.node_capacity or "")
    log_claim = spec.prediction_log and spec.prediction_log.claim
    read_write = plan.strategy == "pvc" or spec.dependencies.cache_claim or log_claim
    claims = read_write or any(mount.pvc for mount in spec.volumes)
    writes = read_write or any(mount.pvc and not mount.read_only for mount in spec.volumes)
    for flag, used in (
        # The downloader tells the cache which pod it is.
        ("podspec-fieldref", plan.strategy == "pvc"),
        ("podspec-init-containers", plan.strategy in ("emptydir", "pvc")),
        ("podspec-persistent-volume-claim", claims),
        ("podspec-persistent-volume-write", writes),
        ("podspec-nodeselector", placement.node_selector or (capacity and capacity.node_selector)),
        ("podspec-tolerations", placement.tolerations or (capacity and capacity.tolerations)),
        ("podspec-affinity", placement.affinity),
        ("podspec-topologyspreadconstraints", placement.topology_spread not in ("off", [])),
        ("podspec-priorityclassname", placement.priority_class),
        ("podspec-volumes-csi", any(mount.csi for mount in spec.volumes)),
    ):
        if used:
            yield f"needs kubernetes.{flag}: enabled in Knative's config-features"
    if (spec.container_concurrency or 0) > MAX_CONCURRENCY:
        yield (
            f"needs container-concurrency-max-limit of {spec.container_concurrency} or more in Knative's "
            f"config-defaults, where it is {MAX_CONCURRENCY}"
        )
    if seconds(spec.timeout) > 600:
        yield "needs max-revision-timeout-seconds above 600 in Knative's config-defaults"


def canary(plan: ManifestPlan) -> Iterator[str]:
    if plan.behind:
        name, namespace = plan.spec.name, plan.spec.namespace
        yield (
            "KServe keeps the routes that it made for the serve before, and some gateways prefer them: delete them "
            f"(kubectl delete httproute {name} {plan.workload} --namespace {namespace}), or let the command canary "
            "do it with --apply"
        )
    elif plan.canary and plan.knative:
        yield "a new serve would send all traffic to the canary: apply it without one first"
    elif plan.canary:
        yield (
            "canary.by: kserve needs KServe's Gateway API ingress, and a KServe newer than 0.20.0, which sends a "
            "canary nothing"
        )
