"""Rules about a canary."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.problems import Problem, problem


def canary(plan: ManifestPlan) -> Iterator[Problem]:
    """What KServe asks of a canary in each mode."""
    wanted, served = plan.spec.canary, plan.canary
    if wanted is None or served is None:
        return
    if plan.knative:
        if (served.uri, served.image) == (plan.stable.uri, plan.stable.image):
            yield problem(
                "canary.model", "is the stable model in the same image: expected another version, or another image"
            )
        for name in ("name", "replicas"):
            if getattr(wanted, name) is not None:
                yield problem(
                    f"canary.{name}", "is for mode: Standard; Knative names revisions and counts their pods itself"
                )
        return
    if plan.kserve_version < (0, 20):
        yield problem(
            "canary",
            f"KServe {plan.spec.kserve} has none in Standard mode, and ignores canaryTrafficPercent there: "
            "expected 0.20 or newer, or mode: Knative",
        )
    if plan.strategy != "container":
        yield problem(
            "canary",
            "KServe tells the predictors of a canary apart by their storageUri: expected storage.strategy: container "
            f"(it is {plan.strategy}), which needs the ClusterStorageContainer",
        )
    if served.uri == plan.stable.uri:
        yield problem(
            "canary.model", "is the stable model: KServe takes a promotion only where the model's URI changes"
        )
    for name, part in (("batcher", plan.spec.batcher), ("payload_logger", plan.spec.payload_logger)):
        if part:
            yield problem(
                name,
                "KServe's agent does not stand before a canary in Standard mode: leave it out, or use mode: Knative",
            )
    if served.name == plan.stable.name:
        yield problem("canary.name", f"{served.name!r} is the name of the stable predictor: expected another one")
    if wanted.replicas is not None and wanted.replicas > max(plan.spec.replicas.min, 1):
        yield problem(
            "canary.replicas", f"KServe takes at most replicas.min of the stable predictor ({plan.spec.replicas.min})"
        )


RULES = (canary,)
