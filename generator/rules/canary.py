"""Rules about a canary."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.problems import Problem, problem


def canary(plan: ManifestPlan) -> Iterator[Problem]:
    """Requirements of KServe for a canary in each mode."""
    canary_spec, served = plan.spec.canary, plan.canary
    if canary_spec is None or served is None:
        return
    if plan.knative:
        if (served.uri, served.image) == (plan.stable.uri, plan.stable.image):
            yield problem(
                "canary.model", "is the stable model with the same image: expected another version, or another image"
            )
        for name in ("name", "replicas"):
            if getattr(canary_spec, name) is not None:
                yield problem(f"canary.{name}", "is for mode: Standard; Knative names and scales revisions itself")
        return
    if plan.kserve_version < (0, 20):
        yield problem(
            "canary",
            f"KServe {plan.spec.kserve} supports none in Standard mode, and ignores canaryTrafficPercent there: "
            "expected 0.20 or newer, or mode: Knative",
        )
    if plan.strategy != "container":
        yield problem(
            "canary",
            "KServe distinguishes the predictors of a canary by their storageUri: expected storage.strategy: container "
            f"(it is {plan.strategy}), which needs the ClusterStorageContainer",
        )
    if served.uri == plan.stable.uri:
        yield problem("canary.model", "is the stable model: KServe promotes a canary only if the model's URI changes")
    for name, part in (("batcher", plan.spec.batcher), ("payload_logger", plan.spec.payload_logger)):
        if part:
            yield problem(
                name,
                "KServe's agent is not added to a canary in Standard mode: leave it out, or use mode: Knative",
            )
    if served.name == plan.stable.name:
        yield problem("canary.name", f"{served.name!r} is the name of the stable predictor: expected another one")
    if canary_spec.replicas is not None and canary_spec.replicas > max(plan.spec.replicas.min, 1):
        yield problem(
            "canary.replicas", f"KServe allows at most replicas.min of the stable predictor ({plan.spec.replicas.min})"
        )


RULES = (canary,)
