"""CoreDNS, as a process of the node: names of Services in pods."""

from __future__ import annotations

from tests.cluster.parts.api import apply
from tests.cluster.parts.places import DNS, INSIDE, NODE, STATE
from tests.cluster.parts.processes import start, wait_ready
from tests.cluster.parts.programs import program

COREFILE = f"""
.:53 {{
    bind {NODE}
    ready 127.0.0.1:8181
    errors
    kubernetes cluster.local {{
        kubeconfig {INSIDE}
        ttl 5
    }}
}}
"""


def dns() -> None:
    about = {"name": "kube-dns", "namespace": "kube-system"}
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**about, "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE], "conditions": {"ready": True}}],
        "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
    }
    front = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": {"clusterIP": DNS, "ports": front}}
    apply([service, slice_])
    (STATE / "Corefile").write_text(COREFILE)
    start("coredns", program("dns", "dns"), "-conf", STATE / "Corefile")
    wait_ready("coredns", "http://127.0.0.1:8181/ready")
