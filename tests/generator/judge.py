"""One verdict on a set of documents: their form, what KServe and Knative say to them, and whether they fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generator.crds import Crds
from tests.generator import knative
from tests.generator.controller import container_ignored, ignored
from tests.generator.names import name_problems, title
from tests.generator.pods import pod_problems, pods
from tests.generator.references import reference_problems
from tests.generator.schemas import schema_problems
from tests.generator.services import Document, mode_of
from tests.generator.webhook import rejections, runtime_rejections


@dataclass(frozen=True)
class Judgement:
    """What is wrong, and what the cluster must have besides the documents."""

    problems: list[str]
    external: list[str]


def judge(
    documents: Sequence[Document], crds: Crds | None = None, knative_allows: frozenset[str] = frozenset()
) -> Judgement:
    """The verdict; documents whose form is wrong are judged by their form only."""
    problems = [
        f"{title(document)}: {problem}" for document in documents for problem in schema_problems(document, crds)
    ]
    if problems:
        return Judgement(problems, [])
    problems += name_problems(documents)
    for document in documents:
        problems += [f"{title(document)}: {problem}" for problem in _opinions(document, knative_allows)]
    problems += runtime_rejections([document for document in documents if document["kind"].endswith("ServingRuntime")])
    for pod in pods(documents):
        problems += pod_problems(pod)
    misnamed, external = reference_problems(documents)
    return Judgement(problems + misnamed, external)


def _opinions(document: Document, knative_allows: frozenset[str]) -> Iterator[str]:
    spec = document.get("spec") or {}
    match document["kind"]:
        case "InferenceService":
            yield from rejections(document)
            yield from ignored(document)
            if mode_of(document) == "Knative":
                yield from knative.refusals(document, knative_allows)
        case "ClusterStorageContainer":
            yield from container_ignored(document)
        case "PodDisruptionBudget":
            if ("minAvailable" in spec) == ("maxUnavailable" in spec):
                yield "exactly one of minAvailable and maxUnavailable is expected"
        case "CronJob":
            if not re.fullmatch(r"\S+( \S+){4}|@\w+", spec["schedule"]):
                yield f"{spec['schedule']!r} is not a schedule"
            if spec.get("concurrencyPolicy", "Allow") not in {"Allow", "Forbid", "Replace"}:
                yield f"concurrencyPolicy {spec['concurrencyPolicy']}"
        case "Role" | "ClusterRole":
            for rule in document.get("rules") or ():
                if not rule.get("verbs") or not (rule.get("resources") or rule.get("nonResourceURLs")):
                    yield "a rule needs verbs and resources"
                for verb in sorted({*rule.get("verbs", ())} & {"create", "deletecollection"}):
                    if rule.get("resourceNames"):
                        yield f"{verb} cannot be limited by resourceNames"
        case "ScaledObject":
            if not spec.get("triggers"):
                yield "KEDA needs a trigger"
            low, high = spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", 100)
            if low > high:
                yield f"minReplicaCount {low} is more than maxReplicaCount {high}"
            if "idleReplicaCount" in spec and spec["idleReplicaCount"] >= low:
                yield "idleReplicaCount must be less than minReplicaCount"
            kinds = {trigger["type"] for trigger in spec.get("triggers") or ()}
            if low == 0 and kinds and kinds <= {"cpu", "memory"}:
                yield "with triggers of cpu and memory only, minReplicaCount must be at least 1"
        case "NetworkPolicy":
            if "Egress" not in (spec.get("policyTypes") or ()) and "egress" in spec and "policyTypes" in spec:
                yield "egress is there and policyTypes does not name it"
            for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
                for peer in (*(rule.get("from") or ()), *(rule.get("to") or ())):
                    if "ipBlock" in peer and len(peer) > 1:
                        yield "ipBlock stands alone"
