"""metrics-server, as a process of the node: what pods use, for HorizontalPodAutoscalers."""

from __future__ import annotations

from tests.cluster.parts.api import apply, kubectl, service_of_process
from tests.cluster.parts.places import INSIDE, STATE
from tests.cluster.parts.processes import start, wait_ready
from tests.cluster.parts.programs import program

PORT = 4443
API = "v1beta1.metrics.k8s.io"


def metrics() -> None:
    start(
        "metrics-server", program("metrics", "metrics-server"), f"--kubeconfig={INSIDE}",
        f"--authentication-kubeconfig={INSIDE}", f"--authorization-kubeconfig={INSIDE}", f"--secure-port={PORT}",
        f"--cert-dir={STATE / 'metrics-server'}", "--kubelet-insecure-tls", "--metric-resolution=10s",
        "--kubelet-preferred-address-types=InternalIP",
    )  # fmt: skip
    wait_ready("metrics-server", f"https://127.0.0.1:{PORT}/livez")
    apply(
        [
            *service_of_process("metrics-server", "kube-system", https=(443, PORT)),
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": API},
                "spec": {
                    "group": "metrics.k8s.io",
                    "version": "v1beta1",
                    "service": {"name": "metrics-server", "namespace": "kube-system"},
                    "insecureSkipTLSVerify": True,
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                },
            },
        ]
    )
    kubectl("wait", "--for=condition=Available", f"apiservice/{API}", "--timeout=60s")
