"""What the objects of a serve say: which revision is there, how far it is, and what stands in its way. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.actions import ALL
from controlplane.backends.kserve.fields import absent, added_by_others, conflicts, is_ours
from controlplane.backends.kserve.kinds import CLAIM, INFERENCE_SERVICE, Resource, title
from controlplane.backends.kserve.manifests import REVISION, revision_labels
from controlplane.decide import FieldConflict, Instance, Observed, Phase, ReplicaCount

POLL_INTERVAL = 1.0
SLOW_POLL_INTERVAL = 10.0
"""After a minute: whatever changes is told by the watch as well."""
MINUTE = 60.0
REPEAT_SECONDS = 5.0
"""Between two attempts to complete a revision: somebody else may be taking away what we apply."""
RESTARTED = 2
"""Restarts of a container after which it is not starting but failing."""
COUNTS = ("replicas", "updatedReplicas", "availableReplicas")
Refs = Collection[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class LiveServe:
    """The objects of a serve that are in the cluster."""

    objects: Sequence[Resource] = ()
    """Those that carry its labels, ours and those that KServe makes."""
    workload: Resource | None = None
    """KServe's Deployment, or its Knative Service."""
    pods: Sequence[Resource] = ()
    beside: LiveServe | None = None
    """The revision that is rolled out beside it."""

    @property
    def service(self) -> Resource | None:
        return next((each for each in self.own if each["kind"] == INFERENCE_SERVICE.kind), None)

    @property
    def own(self) -> list[Resource]:
        return [each for each in self.objects if is_ours(each)]


def observed(
    live: LiveServe, wanted: Sequence[Resource], now: float, tried_at: float = 0.0, dropped: Refs = ()
) -> Observed:
    """The state of a serve; `wanted` are the manifests of the revision that should be there.

    `tried_at` is when they were applied last, `dropped` what the cluster did not keep of them then.
    """
    own, service = live.own, live.service
    revisions = sorted({revision for each in own if (revision := revision_of(each)) is not None})
    lacking = missing(own, wanted, dropped) if wanted else None
    instances = [instance(revision, live, wanted, lacking, now, tried_at) for revision in revisions]
    replicas = count(live)
    applied = revision_of(service) if service else None
    current = next((each for each in instances if each.revision == applied), None)
    is_up = current is not None and current.phase == "ready"
    serving = applied if is_up else serving_before(live)
    return Observed(
        instances=tuple(instances),
        weights={} if serving is None else {serving: ALL},
        url=service.get("status", {}).get("url") if service else None,
        in_place=True,
        conflicts=tuple(conflicts_of(own, wanted)),
        replicas=ReplicaCount(replicas.desired, replicas.ready if is_true(service, "IngressReady") else 0),
        pods=tuple(map(shown_pod, live.pods)),
        others=others_of(own, wanted),
        poll_interval=POLL_INTERVAL if current is None or now - current.since < MINUTE else SLOW_POLL_INTERVAL,
    )


def instance(
    revision: int, live: LiveServe, wanted: Sequence[Resource], lacking: str | None, now: float, tried_at: float
) -> Instance:
    service = live.service
    parts = [each for each in live.own if revision_of(each) == revision]
    since = max(time_of(each["metadata"].get("creationTimestamp"), now) for each in parts)
    if all("deletionTimestamp" in each["metadata"] for each in parts):
        return Instance(revision, "stopping", since, due_at=now + POLL_INTERVAL, message="it is being deleted")
    if lacking is not None and wanted and revision_of(wanted[0]) == revision:
        return Instance(revision, "incomplete", since, due_at=tried_at + REPEAT_SECONDS, message=lacking)
    if service is None or revision_of(service) != revision:
        listed = ", ".join(map(title, parts))
        return Instance(revision, "unready", since, message=f"no longer rendered: {listed}")
    since = time_of(condition(service, "Ready").get("lastTransitionTime"), since)
    if is_rolled_out(live) and is_true(service, "IngressReady"):
        return Instance(revision, "ready", since)
    starts, message = trouble(live)
    phase: Phase = "failed" if starts > RESTARTED else "starting"
    return Instance(revision, phase, since, max(starts, 1), message=message or unready_reason(service))


def missing(own: Sequence[Resource], wanted: Sequence[Resource], dropped: Refs) -> str | None:
    """The first thing that was rendered and is not there."""
    there = {title(each): each for each in own}
    for each in wanted:
        if each["kind"] == CLAIM.kind:
            continue
        live = there.get(title(each))
        if live is None or "deletionTimestamp" in live["metadata"]:
            return f"{title(each)} is missing"
        if revision_of(live) != revision_of(each):
            return f"{title(each)} is of revision {revision_of(live)}"
        for path in absent(each, live):
            if (title(each), path) not in dropped:
                return f"{title(each)} lacks {path}"
    return None


def conflicts_of(own: Sequence[Resource], wanted: Sequence[Resource]) -> list[FieldConflict]:
    there = {title(each): each for each in own}
    return [
        conflict for each in wanted if title(each) in there for conflict in conflicts(each, there[title(each)])
    ]  # fmt: skip


