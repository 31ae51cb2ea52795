"""What the serves of an environment have together, held to its quotas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.domain.environments import Quotas
from controlplane.domain.overlays import value_at
from controlplane.domain.problems import FieldProblem

QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
FACTORS = {
    None: 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Share:
    """What one serve has at most."""

    replicas: int
    cores: float
    memory: float
    """GiB"""


def share_of(spec: Mapping[str, Any]) -> Share:
    replicas = value_at(spec, ("replicas", "max")) or max(value_at(spec, ("replicas", "min")) or 1, 1)
    cores = number(value_at(spec, ("resources", "cores")))
    memory = number(value_at(spec, ("resources", "memory"))) / FACTORS["Gi"]
    return Share(replicas, cores * replicas, memory * replicas)


def number(quantity: Any) -> float:
    match = QUANTITY.fullmatch(str(quantity or 0))
    return float(match[1]) * FACTORS[match[2]] if match else 0.0


def exceeded(quotas: Quotas, shares: Iterable[Share]) -> list[FieldProblem]:
    """The quotas that the shares exceed together."""
    every = list(shares)
    sums = {
        "serves": (quotas.serves, float(len(every))),
        "replicas": (quotas.replicas, float(sum(each.replicas for each in every))),
        "cores": (quotas.cores, sum(each.cores for each in every)),
        "memory": (quotas.memory, sum(each.memory for each in every)),
    }
    return [
        FieldProblem(f"quotas.{name}", f"all serves together would have {total:g}", f"at most {limit:g}")
        for name, (limit, total) in sums.items()
        if limit is not None and total > limit
    ]
