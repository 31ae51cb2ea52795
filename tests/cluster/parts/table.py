"""What the cluster is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.cluster.parts.control_plane import controllers, etcd, kubernetes
from tests.cluster.parts.crds import crds, gateway_api
from tests.cluster.parts.dns import dns
from tests.cluster.parts.gateway import certificates, gateway
from tests.cluster.parts.keda import keda
from tests.cluster.parts.knative import knative
from tests.cluster.parts.kserve import kserve
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
    """There is nothing to prepare."""


@dataclass(frozen=True)
class ClusterPart:
    """One thing that is started, as soon as what it needs is there."""

    start: Callable[[], None]
    modules: tuple[str, ...] = ()
    """Folders of `modules/` whose programs it runs."""
    needs: tuple[str, ...] = ()
    prepare: Callable[[], None] = nothing
    """What can be done before that."""


PARTS = {
    "etcd": ClusterPart(etcd, ("etcd",)),
    "kubernetes": ClusterPart(kubernetes, ("kubernetes",), ("etcd",)),
    "controllers": ClusterPart(controllers, ("kubernetes",), ("kubernetes",)),
    "gateway-api": ClusterPart(gateway_api, ("crds",), ("kubernetes",)),
    "crds": ClusterPart(crds, ("crds",), ("kubernetes",)),
    "dns": ClusterPart(dns, ("dns",), ("kubernetes",)),
    "node": ClusterPart(node, ("pause",), ("controllers",), containerd),
    "kserve": ClusterPart(kserve, ("kserve",), ("controllers", "gateway-api")),
    "gateway": ClusterPart(gateway, ("gateway",), ("gateway-api",), certificates),
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
