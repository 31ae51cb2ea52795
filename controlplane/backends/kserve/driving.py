"""Carries out plans of the generator on a cluster, a bit further each time that it is asked to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from controlplane.backends.backend import Key, StillUnderWay
from controlplane.backends.kserve.api import ApiStatus, KubernetesApi
from controlplane.backends.kserve.fields import ROLLOUT
from controlplane.backends.kserve.kinds import BY_KIND, CLAIM, INFERENCE_SERVICE, Resource
from controlplane.backends.kserve.manifests import ENVIRONMENT, SERVE, labelled, own_labels, record_of
from controlplane.backends.kserve.pairs import RevisionPair
from controlplane.failpoints import failpoint
from generator import (
    CANARY_OF,
    Action,
    ApplyDocuments,
    ObservedServe,
    Patch,
    PlanDriver,
    RolloutCluster,
    RolloutPlan,
)

Goal = tuple[str, int, int]
"""What a plan leads to, the revision that it is about, and its percent of the requests."""
FORGOTTEN_SECONDS = 60.0
"""A plan that was not gone on with for so long is made again: another control plane may have acted meanwhile."""


class PairObjects(RolloutCluster):
    """The objects of a pair of revisions, as a plan asks for them and changes them."""

    def __init__(
        self, api: KubernetesApi, namespace: str, pair: RevisionPair, before_end: Callable[[], None] = lambda: None
    ) -> None:
        self.api, self.namespace, self.pair, self.before_end = api, namespace, pair, before_end
        self.objects = [(BY_KIND[kind], name) for kind, name in pair.objects()]

    def observe(self) -> ObservedServe:
        there = (
            (kind, self.api.get(kind, self.namespace, name)) for kind, name in self.objects if self.api.kinds((kind,))
        )
        return ObservedServe.of(
            {**each, "apiVersion": kind.api_version, "kind": kind.kind} for kind, each in there if each is not None
        )

    def now(self) -> float:
        return time.monotonic()

    def carry_out(self, action: Action) -> None:
        failpoint("before_plan_action")
        if isinstance(action, ApplyDocuments):
            for each in action.documents:
                self.apply(each)
        elif isinstance(action, Patch):
            if action.kind == CLAIM.kind:
                return  # claims are of all revisions
            self.api.patch(BY_KIND[action.kind], self.namespace, action.name, action.content, ROLLOUT)
        else:
            self.delete(action.kind, action.name)
        failpoint("after_plan_action")

    def apply(self, document: Resource) -> None:
        """Routes and what is beside the serve are nobody else's."""
        if document["kind"] == INFERENCE_SERVICE.kind:  # its record first: whoever finds the one finds the other
            of, name = self.pair.candidate, document["metadata"]["name"]
            labels = {ENVIRONMENT: of.key.env, SERVE: of.key.serve, CANARY_OF: of.key.serve}
            record = labelled(record_of(name, self.namespace, of.content), labels | own_labels(of.revision, of.content))
            self.api.apply(record, take_over=True)
        self.api.apply(document, take_over=True)

    def delete(self, kind: str, name: str) -> None:
        if kind == INFERENCE_SERVICE.kind:
            self.before_end()
        there = self.api.get(BY_KIND[kind], self.namespace, name)
        if there is not None:
            self.api.delete({**there, "apiVersion": BY_KIND[kind].api_version, "kind": kind})


class PairDriver:
    """The plans under way, by serve. What they have done is in the cluster; here is only how far they waited."""

    def __init__(self) -> None:
        self.drivers: dict[Key, tuple[Goal, PlanDriver, float]] = {}
        self.waits_for: dict[Key, str] = {}

    def go_on(
        self,
        key: Key,
        goal: Goal,
        objects: Callable[[], PairObjects],
        plan: Callable[[ObservedServe], RolloutPlan],
    ) -> None:
        """Raises StillUnderWay until the plan to a goal has been carried out, and SpecError if there is none."""
        now = time.monotonic()
        known = self.drivers.get(key)
        try:
            if known is None or known[0] != goal or now - known[2] > FORGOTTEN_SECONDS:
                cluster = objects()
                driver = PlanDriver(plan(cluster.observe()), cluster, lambda progress: None, math.inf, math.inf)
            else:
                driver = known[1]
            self.drivers[key] = goal, driver, now
            done, missing = driver.go_on(), "; ".join(map(str, driver.missing))
        except ApiStatus as error:
            self.drivers.pop(key, None)
            done, missing = False, str(error)
        if not done:
            raise self.waiting(key, missing or "what was changed to settle")
        self.drivers.pop(key, None)
        self.waits_for.pop(key, None)

    def forget(self, key: Key) -> None:
        self.drivers.pop(key, None)

    def waiting(self, key: Key, what: str) -> StillUnderWay:
        self.waits_for[key] = what
        return StillUnderWay(what)
