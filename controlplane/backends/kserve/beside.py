"""A revision beside a serve, as an InferenceService of its own: started, given its share, and ended or promoted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from controlplane.actions import ALL
from controlplane.backends.backend import ApplyRefused, FoundServe, Key, StillUnderWay
from controlplane.backends.kserve.api import KubernetesApi
from controlplane.backends.kserve.driving import PairDriver, PairObjects
from controlplane.backends.kserve.fields import is_ours
from controlplane.backends.kserve.kinds import CONFIG_MAP, HTTP_ROUTE, INFERENCE_SERVICE, Resource
from controlplane.backends.kserve.manifests import record_name, recorded, revision_labels
from controlplane.backends.kserve.pairs import RevisionPair
from controlplane.backends.kserve.pods import POD_LABEL
from controlplane.backends.kserve.sharing import own_route, share_of, weights_by
from controlplane.backends.kserve.state import LiveServe, revision_of
from generator import CANARY_OF, SpecError


class RevisionBeside:
    """Raises StillUnderWay from whatever takes time."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.driver = PairDriver()

    def waits_for(self, key: Key) -> str:
        return self.driver.waits_for.get(key, "")

    def start(self, candidate: FoundServe, live: LiveServe, become: Callable[[FoundServe], None]) -> None:
        """Starts a revision without requests; one that is left over from before goes first. Raises ApplyRefused."""
        key = candidate.key
        if live.beside is not None and candidate_of(live) != candidate.revision:
            self.clear(key, live, become)
            return
        try:
            pair = self.pair(key, live, candidate)
            self.refuse(pair, live)
            self.share(pair, live, 0)
        except SpecError as error:
            raise ApplyRefused(f"it cannot be beside another revision: {error}") from None

    def refuse(self, pair: RevisionPair, live: LiveServe) -> None:
        """Raises ApplyRefused where nothing would split requests, or where the name is somebody else's."""
        observed = PairObjects(self.api, self.namespace, pair).observe()
        if own_route(live) is None and not any(kind == HTTP_ROUTE.kind for kind, _ in observed.objects):
            raise ApplyRefused(
                "KServe makes no HTTPRoutes for the serve, so that nothing could split its requests: set "
                "enableGatewayApi in inferenceservice-config, or use the strategy rolling"
            )
        for kind, name in observed.objects:
            if kind == INFERENCE_SERVICE.kind and name != pair.baseline.key.serve and live.beside is None:
                raise ApplyRefused(
                    f"there is an InferenceService {name} in {self.namespace} already, which is not of this rollout: "
                    "delete it, or rename the serve"
                )

    def split(self, key: Key, live: LiveServe, weights: Mapping[int, int]) -> None:
        pair = self.pair(key, live)
        if weights_by(live):
            self.driver.forget(key)  # a plan that has set them waits for what is no longer so
        try:
            self.share(pair, live, weights.get(pair.candidate.revision, 0))
        except SpecError as error:
            raise self.driver.waiting(key, str(error)) from None

    def share(self, pair: RevisionPair, live: LiveServe, percent: int) -> None:
        goal = "share", pair.candidate.revision, percent
        self.driver.go_on(
            pair.candidate.key, goal, lambda: PairObjects(self.api, self.namespace, pair),
            lambda seen: pair.share(seen, percent, share_of(live)),
        )  # fmt: skip

    def clear(self, key: Key, live: LiveServe, become: Callable[[FoundServe], None]) -> None:
        """Leaves one InferenceService, of the revision that has most of the requests."""
        pair = self.pair(key, live, ends=True)
        applied = revision_of(live.service) if live.service else None
        promotes = (share_of(live) or 0) > ALL // 2 or candidate_of(live) == applied

        def before_end() -> None:
            if promotes:
                become(pair.candidate)
            service = live.beside.service if live.beside else None
            name = record_name(service["metadata"]["name"]) if service else ""
            record = self.api.get(CONFIG_MAP, self.namespace, name) if name else None
            if record is not None:
                self.api.delete({**record, "apiVersion": CONFIG_MAP.api_version, "kind": CONFIG_MAP.kind})

        def objects() -> PairObjects:
            return PairObjects(self.api, self.namespace, pair, before_end)

        if promotes:
            self.driver.go_on(key, ("promotion", pair.candidate.revision, ALL), objects, pair.promotion)
        else:
            goal = "end", pair.candidate.revision, 0
            self.driver.go_on(key, goal, objects, lambda seen: pair.end(seen, share_of(live)))

    def pair(self, key: Key, live: LiveServe, candidate: FoundServe | None = None, ends: bool = False) -> RevisionPair:
        """The serve and what is beside it, as their records say; to end it, its record may be gone."""
        baseline, service = recorded_in(live, key.serve), live.beside.service if live.beside else None
        if candidate is None and live.beside is not None and service is not None:
            candidate = recorded_in(live.beside, service["metadata"]["name"])
            if candidate is None and baseline is not None and ends:
                candidate = FoundServe(key, candidate_of(live) or 0, baseline.content)
        if baseline is None or candidate is None:
            raise StillUnderWay(f"the record of a revision of {key} is gone, or somebody has changed it")
        is_that = live.service is not None and revision_of(live.service) == baseline.revision
        return RevisionPair(baseline, candidate, revision_labels(live.service) if is_that else None)


def live_serve(
    key: Key, objects: Sequence[Resource], workloads: Mapping[str, Resource], pods: Sequence[Resource]
) -> LiveServe:
    """The objects of a serve, those of the revision beside it apart."""
    apart = [each for each in objects if each["metadata"]["labels"].get(CANARY_OF) == key.serve]
    own = [each for each in objects if each not in apart]
    workload = workloads.get(f"{key.serve}-predictor")
    service = next((each for each in apart if each["kind"] == INFERENCE_SERVICE.kind and is_ours(each)), None)
    if service is None:
        return LiveServe(own or apart, workload, pods)
    name = service["metadata"]["name"]
    of_it = [each for each in pods if each["metadata"]["labels"].get(POD_LABEL) == name]
    beside = LiveServe(apart, workloads.get(f"{name}-predictor"), of_it)
    return LiveServe(own, workload, [each for each in pods if each not in of_it], beside)


def candidate_of(live: LiveServe) -> int | None:
    """The revision beside the serve."""
    service = live.beside.service if live.beside else None
    return None if service is None else revision_of(service)


def recorded_in(live: LiveServe, service: str) -> FoundServe | None:
    """The revision that the record of an InferenceService is of."""
    records = (each for each in live.own if each["kind"] == CONFIG_MAP.kind)
    record = next((each for each in records if each["metadata"]["name"] == record_name(service)), None)
    return recorded(record) if record is not None else None
