"""Notes about scaling, and about pods that are too small for what they do."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import LARGE, ManifestPlan
from generator.resources.promql import queries
from generator.scaler import lowest
from generator.spec.values import quantity


def notes_of(plan: ManifestPlan) -> list[str]:
    return [*scaling(plan), *sizes(plan)]


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
