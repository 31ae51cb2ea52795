"""What the account of a job may do: a Role, and the binding that gives it to the ServiceAccount of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from generator.resources.meta import Resource

GROUP = "rbac.authorization.k8s.io"


def rights(make: Callable[..., Resource], name: str, namespace: str, rule: dict[str, Any]) -> list[Resource]:
    """`make` gives an API version, a kind, a name and content the metadata that the job's other resources have."""
    binding = {
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    return [
        make(f"{GROUP}/v1", "Role", name, {"rules": [rule]}),
        make(f"{GROUP}/v1", "RoleBinding", name, binding),
    ]