def others_of(own: Sequence[Resource], wanted: Sequence[Resource]) -> dict[str, list[str]]:
    """Fields that others have added to the InferenceService."""
    service = next((each for each in own if each["kind"] == INFERENCE_SERVICE.kind), None)
    rendered = next((each for each in wanted if each["kind"] == INFERENCE_SERVICE.kind), None)
    return added_by_others(rendered, service) if service and rendered else {}


def is_rolled_out(live: LiveServe) -> bool:
    """Whether all pods are of what was applied last, and as many are ready as there should be at least.

    KServe's own condition Ready says less, since it does not say of which generation it is, and more: it is false
    whenever an autoscaler adds pods.
    """
    workload, labels = live.workload, revision_labels(live.service)
    if workload is None or labels is None:
        return False
    template = workload["spec"]["template"]["metadata"].get("labels", {})
    status, generation = workload.get("status", {}), workload["metadata"].get("generation")
    if not labels.items() <= template.items() or status.get("observedGeneration") != generation:
        return False
    if workload["kind"] == "Service":  # of Knative
        newest = status.get("latestCreatedRevisionName")
        return newest is not None and newest == status.get("latestReadyRevisionName")
    minimum = int((live.service or {})["spec"]["predictor"].get("minReplicas", 1))
    enough = min(max(minimum, 1), int(workload["spec"].get("replicas", 1)))
    replicas, updated, available = (int(status.get(name, 0)) for name in COUNTS)
    return updated == replicas and available >= enough


def count(live: LiveServe) -> ReplicaCount:
    """Pods that should be there, and those that are ready."""
    service, workload = live.service, live.workload
    if workload is not None and workload["kind"] == "Deployment":
        return ReplicaCount(
            int(workload["spec"].get("replicas", 1)), int(workload.get("status", {}).get("readyReplicas", 0))
        )
    desired = int(service["spec"]["predictor"].get("minReplicas", 1)) if service else 0
    return ReplicaCount(desired, sum(1 for pod in live.pods if is_true(pod, "Ready")))


def serving_before(live: LiveServe) -> int | None:
    """While a revision starts: that of the pods which are ready and not its own."""
    labels = revision_labels(live.service) or {}
    others = [
        int(pod["metadata"]["labels"][REVISION])
        for pod in live.pods
        if is_true(pod, "Ready") and pod["metadata"].get("labels", {}).get(REVISION) not in (None, labels.get(REVISION))
    ]
    return max(others, default=None)


def trouble(live: LiveServe) -> tuple[int, str]:
    """How often a container of the newest pods was started, and what keeps them from being ready."""
    labels = revision_labels(live.service) or {}
    starts, message = 0, ""
    for pod in live.pods:
        if pod["metadata"].get("labels", {}).get(REVISION) == labels.get(REVISION) and not is_true(pod, "Ready"):
            starts = max(starts, 1 + max(map(restarts, containers(pod)), default=0))
            message = message or pod_message(pod)
    return starts, message


def containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def restarts(container: Mapping[str, Any]) -> int:
    return int(container.get("restartCount", 0))


def pod_message(pod: Mapping[str, Any]) -> str:
    """Why a pod is not ready, in its own words."""
    name = pod["metadata"]["name"]
    for container in containers(pod):
        state, last = container.get("state", {}), container.get("lastState", {})
        ended = state.get("terminated") or last.get("terminated") or {}
        waiting = state.get("waiting") or {}
        if ended.get("exitCode"):
            why = ended.get("message") or f"{ended.get('reason', 'ended')}, exit code {ended['exitCode']}"
            return f"{name}: {container['name']}: {' '.join(why.split())[-500:]}"
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{name}: {container['name']}: {waiting['reason']} {waiting.get('message', '')}".rstrip()
    scheduled = condition(pod, "PodScheduled")
    return f"{name}: {scheduled.get('message', 'not scheduled')}" if scheduled.get("status") == "False" else ""


def shown_pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    revision = pod["metadata"].get("labels", {}).get(REVISION, "")
    return {
        "name": pod["metadata"]["name"],
        "revision": int(revision) if revision.isdigit() else None,
        "phase": pod.get("status", {}).get("phase"),
        "ready": is_true(pod, "Ready"),
        "restarts": sum(map(restarts, containers(pod))),
        "node": pod.get("spec", {}).get("nodeName"),
        "message": pod_message(pod),
    }


def unready_reason(service: Mapping[str, Any]) -> str:
    """What KServe says of an InferenceService that is not ready."""
    failing = [each for each in conditions(service) if each.get("status") == "False" and each.get("message")]
    return f"{failing[0]['type']}: {failing[0]['message']}" if failing else ""


def revision_of(resource: Mapping[str, Any]) -> int | None:
    label = resource["metadata"].get("labels", {}).get(REVISION, "")
    return int(label) if label.isdigit() else None


def conditions(resource: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return list((resource or {}).get("status", {}).get("conditions", ()))


def condition(resource: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any]:
    return next((each for each in conditions(resource) if each.get("type") == kind), {})


def is_true(resource: Mapping[str, Any] | None, kind: str) -> bool:
    return condition(resource, kind).get("status") == "True"


def time_of(text: str | None, otherwise: float) -> float:
    return datetime.fromisoformat(text).timestamp() if text else otherwise
