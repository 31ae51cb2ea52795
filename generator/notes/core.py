"""What the person who applies the resources has to know: what they need of the cluster, and what will surprise."""

from __future__ import annotations

from collections.abc import Iterator

from generator.facts import is_mlflow, is_moving
from generator.notes import predictions, surroundings
from generator.plan import LARGE, ManifestPlan
from generator.resources.promql import queries
from generator.resources.storage_container import TRACKING_SECRET
from generator.scaler import lowest
from generator.spec.values import quantity, seconds


def notes(plan: ManifestPlan) -> list[str]:
    return [
        *storage(plan),
        *reload(plan),
        *knative(plan),
        *canary(plan),
        *scaling(plan),
        *sizes(plan),
        *predictions.notes(plan),
        *surroundings.notes(plan),
    ]


def reload(plan: ManifestPlan) -> Iterator[str]:
    spec = plan.spec
    if (spec.reload.interval or spec.reload.webhook_secret) and not is_moving(spec.model):
        yield f"reload says how an alias is followed, and {spec.model} stays what it is"


def storage(plan: ManifestPlan) -> Iterator[str]:
    spec = plan.spec
    if not is_mlflow(spec.model):
        return
    if plan.strategy == "container":
        yield (
            "needs the ClusterStorageContainer for MLflow's URIs, which kserve/ has, "
            f"and the Secret {TRACKING_SECRET} in {spec.namespace}, which tells it where MLflow is"
        )
    elif plan.follows and spec.storage.secrets and not spec.image:
        yield (
            "the predictor's images have no clients of object stores: other versions of the model can be loaded while "
            "it serves only if MLflow itself serves the artifacts, or with an image that has them"
        )
    elif not plan.knows_registry and not spec.storage.secrets:
        yield "no tracking server is named: the model is found only if tracking.uri or tracking.secret says where"


def knative(plan: ManifestPlan) -> Iterator[str]:
    """Parts of pods that Knative takes only where its config-features say so."""
    if not plan.knative:
        return
    spec, where = plan.spec, plan.spec.placement
    capacity = spec.node_capacities.get(spec.node_capacity or "")
    log_claim = spec.prediction_log and spec.prediction_log.claim
    written = plan.strategy == "pvc" or spec.dependencies.cache_claim or log_claim
    claims = written or any(mount.pvc for mount in spec.volumes)
    writes = written or any(mount.pvc and not mount.read_only for mount in spec.volumes)
    for flag, used in (
        ("podspec-init-containers", plan.strategy in ("emptydir", "pvc")),
        ("podspec-persistent-volume-claim", claims),
        ("podspec-persistent-volume-write", writes),
        ("podspec-nodeselector", where.node_selector or (capacity and capacity.node_selector)),
        ("podspec-tolerations", where.tolerations or (capacity and capacity.tolerations)),
        ("podspec-affinity", where.affinity),
        ("podspec-topologyspreadconstraints", where.topology_spread not in ("off", [])),
        ("podspec-priorityclassname", where.priority_class),
        ("podspec-volumes-csi", any(mount.csi for mount in spec.volumes)),
    ):
        if used:
            yield f"needs kubernetes.{flag}: enabled in Knative's config-features"
    if seconds(spec.timeout) > 600:
        yield "needs max-revision-timeout-seconds above 600 in Knative's config-defaults"


def canary(plan: ManifestPlan) -> Iterator[str]:
    if plan.canary is None:
        return
    if plan.knative:
        yield "a serve that is new gives all of its traffic to the canary: apply it without one first"
    else:
        yield "a canary in Standard mode needs KServe's Gateway API ingress"


def scaling(plan: ManifestPlan) -> Iterator[str]:
    said = plan.scaling
    if plan.scaler == "keda":
        yield "needs KEDA on the cluster"
        if queries(plan):
            yield f"needs Prometheus at {said.prometheus} to name each metric's namespace and pod, as its operator does"
        if lowest(plan.spec) == 0:
            yield "while there are no pods nobody holds requests: they fail until the first one is ready"
    if plan.knative and plan.scaler == "hpa":
        yield "needs Knative's extension for HorizontalPodAutoscalers (serving-hpa.yaml)"
    if said.initial_scale == 0:
        yield "needs allow-zero-initial-scale: true in Knative's config-autoscaler"
    if plan.clock == "jobs":
        yield "a window counts from its next start on, and again only from there after the resources are applied anew"


def sizes(plan: ManifestPlan) -> Iterator[str]:
    if plan.spec.workers > max(1.0, quantity(plan.stable.cores)):
        yield f"{plan.spec.workers} workers share {plan.stable.cores} cores"
    if plan.strategy == "emptydir" and quantity(plan.stable.memory) > 6 * LARGE:
        yield "a large model is downloaded by every pod that starts: storage.cache saves that"
