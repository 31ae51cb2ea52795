"""Serves as InferenceServices of one namespace of a cluster."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from controlplane.actions import ALL
from controlplane.backends.backend import ApplyRefused, Backend, BackendAway, FoundServe, Key, SmokeAnswer
from controlplane.backends.kserve.api import KINDS_SECONDS, ApiStatus, KubernetesApi
from controlplane.backends.kserve.beside import RevisionBeside, candidate_of, live_serve, recorded_in
from controlplane.backends.kserve.fields import ROLLOUT, SCHEDULE, absent, is_ours
from controlplane.backends.kserve.kinds import (
    APPLIED,
    CONFIG_MAP,
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    KNATIVE_SERVICE,
    POD,
    Resource,
    ResourceKind,
    kind_of,
    title,
)
from controlplane.backends.kserve.manifests import (
    ENVIRONMENT,
    REVISION,
    SERVE,
    manifests,
    pods_of,
    problems,
    record_name,
    recorded,
    rendered,
    revision_labels,
)
from controlplane.backends.kserve.pairs import pair_problems
from controlplane.backends.kserve.pods import CONTAINER, RevisionPods
from controlplane.backends.kserve.sharing import LEFT_OVER, observed_pair, share_of
from controlplane.backends.kserve.state import LiveServe, observed, revision_of
from controlplane.decide import Observed
from controlplane.domain.problems import FieldProblem
from controlplane.domain.revisions import Content
from controlplane.domain.rollouts import SmokeRequest
from controlplane.failpoints import failpoint
from generator import CANARY_OF, compare
from monitoring.verdict import CounterSource

log = logging.getLogger("controlplane")

SNAPSHOT_SECONDS = 30.0
"""How long what a full look saw of a serve may be decided on; whatever is done to it or told of it ends that."""
WATCH_PAUSE = 2.0
CONFLICT = 409


class KServeBackend(Backend):
    def __init__(self, api: KubernetesApi, namespace: str, now: Callable[[], float] = time.time) -> None:
        self.api, self.namespace, self.now = api, namespace, now
        self.lock = threading.Lock()
        self.rendered: dict[Key, tuple[tuple[int, str, str], list[Resource]]] = {}
        self.tried_at: dict[Key, float] = {}
        self.dropped: dict[Key, set[tuple[str, str]]] = {}
        self.seen: dict[Key, LiveServe] = {}
        self.seen_at = 0.0
        """By the monotonic clock."""
        self.closed = threading.Event()
        self.beside = RevisionBeside(api, namespace)
        self.pods = RevisionPods(api, namespace)

    def problems(self, serve: str, content: Content) -> list[FieldProblem]:
        listed = list(problems(serve, content))
        if not listed and content.deployment.plan().steps:
            listed += pair_problems(serve, content)
        return listed

    # -- what is there ------------------------------------------------------------------------------------------

    def observe(
        self, key: Key, wanted: int | None = None, content: Content | None = None, closely: bool = False
    ) -> Observed:
        live = (None if closely else self.glimpse(key)) or self.live(key)
        expected: list[Resource] = []
        if wanted is not None and content is not None:
            expected = self.yielding(self.manifests(key, wanted, content, revision_labels(live.service)), live.service)
        known = live, expected, self.now(), self.tried_at.get(key, 0.0), self.dropped.get(key, ())
        return observed(*known) if live.beside is None else observed_pair(*known, self.beside.waits_for(key))

    def manifests(self, key: Key, revision: int, content: Content, labels: Mapping[str, str] | None) -> list[Resource]:
        """The last ones of each serve are kept: they take longer to render than to compare."""
        asked = revision, content.sha256, (labels or {}).get(REVISION, "")
        known = self.rendered.get(key)
        if known is None or known[0] != asked:
            known = self.rendered[key] = asked, manifests(key, revision, content, labels)
        return known[1]

    def yielding(self, resources: list[Resource], service: Resource | None) -> list[Resource]:
        """The manifests with the numbers of replicas that a schedule has set meanwhile."""
        managers = {each.get("manager") for each in (service or {}).get("metadata", {}).get("managedFields", ())}
        if service is None or SCHEDULE not in managers or not any(each["kind"] == "CronJob" for each in resources):
            return resources
        there = service["spec"]["predictor"]
        numbers = {name: there[name] for name in ("minReplicas", "maxReplicas") if name in there}
        return [
            {**each, "spec": {**each["spec"], "predictor": {**each["spec"]["predictor"], **numbers}}}
            if each["kind"] == INFERENCE_SERVICE.kind
            else each
            for each in resources
        ]

    def glimpse(self, key: Key) -> LiveServe | None:
        """A serve as the full look saw it a moment ago; once, so that nothing is decided on it afterwards."""
        with self.lock:
            seen = self.seen.pop(key, None)
            return seen if time.monotonic() - self.seen_at < SNAPSHOT_SECONDS else None

    def live(self, key: Key) -> LiveServe:
        selector = f"{ENVIRONMENT}={key.env},{SERVE}={key.serve}"
        return self.grouped(selector, with_pods=True).get(key, LiveServe())

    def grouped(self, selector: str, with_pods: bool) -> dict[Key, LiveServe]:
        """The objects that a selector names, by their serve."""
        objects: defaultdict[Key, list[Resource]] = defaultdict(list)
        workloads: defaultdict[Key, dict[str, Resource]] = defaultdict(dict)
        pods: defaultdict[Key, list[Resource]] = defaultdict(list)
        for kind in self.api.kinds((*APPLIED, DEPLOYMENT, KNATIVE_SERVICE, *([POD] if with_pods else []))):
            for each in self.api.listed(kind, self.namespace, selector):
                key = key_of(each)
                if kind == POD:
                    pods[key].append(each)
                elif kind in (DEPLOYMENT, KNATIVE_SERVICE):
                    workloads[key][each["metadata"]["name"]] = each
                else:
                    objects[key].append(each)
        return {key: live_serve(key, listed, workloads[key], pods[key]) for key, listed in objects.items()}

    def keys(self) -> list[Key]:
        return []

    def owns(self, key: Key) -> bool:
        return False  # another store may know what this one does not: that is adopted, and never ended

    def deployed(self, env: str) -> list[FoundServe]:
        records = self.api.listed(CONFIG_MAP, self.namespace, f"{ENVIRONMENT}={env},{SERVE}")
        found = (recorded(each) for each in records if is_ours(each) and CANARY_OF not in each["metadata"]["labels"])
        return [each for each in found if each is not None]

    def logs(self, key: Key, revision: int, lines: int) -> str:
        pods = self.api.listed(POD, self.namespace, f"{ENVIRONMENT}={key.env},{SERVE}={key.serve}")
        texts = []
        for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"])):
            name, of = pod["metadata"]["name"], revision_of(pod)
            texts.append(f"==> {name}, of revision {of} <==\n{self.api.logs(self.namespace, name, CONTAINER, lines)}")
        return "\n".join(texts)

    # -- what is done -------------------------------------------------------------------------------------------

    def apply(self, key: Key, revision: int, content: Content, take_over: bool = False, by_steps: bool = False) -> None:
        self.forget(key)
        if by_steps:
            self.beside.start(FoundServe(key, revision, content), self.live(key), self.become)
            return
        self.tried_at[key] = self.now()
        service = self.service(key)
        resources = self.resources(key, revision, content, service)
        if service is not None:
            self.settle_schedule(resources, service)
        dropped: set[tuple[str, str]] = set()
        for number, each in enumerate(resources):
            try:
                stored = self.api.apply(each, take_over)
            except ApiStatus as error:
                raise ApplyRefused(f"{title(each)}: {error}") from None
            dropped |= {(title(each), path) for path in absent(each, stored)}
            if number == 0:
                failpoint("after_first_object")
        self.dropped[key] = dropped
        failpoint("after_last_object")

    def resources(self, key: Key, revision: int, content: Content, service: Resource | None) -> list[Resource]:
        """What is applied for a revision; pods stay if nothing of them changes."""
        record = self.api.get(CONFIG_MAP, self.namespace, record_name(key.serve))
        labels = pods_of(key, revision, content, service, record)
        return self.yielding(self.manifests(key, revision, content, labels), service)

    def service(self, key: Key) -> Resource | None:
        """The InferenceService of a serve. Raises ApplyRefused if it is somebody else's."""
        service = self.api.get(INFERENCE_SERVICE, self.namespace, key.serve)
        if service is not None and (not is_ours(service) or key_of(service) != key):
            raise ApplyRefused(
                f"there is an InferenceService {key.serve} in {self.namespace} already, which is not of environment "
                f"{key.env}: choose another name, or delete it"
            )
        return service

    def settle_schedule(self, resources: list[Resource], service: Resource) -> None:
        """Numbers of replicas that a schedule has set are nobody's once there is no schedule."""
        managers = {each.get("manager") for each in service["metadata"].get("managedFields", ())}
        if SCHEDULE in managers and not any(each["kind"] == "CronJob" for each in resources):
            try:
                self.api.disown(service, SCHEDULE)
            except ApiStatus as error:
                raise ApplyRefused(f"{title(service)}: {error}") from None

    def dry_run(self, key: Key, revision: int, content: Content) -> Mapping[str, Any] | None:
        record = self.api.get(CONFIG_MAP, self.namespace, record_name(key.serve))
        before = recorded(record) if record else None
        changes = compare(rendered(key.serve, before.content) if before else [], rendered(key.serve, content))
        refusals = []
        try:
            resources = self.resources(key, revision, content, self.service(key))
        except ApplyRefused as error:
            resources, refusals = [], [str(error)]
        for each in resources:
            try:
                self.api.apply(each, dry_run=True)
            except ApiStatus as error:
                refusals.append(f"{title(each)}: {error}")
        return {
            "changes": [str(change) for change in changes],
            "restarts_pods": any(change.restarts for change in changes),
            "accepted": not refusals,
            "refusals": refusals,
        }

    def split(self, key: Key, weights: Mapping[int, int]) -> None:
        """Nothing where there is one revision: the cluster sends requests to pods once they are ready."""
        self.forget(key)
        live = self.live(key)
        if live.beside is not None:
            self.beside.split(key, live, weights)

    def counters(self, key: Key, revision: int) -> CounterSource:
        live = self.live(key)
        return self.pods.counters(key, revision, candidate_of(live), recorded_in(live, key.serve))

    def ask(self, key: Key, revision: int, request: SmokeRequest) -> SmokeAnswer:
        return self.pods.ask(key, revision, candidate_of(self.live(key)), request)

    def discard(self, key: Key, revision: int) -> None:
        self.forget(key)
        live = self.live(key)
        if live.beside is not None and live.service is not None:
            is_next, is_late = revision in (candidate_of(live), LEFT_OVER), (share_of(live) or 0) > ALL // 2
            if is_next or is_late or revision_of(live.service) == candidate_of(live):
                self.beside.clear(key, live, self.become)
                return
        everything = [*live.own, *(live.beside.own if live.beside else [])]
        parts = [each for each in everything if revision_of(each) == revision]
        parts.sort(key=lambda each: each["kind"] != INFERENCE_SERVICE.kind)
        for each in parts:
            self.api.delete(each)

    def become(self, candidate: FoundServe) -> None:
        """The serve is the candidate by now: its objects are applied, and the rollout's claims to them end."""
        key, content = candidate.key, candidate.content
        for each in self.resources(key, candidate.revision, content, self.service(key)):
            there = self.api.get(kind_of(each), self.namespace, each["metadata"]["name"])
            if there is not None and any(one.get("manager") == ROLLOUT for one in there["metadata"]["managedFields"]):
                self.api.disown({**there, "apiVersion": each["apiVersion"], "kind": each["kind"]}, ROLLOUT)
            try:
                self.api.apply(each)
            except ApiStatus as error:
                if error.status != CONFLICT:
                    raise
                log.warning("%s: %s: %s", key, title(each), error)  # the status shows it from then on

    # -- what changes by itself ---------------------------------------------------------------------------------

    def tend(self) -> None:
        """Looks at everything of the namespace at once: a look at each serve would take many times as long."""
        seen = self.grouped(SERVE, with_pods=False)
        settled = {
            key: live
            for key, live in seen.items()
            if live.beside is None and observed(live, (), self.now()).serving is not None
        }
        with self.lock:
            self.seen, self.seen_at = settled, time.monotonic()

    def forget(self, key: Key) -> None:
        with self.lock:
            self.seen.pop(key, None)

    def watch(self, changed: Callable[[Key | None], None]) -> None:
        for kind in (INFERENCE_SERVICE, HTTP_ROUTE):
            name = f"watch-{self.namespace}-{kind.plural}"
            threading.Thread(target=self.follow, args=(kind, changed), name=name, daemon=True).start()

    def follow(self, kind: ResourceKind, changed: Callable[[Key | None], None]) -> None:
        while not self.closed.is_set():
            try:
                if not self.api.kinds((kind,)):
                    self.closed.wait(KINDS_SECONDS)
                    continue
                for each in self.api.watch(kind, self.namespace, SERVE):
                    if self.closed.is_set():
                        return
                    key = key_of(each)
                    self.forget(key)
                    changed(key)
            except (BackendAway, ApiStatus):
                self.closed.wait(WATCH_PAUSE)
            except Exception:
                log.exception("the watch of %s failed and is begun again", self.namespace)
                self.closed.wait(WATCH_PAUSE)

    def close(self) -> None:
        self.closed.set()


def key_of(resource: Mapping[str, Any]) -> Key:
    labels = resource["metadata"].get("labels", {})
    return Key(labels.get(ENVIRONMENT, ""), labels.get(SERVE, ""))
