"""What an API server made of a document: values that it changed, and fields that it added."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

SUFFIXES: dict[str, int | str] = {
    "m": "0.001",
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
}
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|Ki|Mi|Gi|)")

DEFAULTS = {
    r"metadata\.(annotations|labels)(\..*)?": "kubectl, webhooks and controllers note things there",
    r"metadata\.(creationTimestamp|uid|resourceVersion|generation|managedFields|finalizers|namespace)": "the API server",
    r"status(\..*)?": "controllers",
    r"spec\.predictor\.model\.name": "KServe: the container's name",
    r"spec\.volumeMode": "the API server, in a claim",
    r"spec\.parentRefs\[\]\.(group|kind)": "the Gateway API",
    r"spec\.rules\[\]\.(backendRefs\[\]|filters\[\]\.requestMirror\.backendRef)\.(group|kind|weight)": "the Gateway API",
    r"spec\.(suspend|successfulJobsHistoryLimit|failedJobsHistoryLimit)": "the API server, in a CronJob",
    r"spec\.jobTemplate\.metadata": "the API server, in a CronJob",
    r"spec\.jobTemplate\.spec\.template\.metadata": "the API server, in a CronJob",
    r"spec\.jobTemplate\.spec\.template\.spec\.(dnsPolicy|schedulerName|securityContext|serviceAccount|terminationGracePeriodSeconds)": (
        "the API server, in a pod"
    ),
    r"spec\.jobTemplate\.spec\.template\.spec\.containers\[\]\.(imagePullPolicy|terminationMessagePath|terminationMessagePolicy)": (
        "the API server, in a container"
    ),
}
"""Paths that may be added to a document, and who adds them."""


def expected_addition(path: str) -> bool:
    return any(re.fullmatch(pattern, path) for pattern in DEFAULTS)


def quantity(value: Any) -> Any:
    """A number where the value is a quantity: `500m` and `0.5` are one."""
    matched = (
        QUANTITY.fullmatch(str(value)) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
    )
    return Decimal(matched[1]) * Decimal(SUFFIXES[matched[2]]) if matched else value


def changes(rendered: Any, stored: Any, path: str = "") -> Iterator[str]:
    """What was rendered and is not stored like that."""
    if isinstance(rendered, dict) and isinstance(stored, dict):
        for key, value in rendered.items():
            at = f"{path}.{key}" if path else key
            if key in stored:
                yield from changes(value, stored[key], at)
            elif value not in ({}, [], None):
                yield f"{at} is gone"
    elif isinstance(rendered, list) and isinstance(stored, list) and len(rendered) == len(stored):
        for number, (one, other) in enumerate(zip(rendered, stored, strict=True)):
            yield from changes(one, other, f"{path}[{number}]")
    elif quantity(rendered) != quantity(stored):
        yield f"{path} is {stored!r}, not {rendered!r}"


def additions(rendered: Any, stored: Any, path: str = "") -> Iterator[str]:
    """Paths that were not rendered, as far down as they are new."""
    if isinstance(rendered, dict) and isinstance(stored, dict):
        for key, value in stored.items():
            at = f"{path}.{key}" if path else key
            if key not in rendered:
                yield at
            else:
                yield from additions(rendered[key], value, at)
    elif isinstance(rendered, list) and isinstance(stored, list):
        for one, other in zip(rendered, stored, strict=False):
            yield from additions(one, other, f"{path}[]")
