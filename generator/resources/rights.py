"""The rights of a job: a Role, and its binding to the ServiceAccount of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from generator.resources.meta import Resource

GROUP = "rbac.authorization.k8s.io"


def rights(make: Callable[..., Resource], name: str, namespace: str, rule: dict[str, Any]) -> list[Resource]:
    """The Role and its binding; `make` builds a resource with the metadata of the job's other resources."""
    binding = {
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    return [
        make(f"{GROUP}/v1", "Role", name, {"rules": [rule]}),
        make(f"{GROUP}/v1", "RoleBinding", name, binding),
    ]
