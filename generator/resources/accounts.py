"""The ServiceAccount of the pods."""

from __future__ import annotations

from generator.plan import ManifestPlan
from generator.resources.meta import Resource, resource


def account(plan: ManifestPlan) -> str | None:
    """The name of the ServiceAccount; None for the namespace's default."""
    settings = plan.spec.service_account
    return settings.name or (plan.spec.name if is_made(plan) else None)


def is_made(plan: ManifestPlan) -> bool:
    """Whether the account is rendered: annotations grant rights in a cloud, so they need an account of their own."""
    return plan.spec.service_account.create or bool(plan.spec.service_account.annotations)


def resources_of(plan: ManifestPlan) -> list[Resource]:
    """The account. The predictor never calls the cluster's API, so there is no Role and no token."""
    name = account(plan)
    if name is None or not is_made(plan):
        return []
    # KServe's storage initializer reads its credentials from the account's Secrets.
    secrets = plan.spec.storage.secrets if plan.strategy == "container" else []
    content = {
        "automountServiceAccountToken": False,
        "secrets": [{"name": secret} for secret in secrets] or None,
        "imagePullSecrets": [{"name": secret} for secret in plan.spec.image_pull_secrets] or None,
    }
    annotations = plan.spec.service_account.annotations or None
    return [resource(plan, "v1", "ServiceAccount", name, content, annotations=annotations)]
