"""Metadata that all resources of a serve share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.plan import ManifestPlan

Resource = dict[str, Any]
POD_LABEL = "serving.kserve.io/inferenceservice"
"""Label that KServe puts on every pod of the serve."""
CANARY_OF = "mlflow-kserve/canary-of"
"""Label of everything that belongs to a canary with an InferenceService of its own; its value is the serve."""
MANAGED_BY = {"app.kubernetes.io/managed-by": "mlflow-kserve"}


def compact(content: Any) -> Any:
    """The content without keys whose value is None. An empty {} or [] stays, since it may have a meaning."""
    if isinstance(content, Mapping):
        return {key: compact(value) for key, value in content.items() if value is not None}
    if isinstance(content, list):
        return [compact(value) for value in content]
    return content


def labels(plan: ManifestPlan) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": plan.spec.name,
        **MANAGED_BY,
        **plan.spec.labels,
        **({CANARY_OF: plan.part_of.name} if plan.part_of else {}),
    }


def resource(
    plan: ManifestPlan, api_version: str, kind: str, name: str, content: Mapping[str, Any], **metadata: Any
) -> Resource:
    """A resource in the serve's namespace, with the labels that all of them have."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": compact({"name": name, "namespace": plan.spec.namespace, "labels": labels(plan), **metadata}),
        **compact(content),
    }
