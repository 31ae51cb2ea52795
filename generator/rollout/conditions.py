"""What must hold in the cluster before a step, and what to wait for after it.

Each condition looks at an `ObservedServe`, says itself in words, and is a command of `SHELL_FUNCTIONS` for scripts.
"""

from __future__ import annotations

import json
import shlex
from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from generator.rollout.observed import KNATIVE_SERVICE, ObservedServe


class Condition(Protocol):
    """Something that holds in a cluster, or does not."""

    @abstractmethod
    def holds(self, observed: ObservedServe) -> bool: ...

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def shell(self) -> str:
        """The command that ends with 0 if the condition holds."""


@dataclass(frozen=True, slots=True)
class Gone(Condition):
    """An object is not there."""

    kind: str
    name: str

    def holds(self, observed: ObservedServe) -> bool:
        return observed.get(self.kind, self.name) is None

    def __str__(self) -> str:
        return f"there is no {self.kind} {self.name}"

    def shell(self) -> str:
        return words("gone", self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Exists(Condition):
    """An object is there."""

    kind: str
    name: str

    def holds(self, observed: ObservedServe) -> bool:
        return observed.get(self.kind, self.name) is not None

    def __str__(self) -> str:
        return f"there is a {self.kind} {self.name}"

    def shell(self) -> str:
        return words("exists", self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Describes(Condition):
    """An InferenceService asks for a model: its spec contains these texts."""

    name: str
    texts: tuple[str, ...]

    def holds(self, observed: ObservedServe) -> bool:
        return observed.contains("InferenceService", self.name, self.texts, "spec", "predictor")

    def __str__(self) -> str:
        return f"the InferenceService {self.name} is for {self.texts[0]}"

    def shell(self) -> str:
        return words("describes", "InferenceService", self.name, "{.spec.predictor}", *map(json.dumps, self.texts))


@dataclass(frozen=True, slots=True)
class Ready(Condition):
    """A Deployment has only pods with these texts in their template, and so many of them are available."""

    workload: str
    texts: tuple[str, ...]
    pods: int

    def holds(self, observed: ObservedServe) -> bool:
        status = {
            name: observed.number("Deployment", self.workload, "status", name)
            for name in ("observedGeneration", "replicas", "updatedReplicas", "availableReplicas")
        }
        return (
            observed.contains("Deployment", self.workload, self.texts, "spec", "template")
            and status["observedGeneration"] == observed.number("Deployment", self.workload, "metadata", "generation")
            and status["updatedReplicas"] == status["replicas"]
            and status["availableReplicas"] >= self.pods
        )

    def __str__(self) -> str:
        pods = "a pod" if self.pods == 1 else f"{self.pods} pods"
        return f"{self.workload} has {pods} with {self.texts[0]} ready, and none of an older version"

    def shell(self) -> str:
        return words("ready", self.workload, str(self.pods), *map(json.dumps, self.texts))


@dataclass(frozen=True, slots=True)
class MinReplicas(Condition):
    """The predictor of an InferenceService has at least so many pods."""

    name: str
    pods: int

    def holds(self, observed: ObservedServe) -> bool:
        return observed.number("InferenceService", self.name, "spec", "predictor", "minReplicas") >= self.pods

    def __str__(self) -> str:
        return f"the InferenceService {self.name} asks for {self.pods} pods"

    def shell(self) -> str:
        return words("min_replicas", self.name, str(self.pods))


@dataclass(frozen=True, slots=True)
class Accepted(Condition):
    """The gateway has taken the newest state of a route."""

    route: str

    def holds(self, observed: ObservedServe) -> bool:
        generation = observed.number("HTTPRoute", self.route, "metadata", "generation")
        parents = observed.value("HTTPRoute", self.route, "status", "parents") or []
        conditions = [each for parent in parents for each in parent.get("conditions", [])]
        newest = {
            each["type"] for each in conditions
            if each["status"] == "True" and each.get("observedGeneration", generation) == generation
        }  # fmt: skip
        refused = any(each["status"] == "False" for each in conditions)
        return bool(generation) and {"Accepted", "ResolvedRefs"} <= newest and not refused

    def __str__(self) -> str:
        return f"the gateway has accepted the HTTPRoute {self.route}"

    def shell(self) -> str:
        return words("accepted", self.route)


@dataclass(frozen=True, slots=True)
class Weights(Condition):
    """A route splits the traffic so."""

    route: str
    shares: tuple[tuple[str, int], ...]

    def holds(self, observed: ObservedServe) -> bool:
        rules = observed.value("HTTPRoute", self.route, "spec", "rules") or [{}]
        split = [(each["name"], each.get("weight", 1)) for each in rules[-1].get("backendRefs", [])]
        return split == list(self.shares)

    def __str__(self) -> str:
        return f"the HTTPRoute {self.route} sends " + ", ".join(f"{weight} to {name}" for name, weight in self.shares)

    def shell(self) -> str:
        return words("weights", self.route, "".join(f"{name}={weight} " for name, weight in self.shares))


@dataclass(frozen=True, slots=True)
class RevisionReady(Condition):
    """The newest revision of a Knative Service is ready, and has these texts in its template."""

    service: str
    texts: tuple[str, ...]

    def holds(self, observed: ObservedServe) -> bool:
        created, ready = (
            observed.value(KNATIVE_SERVICE, self.service, "status", f"latest{kind}RevisionName")
            for kind in ("Created", "Ready")
        )
        return bool(
            created
            and created == ready
            and settled(observed, self.service)
            and observed.contains("Revision", created, self.texts, "spec")
        )

    def __str__(self) -> str:
        return f"the newest revision of {self.service} is ready, and serves {self.texts[0]}"

    def shell(self) -> str:
        return words("revision_ready", self.service, *map(json.dumps, self.texts))


@dataclass(frozen=True, slots=True)
class RolledOut(Condition):
    """KServe has recorded the newest revision as rolled out. Before that it sends a canary everything."""

    name: str
    service: str

    def holds(self, observed: ObservedServe) -> bool:
        status = ("status", "components", "predictor", "latestRolledoutRevision")
        recorded = observed.value("InferenceService", self.name, *status)
        return bool(recorded) and recorded == observed.value(
            KNATIVE_SERVICE, self.service, "status", "latestReadyRevisionName"
        )

    def __str__(self) -> str:
        return f"KServe has recorded the newest revision of {self.service} as rolled out"

    def shell(self) -> str:
        return words("rolled_out", self.name, self.service)


@dataclass(frozen=True, slots=True)
class CanaryPercent(Condition):
    """An InferenceService asks for so many percent for its newest revision."""

    name: str
    percent: int

    def holds(self, observed: ObservedServe) -> bool:
        percent = observed.value("InferenceService", self.name, "spec", "predictor", "canaryTrafficPercent")
        return percent is not None and int(percent) == self.percent

    def __str__(self) -> str:
        return f"the InferenceService {self.name} asks for {self.percent} % for its newest revision"

    def shell(self) -> str:
        return words("canary_percent", self.name, str(self.percent))


@dataclass(frozen=True, slots=True)
class LatestShare(Condition):
    """Knative sends so many percent to the newest revision that is ready."""

    service: str
    percent: int

    def holds(self, observed: ObservedServe) -> bool:
        traffic = observed.value(KNATIVE_SERVICE, self.service, "status", "traffic") or []
        shares = [each.get("percent", 0) for each in traffic if each.get("latestRevision")]
        return bool(traffic) and sum(shares) == self.percent and settled(observed, self.service)

    def __str__(self) -> str:
        return f"{self.service} sends {self.percent} % to its newest revision"

    def shell(self) -> str:
        return words("latest_share", self.service, str(self.percent))


def settled(observed: ObservedServe, service: str) -> bool:
    """Whether Knative has seen the newest state of the Service."""
    generation = observed.number(KNATIVE_SERVICE, service, "metadata", "generation")
    return observed.number(KNATIVE_SERVICE, service, "status", "observedGeneration") == generation


def words(*parts: str) -> str:
    return shlex.join(parts)
