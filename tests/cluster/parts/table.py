"""What the cluster is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.cluster.parts import gateway, kserve
from tests.cluster.parts.api import Document
from tests.cluster.parts.control_plane import controllers, etcd, kubernetes
from tests.cluster.parts.crds import mesh_and_monitors
from tests.cluster.parts.dns import dns
from tests.cluster.parts.keda import keda
from tests.cluster.parts.knative import knative
from tests.cluster.parts.metrics import metrics
from tests.cluster.parts.mlflow import mlflow, serve
from tests.cluster.parts.node import containerd, node

DEBIAN = {
    "containerd": "containerd", "runc": "runc", "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables", "conntrack": "conntrack", "ebtables": "ebtables", "socat": "socat", "ethtool": "ethtool",
    "podman": "podman", "debootstrap": "debootstrap",
}  # fmt: skip
"""Programs of Debian's that pods need, and their packages."""


def nothing() -> None:
    """Nothing has to be done."""


def no_kinds() -> list[Document]:
    return []


@dataclass(frozen=True)
class ClusterPart:
    """One thing that is started, as soon as what it needs is there."""

    start: Callable[[], None] = nothing
    modules: tuple[str, ...] = ()
    """Folders of `modules/` whose programs it runs."""
    needs: tuple[str, ...] = ()
    prepare: Callable[[], None] = nothing
    """What can be done before that."""
    kinds: Callable[[], list[Document]] = no_kinds
    """CRDs that the API server knows before the part starts."""


PARTS = {
    "etcd": ClusterPart(etcd, ("etcd",)),
    "kubernetes": ClusterPart(kubernetes, ("kubernetes",), ("etcd",)),
    "controllers": ClusterPart(controllers, ("kubernetes",), ("kubernetes",)),
    "crds": ClusterPart(modules=("crds",), needs=("kubernetes",), kinds=mesh_and_monitors),
    "dns": ClusterPart(dns, ("dns",), ("kubernetes",)),
    "node": ClusterPart(node, ("pause",), ("controllers",), containerd),
    "kserve": ClusterPart(kserve.kserve, ("kserve", "crds"), ("controllers",), kinds=kserve.kinds),
    "gateway": ClusterPart(gateway.gateway, ("gateway",), ("kubernetes",), gateway.certificates, gateway.kinds),
    "knative": ClusterPart(knative, ("knative",), ("node", "dns", "kserve", "gateway")),
    "keda": ClusterPart(keda, ("keda",), ("node", "kserve")),
    "metrics": ClusterPart(metrics, ("metrics",), ("node",)),
    "mlflow": ClusterPart(mlflow, (), ("kubernetes",), serve),
}
"""Each after those that it needs."""
USUAL = ("crds", "dns", "node", "kserve", "gateway", "mlflow")


def with_needs(names: Iterable[str]) -> list[str]:
    """The parts and all that they need, in order."""
    wanted: set[str] = set()
    rest = list(names)
    while rest:
        name = rest.pop()
        if name not in PARTS:
            raise ValueError(f"there is no part {name}, only {', '.join(PARTS)}")
        wanted.add(name)
        rest += PARTS[name].needs
    return [name for name in PARTS if name in wanted]
