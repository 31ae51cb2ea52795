"""What the cluster is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.cluster.parts.control_plane import etcd, kubernetes
from tests.cluster.parts.crds import crds
from tests.cluster.parts.dns import dns
from tests.cluster.parts.gateway import gateway
from tests.cluster.parts.keda import keda
from tests.cluster.parts.knative import knative
from tests.cluster.parts.kserve import kserve
from tests.cluster.parts.metrics import metrics
from tests.cluster.parts.mlflow import mlflow
from tests.cluster.parts.node import node

DEBIAN = {
    "containerd": "containerd", "runc": "runc", "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables", "conntrack": "conntrack", "ebtables": "ebtables", "socat": "socat", "ethtool": "ethtool",
    "podman": "podman", "debootstrap": "debootstrap",
}  # fmt: skip
"""Programs of Debian's that pods need, and their packages."""


@dataclass(frozen=True)
class ClusterPart:
    """One thing that is started, after what it needs."""

    start: Callable[[], None]
    modules: tuple[str, ...] = ()
    """Folders of `modules/` whose programs it runs."""
    needs: tuple[str, ...] = ()


PARTS = {
    "etcd": ClusterPart(etcd, ("etcd",)),
    "kubernetes": ClusterPart(kubernetes, ("kubernetes",), ("etcd",)),
    "crds": ClusterPart(crds, ("crds",), ("kubernetes",)),
    "dns": ClusterPart(dns, ("dns",), ("kubernetes",)),
    "node": ClusterPart(node, ("pause",), ("kubernetes",)),
    "kserve": ClusterPart(kserve, ("kserve",), ("kubernetes",)),
    "gateway": ClusterPart(gateway, ("gateway",), ("kserve",)),
    "knative": ClusterPart(knative, ("knative",), ("node", "dns", "gateway")),
    "keda": ClusterPart(keda, ("keda",), ("node", "kserve")),
    "metrics": ClusterPart(metrics, ("metrics",), ("node",)),
    "mlflow": ClusterPart(mlflow, (), ("kubernetes",)),
}
"""In the order in which they start."""
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
