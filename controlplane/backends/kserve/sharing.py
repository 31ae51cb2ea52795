"""What the objects of a serve say while a revision is beside it: how far each is, and who gets what. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.actions import ALL
from controlplane.backends.kserve.fields import MANAGER, ROLLOUT
from controlplane.backends.kserve.kinds import HTTP_ROUTE, Resource, title
from controlplane.backends.kserve.manifests import revision_labels
from controlplane.backends.kserve.state import (
    MINUTE,
    POLL_INTERVAL,
    RESTARTED,
    LiveServe,
    Refs,
    count,
    instance,
    is_rolled_out,
    missing,
    others_of,
    revision_of,
    shown_pod,
    time_of,
    trouble,
)
from controlplane.decide import Instance, Observed, Phase, ReplicaCount
from generator import Accepted, ObservedServe

LEFT_OVER = 0
"""Stands for what is still to go once a serve has become the revision that was beside it."""


def observed_pair(
    live: LiveServe, wanted: Sequence[Resource], now: float, tried_at: float, dropped: Refs, waits_for: str
) -> Observed:
    """The state of a serve and of the revision beside it; `wanted` are the manifests of one of the two."""
    beside = live.beside
    assert beside is not None  # noqa: S101 - otherwise there is no pair
    applied, candidate = (revision_of(each.service) if each.service else None for each in (live, beside))
    instances = [beside_instance(beside, now)] if beside.service else []
    for revision in sorted({number for each in live.own if (number := revision_of(each)) is not None}):
        if revision == candidate:
            if is_rolled_out(live) and instances[0].phase != "ready":
                instances[0] = Instance(revision, "ready", instances[0].since)
            continue
        expected = wanted if wanted and revision_of(wanted[0]) == revision == applied else ()
        lacking = missing(live.own, expected, dropped) if expected else None
        instances.append(instance(revision, live, expected, lacking, now, tried_at))
    if applied == candidate and len(instances) == 1:
        instances.append(Instance(LEFT_OVER, "unready", now, message=f"what was beside revision {candidate} is to go"))
    counts = [count(live), count(beside)]
    return Observed(
        instances=tuple(sorted(instances, key=lambda each: each.revision)),
        weights=weights_of(live),
        url=live.service.get("status", {}).get("url") if live.service else None,
        replicas=ReplicaCount(sum(each.desired for each in counts), sum(each.ready for each in counts)),
        pods=tuple(map(shown_pod, (*live.pods, *beside.pods))),
        others=others_of(live.own, wanted) if wanted and revision_of(wanted[0]) == applied else {},
        poll_interval=POLL_INTERVAL,
        waits_for=waits_for,
        weights_by=weights_by(live),
    )


def beside_instance(beside: LiveServe, now: float) -> Instance:
    """It is ready with its first pod: whether there are enough for a share is for the plan of the share to wait for."""
    service = beside.service
    assert service is not None  # noqa: S101
    revision = revision_of(service) or 0
    since = time_of(service["metadata"].get("creationTimestamp"), now)
    if "deletionTimestamp" in service["metadata"]:
        return Instance(revision, "stopping", since, due_at=now + POLL_INTERVAL, message="it is being deleted")
    if has_pod(beside):
        return Instance(revision, "ready", since)
    starts, message = trouble(beside)
    phase: Phase = "failed" if starts > RESTARTED else "starting"
    return Instance(revision, phase, since, max(starts, 1), due_at=now + MINUTE, message=message)


def has_pod(beside: LiveServe) -> bool:
    workload, labels = beside.workload, revision_labels(beside.service)
    if workload is None or labels is None:
        return False
    template = workload["spec"]["template"]["metadata"].get("labels", {})
    return labels.items() <= template.items() and int(workload.get("status", {}).get("availableReplicas", 0)) > 0


def weights_of(live: LiveServe) -> dict[int, int]:
    """The percent of the requests that each revision gets; nothing while the gateway has not taken them."""
    applied = revision_of(live.service) if live.service else None
    split = split_of(live)
    if split is None:
        return {} if applied is None or not is_rolled_out(live) else {applied: ALL}
    route = own_route(live)
    assert route is not None  # noqa: S101 - it has the split
    if not Accepted(route["metadata"]["name"]).holds(ObservedServe.of([route])):
        return {}
    candidate = revision_of(live.beside.service) if live.beside and live.beside.service else None
    shares = {applied: split[0], candidate: split[1]} if applied != candidate else {applied: sum(split)}
    return {revision: share for revision, share in shares.items() if share and revision is not None}


def split_of(live: LiveServe) -> tuple[int, int] | None:
    """The percent of our route for the serve and for the revision beside it; None if it leads nobody."""
    route = own_route(live)
    rules = route["spec"].get("rules", []) if route else []
    if not rules or any(match["path"]["type"] == "Exact" for match in rules[-1]["matches"]):
        return None
    name = live.beside.service["metadata"]["name"] if live.beside and live.beside.service else None
    weights = {each["name"]: int(each.get("weight", 1)) for each in rules[-1]["backendRefs"]}
    total = sum(weights.values())
    candidate = round(ALL * weights.get(f"{name}-predictor", 0) / total) if total else 0
    return ALL - candidate, candidate


def share_of(live: LiveServe) -> int | None:
    """The percent of our route for the revision beside the serve; None if it leads nobody."""
    split = split_of(live)
    return None if split is None else split[1]


def own_route(live: LiveServe) -> Resource | None:
    name = f"{live.service['metadata']['name']}-route" if live.service else None
    routes = (each for each in live.own if each["kind"] == HTTP_ROUTE.kind)
    return next((each for each in routes if each["metadata"]["name"] == name), None)


def weights_by(live: LiveServe) -> str:
    """Who has set the weights of our route last, if it was not us."""
    route, split = own_route(live), split_of(live)
    if route is None or split is None:
        return ""
    for entry in route["metadata"].get("managedFields", ()):
        fields: Mapping[str, Any] = entry.get("fieldsV1") or {}
        if entry.get("manager") not in (MANAGER, ROLLOUT) and "f:rules" in fields.get("f:spec", {}):
            who, when = entry.get("manager", "somebody"), entry.get("time", "some time")
            return f"{who} has changed {title(route)} at {when}, so that the new revision gets {split[1]} %"
    return ""
