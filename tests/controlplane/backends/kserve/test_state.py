"""From the objects of a serve to what is there, and to what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.actions import Action, Apply, Discard, Fail, Succeed
from controlplane.backends.kserve.manifests import manifests
from controlplane.backends.kserve.state import LiveServe, observed
from controlplane.decide import ChangeUnderWay, Desired, Phase, decide
from tests.controlplane.backends.kserve.serves import (
    KEY,
    applied,
    condition,
    content,
    deployment,
    pod,
    ready_serve,
    service_of,
)

NOW = 1_800_000_500.0
CHANGE = ChangeUnderWay(NOW + 600)
NEXT = content("models:/fraud/2")


def action(desired: Desired, live: LiveServe, wanted: Any, now: float = NOW) -> Action | None:
    return decide(desired, observed(live, wanted, now), now).action


def phase(live: LiveServe, wanted: Any, revision: int = 1) -> Phase | None:
    found = observed(live, wanted, NOW).instance(revision)
    return found.phase if found else None


def rolling(**counts: int) -> tuple[Any, LiveServe]:
    """Revision 2 was applied over 1, whose pod still serves."""
    wanted, live = ready_serve(2, NEXT)
    workload = deployment(service_of(list(live.objects)), **counts)
    return wanted, replace(live, workload=workload, pods=[pod(1), pod(2, ready=False)])


def test_a_serve_that_is_as_it_should_be() -> None:
    wanted, live = ready_serve()
    now = observed(live, wanted, NOW)
    assert (now.serving, now.url, now.conflicts) == (1, "http://fraud.example.com", ())
    assert (now.replicas.desired, now.replicas.ready) == (1, 1) if now.replicas else False
    assert action(Desired(1, 1), live, wanted) is None
    assert action(Desired(1, None, CHANGE), live, wanted) == Succeed()


def test_nothing_there_is_applied() -> None:
    assert action(Desired(1, None, CHANGE), LiveServe(), manifests(KEY, 1, content())) == Apply(1)
    assert action(Desired(1, 1), LiveServe(), manifests(KEY, 1, content())) == Apply(1)


def test_the_one_before_serves_until_the_next_is_ready() -> None:
    wanted, live = rolling(replicas=2, updated=1, available=1)
    now = observed(live, wanted, NOW)
    assert (now.serving, phase(live, wanted, 2)) == (1, "starting")
    assert now.replicas is not None
    assert now.replicas.ready == 1
    assert action(Desired(2, 1, CHANGE), live, wanted) is None
    wanted, live = rolling(replicas=1, updated=1, available=1)
    assert action(Desired(2, 1, CHANGE), live, wanted) == Succeed()


def test_a_deployment_that_has_not_followed_yet_is_no_success() -> None:
    """KServe has not seen the new revision: all that is ready is the old one."""
    wanted, live = ready_serve(2, NEXT)
    before = deployment(service_of([applied(each) for each in manifests(KEY, 1, content())]))
    assert phase(replace(live, workload=before), wanted, 2) == "starting"
    behind = deployment(service_of(list(live.objects)))
    behind["status"]["observedGeneration"] = 2
    assert phase(replace(live, workload=behind), wanted, 2) == "starting"
    assert phase(replace(live, workload=None), wanted, 2) == "starting"


def test_no_ingress_is_no_readiness() -> None:
    wanted, live = ready_serve()
    service = service_of(list(live.objects))
    service["status"]["conditions"] = [condition("IngressReady", "False", "no gateway")]
    now = observed(live, wanted, NOW)
    assert now.instances[0].message == "IngressReady: no gateway"
    assert (now.serving, now.replicas.ready if now.replicas else None) == (None, 0)


def test_nobody_ready_is_never_counted_as_ready() -> None:
    wanted, live = ready_serve()
    none = deployment(service_of(list(live.objects)), available=0)
    now = observed(replace(live, workload=none, pods=[pod(1, ready=False)]), wanted, NOW)
    assert (now.serving, now.replicas.ready if now.replicas else None) == (None, 0)


def test_an_autoscaler_that_adds_pods_changes_nothing() -> None:
    wanted, live = ready_serve()
    service = service_of(list(live.objects))
    service["status"]["conditions"][0]["status"] = "False"
    more = deployment(service, replicas=3, updated=3, available=1, wanted=3)
    assert phase(replace(live, workload=more), wanted) == "ready"


@pytest.mark.parametrize(
    ("state", "restarts", "expected"),
    [
        ({"waiting": {"reason": "CrashLoopBackOff"}}, 3, "failed"),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, 1, "starting"),
        ({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, 0, "starting"),
    ],
)
def test_pods_that_do_not_start(state: dict[str, Any], restarts: int, expected: str) -> None:
    wanted, live = rolling(replicas=2, updated=1, available=1)
    live = replace(live, pods=[pod(1), pod(2, False, restarts, **state)])
    assert phase(live, wanted, 2) == expected
    message = observed(live, wanted, NOW).instances[0].message
    assert state["waiting"]["reason"] in message
    decided = action(Desired(2, 1, CHANGE), live, wanted)
    assert isinstance(decided, Fail) if expected == "failed" else decided is None


def test_a_failed_revision_is_replaced_by_the_one_before() -> None:
    first = manifests(KEY, 1, content())
    _, live = rolling(replicas=2, updated=1, available=1)
    assert action(Desired(1, 1), live, first) == Apply(1)


def test_a_serve_that_crashes_is_left_to_the_cluster() -> None:
    wanted, live = ready_serve()
    none = deployment(service_of(list(live.objects)), available=0)
    live = replace(live, workload=none, pods=[pod(1, False, 9, waiting={"reason": "CrashLoopBackOff"})])
    assert phase(live, wanted) == "failed"
    assert action(Desired(1, 1), live, wanted) is None


def test_an_object_that_is_missing_is_applied_again_after_a_while() -> None:
    wanted, live = ready_serve(1, content(infra={"replicas": {"min": 2, "max": 2}}))
    live = replace(live, objects=[each for each in live.objects if each["kind"] != "PodDisruptionBudget"])
    now = observed(live, wanted, NOW)
    assert now.instances[0].message == "PodDisruptionBudget fraud is missing"
    assert decide(Desired(1, 1), now, NOW).action == Apply(1)
    tried = observed(live, wanted, NOW, tried_at=NOW - 1)
    assert decide(Desired(1, 1), tried, NOW).again_at == NOW + 4


def test_a_partial_apply_is_carried_on() -> None:
    """The InferenceService is of revision 2, and the rest of revision 1."""
    old, new = manifests(KEY, 1, content()), manifests(KEY, 2, NEXT)
    live = LiveServe([applied(service_of(new)), *(applied(each) for each in old if each["kind"] != "InferenceService")])
    assert phase(live, new, 2) == "incomplete"
    assert action(Desired(2, 1, CHANGE), live, new) == Apply(2)


def test_what_the_cluster_does_not_keep_is_not_applied_for_ever() -> None:
    wanted, live = ready_serve()
    del service_of(list(live.objects))["spec"]["predictor"]["timeout"]
    assert phase(live, wanted) == "incomplete"
    dropped = {("InferenceService fraud", "spec.predictor.timeout")}
    assert observed(live, wanted, NOW, dropped=dropped).instances[0].phase == "ready"


def test_what_is_no_longer_rendered_is_discarded_once_the_new_serves() -> None:
    two = content(infra={"replicas": {"min": 2, "max": 2}})
    budget = next(applied(each) for each in manifests(KEY, 1, two) if each["kind"] == "PodDisruptionBudget")
    wanted, live = ready_serve(2, NEXT)
    live = replace(live, objects=[*live.objects, budget])
    assert action(Desired(2, 1, CHANGE), live, wanted) == Succeed()
    assert action(Desired(2, 2), live, wanted) == Discard(1)
    kserves = {**budget, "metadata": {**budget["metadata"], "ownerReferences": [{"controller": True}]}}
    assert action(Desired(2, 2), replace(live, objects=[*live.objects[:-1], kserves]), wanted) is None


def test_an_undeployed_serve_ends_and_is_waited_for() -> None:
    wanted, live = ready_serve()
    assert action(Desired(None, 1, CHANGE), live, ()) == Discard(1)
    for each in live.objects:
        each["metadata"]["deletionTimestamp"] = "2027-01-15T08:08:00Z"
    assert phase(live, (), 1) == "stopping"
    assert action(Desired(None, 1, CHANGE), live, ()) is None
    assert action(Desired(None, 1, CHANGE), LiveServe(), ()) == Succeed()
    assert action(Desired(1, 1), live, wanted) is None, "it is made again once it is gone"


def test_a_change_of_others_pauses_it() -> None:
    wanted, live = ready_serve()
    fields: dict[str, Any] = {"f:spec": {"f:predictor": {"f:minReplicas": {}}}}
    edited = applied(service_of(wanted), kubectl_edit=fields)
    edited["spec"]["predictor"]["minReplicas"] = 4
    edited["status"] = service_of(list(live.objects))["status"]
    live = replace(live, objects=[edited, *(each for each in live.objects if each["kind"] != "InferenceService")])
    assert len(observed(live, wanted, NOW).conflicts) == 1
    assert observed(live, wanted, NOW).serving == 1
    assert action(Desired(1, 1), live, wanted) is None
    nextone = manifests(KEY, 2, NEXT)
    assert isinstance(action(Desired(2, 1, CHANGE), live, nextone), Fail)
    taking = ChangeUnderWay(NOW + 600, takes_over=True)
    assert action(Desired(2, 1, taking), live, nextone) == Apply(2)
    assert action(Desired(None, 1, CHANGE), live, ()) == Discard(1)


def test_knative_is_rolled_out_when_its_newest_revision_is_ready() -> None:
    wanted, live = ready_serve(1, content(mode="Knative", infra={"storage": {"strategy": "server"}}))
    service = service_of(list(live.objects))
    workload = deployment(service) | {"kind": "Service", "apiVersion": "serving.knative.dev/v1"}
    names = {"latestCreatedRevisionName": "fraud-2", "latestReadyRevisionName": "fraud-1"}
    workload["status"] = {"observedGeneration": 3, **names}
    assert phase(replace(live, workload=workload), wanted) == "starting"
    workload["status"]["latestReadyRevisionName"] = "fraud-2"
    assert phase(replace(live, workload=workload), wanted) == "ready"
