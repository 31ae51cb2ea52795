"""Notes about scaling, and about the size of pods."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import LARGE_MODEL, ManifestPlan
from generator.resources.promql import queries
from generator.scaler import min_pods
from generator.spec.values import quantity


def notes_of(plan: ManifestPlan) -> list[str]:
    return [*scaling(plan), *sizes(plan)]


def scaling(plan: ManifestPlan) -> Iterator[str]:
    settings = plan.scaling
    if plan.scaler == "keda":
        yield "needs KEDA on the cluster"
        if queries(plan):
            yield (
                f"needs Prometheus at {settings.prometheus}, with the labels namespace and pod on each metric, "
                "as its operator sets them"
            )
        if min_pods(plan.spec) == 0:
            yield "without pods nothing holds requests: they fail until the first pod is ready"
    if plan.knative and plan.scaler == "hpa":
        yield "needs Knative's extension for HorizontalPodAutoscalers (serving-hpa.yaml)"
    if settings.initial_scale == 0:
        yield "needs allow-zero-initial-scale: true in Knative's config-autoscaler"
    if plan.clock == "jobs":
        yield "a window takes effect at its next start, also after the resources are applied again"


def sizes(plan: ManifestPlan) -> Iterator[str]:
    if plan.spec.workers > max(1.0, quantity(plan.stable.cores)):
        yield f"{plan.spec.workers} workers share {plan.stable.cores} cores"
    if plan.strategy == "emptydir" and quantity(plan.stable.memory) > 6 * LARGE_MODEL:
        yield "every new pod downloads the large model: storage.cache avoids that"
