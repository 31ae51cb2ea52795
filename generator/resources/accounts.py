"""The identity of the pods."""

from __future__ import annotations

from generator.plan import ManifestPlan
from generator.resources.meta import Resource, resource


def account(plan: ManifestPlan) -> str | None:
    """The name of the ServiceAccount; the namespace's default one when there is none."""
    wanted = plan.spec.service_account
    return wanted.name or (plan.spec.name if is_made(plan) else None)


def is_made(plan: ManifestPlan) -> bool:
    """Annotations say what an account may do at a cloud, so they ask for one of their own."""
    return plan.spec.service_account.create or bool(plan.spec.service_account.annotations)


def resources_of(plan: ManifestPlan) -> list[Resource]:
    """The predictor asks the cluster for nothing, so there is no Role, and no token."""
    name = account(plan)
    if name is None or not is_made(plan):
        return []
    # KServe's storage initializer takes its credentials from the Secrets of the account.
    secrets = plan.spec.storage.secrets if plan.strategy == "container" else []
    content = {
        "automountServiceAccountToken": False,
        "secrets": [{"name": secret} for secret in secrets] or None,
        "imagePullSecrets": [{"name": secret} for secret in plan.spec.image_pull_secrets] or None,
    }
    annotations = plan.spec.service_account.annotations or None
    return [resource(plan, "v1", "ServiceAccount", name, content, annotations=annotations)]
