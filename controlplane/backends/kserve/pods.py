"""The pods of the revisions of a serve: what they count, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.backends.backend import BackendAway, FoundServe, Key, RequestUnanswered, SmokeAnswer
from controlplane.backends.kserve.api import KubernetesApi
from controlplane.backends.kserve.kinds import POD, Resource
from controlplane.backends.kserve.manifests import ENVIRONMENT, SERVE
from controlplane.backends.kserve.state import is_true, revision_of
from controlplane.backends.smoke import answered
from controlplane.domain.rollouts import SmokeRequest
from monitoring.verdict import CounterSample, CounterSource, PodScraper, PrometheusQuery, SourceUnreadable

POD_LABEL = "serving.kserve.io/inferenceservice"
CONTAINER, PORT = "kserve-container", 8080


class RevisionPods:
    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self.api, self.namespace = api, namespace

    def of(self, key: Key, revision: int, candidate: int | None) -> list[Resource]:
        """Those of the candidate, or all others: these may have been started for an earlier revision."""
        pods = self.api.listed(POD, self.namespace, f"{ENVIRONMENT}={key.env},{SERVE}={key.serve}")
        return [each for each in pods if (revision_of(each) == candidate) == (revision == candidate)]

    def counters(self, key: Key, revision: int, candidate: int | None, serve: FoundServe | None) -> CounterSource:
        """What Prometheus has of the pods where the environment names one; otherwise what the pods say themselves."""
        prometheus = serve.content.environment.prometheus_url if serve is not None else ""
        return ArmCounters(lambda: self.of(key, revision, candidate), self.namespace, prometheus)

    def ask(self, key: Key, revision: int, candidate: int | None, request: SmokeRequest) -> SmokeAnswer:
        pods = [each for each in self.of(key, revision, candidate) if is_true(each, "Ready")]
        places = [place for each in pods if (place := place_of(each)) is not None]
        if not places:
            raise RequestUnanswered(f"revision {revision} has no pod that is ready")
        return answered(*places[0], request)


@dataclass(frozen=True, slots=True)
class ArmCounters(CounterSource):
    """The metrics of the pods that there are when they are read."""

    pods: Callable[[], Sequence[Resource]]
    namespace: str
    prometheus: str = ""

    def read(self) -> Mapping[str, Sequence[CounterSample] | None]:
        pods = self.pods()
        if self.prometheus:
            return self.queried([pod["metadata"]["name"] for pod in pods])
        places = (place for each in pods if (place := place_of(each)) is not None)
        return PodScraper([f"http://{bracketed(host)}:{port}" for host, port in places]).read()

    def queried(self, names: Sequence[str]) -> Mapping[str, Sequence[CounterSample] | None]:
        selector = f'namespace="{self.namespace}",pod=~"{"|".join(names)}"'
        try:
            known = PrometheusQuery(self.prometheus, selector).read() if names else {}
        except SourceUnreadable as error:
            raise BackendAway(str(error)) from None
        return {name: known.get(name) for name in names}


def place_of(pod: Mapping[str, Any]) -> tuple[str, int] | None:
    """The address of a pod that runs, and its port for HTTP."""
    host = pod.get("status", {}).get("podIP")
    containers = (each for each in pod["spec"].get("containers", ()) if each["name"] == CONTAINER)
    ports = [port["containerPort"] for each in containers for port in each.get("ports", ())]
    return (host, ports[0] if ports else PORT) if host else None


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
