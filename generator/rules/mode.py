"""Rules about the mode, and about what the KServe of the cluster knows."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.problems import Problem, problem
from generator.spec.values import seconds


def versions(plan: ManifestPlan) -> Iterator[Problem]:
    """Features that the cluster's version of KServe lacks."""
    spec = plan.spec
    version = plan.kserve_version
    if version < (0, 16):
        yield problem("kserve", f"{spec.kserve} is too old: the modes are called Standard and Knative since 0.16")
    if spec.storage.storage_container and version < (0, 20):
        yield problem(
            "storage.storage_container", f"KServe {spec.kserve} selects by the URI only: expected 0.20 or newer"
        )


def knative_or_standard(plan: ManifestPlan) -> Iterator[Problem]:
    """Fields that only one of the modes has."""
    spec = plan.spec
    if not plan.knative:
        if spec.container_concurrency is not None:
            yield problem("container_concurrency", "only Knative has this limit: leave it out, or use mode: Knative")
        return
    if spec.rolling:
        yield problem(
            "rolling",
            "KServe refuses it in Knative, which starts a new revision before it ends the old one: leave it out",
        )
    if spec.revision:
        yield problem("revision", "Knative names its revisions: leave it out")
    if spec.auth.tls_secret:
        yield problem(
            "auth.tls_secret", "Knative's proxy calls the pod in plain text, and terminates TLS itself: leave it out"
        )
    if seconds(spec.timeout) == 0:
        yield problem("timeout", "0s means the default in Knative: expected more than 0s")
    elif seconds(spec.grace_period) > seconds(spec.timeout):
        yield problem(
            "grace_period",
            f"Knative ends a pod after the timeout ({spec.timeout}): expected at most that, or a longer timeout",
        )


RULES = (versions, knative_or_standard)
