"""Rules about the mode, and about what the KServe of the cluster knows."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.problems import Problem, problem
from generator.spec.values import seconds


def versions(plan: ManifestPlan) -> Iterator[Problem]:
    """What the KServe of the cluster does not know yet."""
    spec = plan.spec
    version = plan.kserve_version
    if version < (0, 16):
        yield problem("kserve", f"{spec.kserve} is too old: KServe calls its modes Standard and Knative since 0.16")
    if spec.storage.storage_container and version < (0, 20):
        yield problem(
            "storage.storage_container", f"KServe {spec.kserve} picks by the URI alone: it needs 0.20 or newer"
        )


def knative_or_standard(plan: ManifestPlan) -> Iterator[Problem]:
    """What only one of the modes has."""
    spec = plan.spec
    if not plan.knative:
        if spec.container_concurrency is not None:
            yield problem("container_concurrency", "only Knative limits it: leave it out, or use mode: Knative")
        return
    if spec.rolling:
        yield problem(
            "rolling",
            "KServe refuses it in Knative, which starts a new revision before it ends the old one: leave it out",
        )
    if spec.revision:
        yield problem("revision", "Knative names revisions by itself: leave it out")
    if spec.auth.tls_secret:
        yield problem(
            "auth.tls_secret", "Knative's proxy speaks to the pod in plain text, and does TLS itself: leave it out"
        )
    if seconds(spec.timeout) == 0:
        yield problem("timeout", "Knative takes none for its own default: expected more than 0s")
    elif seconds(spec.grace_period) > seconds(spec.timeout):
        yield problem(
            "grace_period",
            f"Knative ends a pod after the timeout ({spec.timeout}): expected at most that, or a longer timeout",
        )


RULES = (versions, knative_or_standard)
