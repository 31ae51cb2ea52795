"""Envoy Gateway and its Envoy, as processes of the node; KServe's routes go to the Gateway `kserve/kserve-ingress-gateway`."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from pathlib import Path

from tests.cluster.parts.api import Document, apply, documents, namespace, wait_known
from tests.cluster.parts.envoy import ENVOY, VERSION
from tests.cluster.parts.places import GATEWAY_PORT, INSIDE, LOCAL_GATEWAY_PORT, STATE
from tests.cluster.parts.processes import PartFailed, start, wait_ready
from tests.cluster.parts.programs import folder, program

MODULE = "github.com/envoyproxy/gateway"
SPACE = "envoy-gateway-system"
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
HOME = STATE / "gateway"
CERTIFICATES = HOME / "config" / "certs"
MOUNTED = Path("/certs")
"""The one folder where Envoy Gateway looks for certificates; on the host it is empty, and goes with the cluster."""
ADMIN_PORT = 19003
FOLLOWED = {
    "gateway.networking.k8s.io/v1": ("HTTPRoute", "GRPCRoute"),
    "gateway.networking.k8s.io/v1beta1": ("ReferenceGrant",),
    "gateway.envoyproxy.io/v1alpha1": ("BackendTrafficPolicy", "ClientTrafficPolicy", "SecurityPolicy"),
}
"""Kinds that Envoy Gateway ends without. The API server learns of them one by one when it starts with all of them."""


def certificates() -> None:
    _envoy_where_it_is_expected()
    _certificates()


def gateway() -> None:
    apply([namespace(SPACE), namespace("kserve"), *_secrets(), *_gateway()])
    for version, followed in FOLLOWED.items():
        for kind in followed:
            wait_known(version, kind)
    (HOME / "gateway.yaml").write_text(json.dumps(_settings()))
    start(
        "envoy-gateway", program("gateway", "envoy-gateway"), "server", "--config-path", HOME / "gateway.yaml",
        env={"KUBECONFIG": str(INSIDE), "ENVOY_GATEWAY_NAMESPACE": SPACE},
    )  # fmt: skip
    wait_ready("envoy-gateway", f"http://127.0.0.1:{ADMIN_PORT}/ready")


def kinds() -> list[Document]:
    crds = folder("gateway", MODULE) / "charts" / "gateway-helm" / "charts" / "crds" / "crds" / "generated"
    return documents(*sorted(crds.glob("*.yaml")))


def _envoy_where_it_is_expected() -> None:
    """Otherwise Envoy Gateway would download it."""
    binary = HOME / "data" / "envoy-versions" / VERSION / "bin" / "envoy"
    binary.parent.mkdir(parents=True)
    binary.symlink_to(ENVOY)


def _certificates() -> None:
    command = [str(program("gateway", "envoy-gateway")), "certgen", "--local", "--config-home", str(HOME / "config")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise PartFailed(f"envoy-gateway certgen: {done.stderr[-2000:]}")
    MOUNTED.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", str(CERTIFICATES / "envoy-gateway"), str(MOUNTED)], check=True)


def _secrets() -> list[Document]:
    tls = ("tls.crt", "tls.key", "ca.crt")
    return [
        {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SPACE},
            "data": {file: b64encode((CERTIFICATES / name / file).read_bytes()).decode() for file in files},
        }
        for name, files in {"envoy": tls, "envoy-gateway": tls, "envoy-oidc-hmac": ("hmac-secret",)}.items()
    ]  # fmt: skip


def _settings() -> Document:
    resource = {"type": "Kubernetes", "kubernetes": {"leaderElection": {"disable": True}}}
    homes = {"configHome": "config", "dataHome": "data", "stateHome": "state", "runtimeDir": "run"}
    host = {key: str(HOME / name) for key, name in homes.items()}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": CONTROLLER},
        "provider": {
            "type": "Custom",
            "custom": {"resource": resource, "infrastructure": {"type": "Host", "host": host}},
        },
        "logging": {"level": {"default": "info"}},
    }


def _gateway() -> list[Document]:
    proxy = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "host", "namespace": SPACE}
    everyone = {"namespaces": {"from": "All"}}
    listeners = [
        {"name": name, "protocol": "HTTP", "port": port, "allowedRoutes": everyone}
        for name, port in (("http", GATEWAY_PORT), ("local", LOCAL_GATEWAY_PORT))
    ]
    return [
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyProxy",
            "metadata": {"name": "host", "namespace": SPACE},
            "spec": {"provider": {"type": "Host", "host": {"envoyVersion": VERSION}}},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "envoy"},
            "spec": {"controllerName": CONTROLLER, "parametersRef": proxy},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "kserve-ingress-gateway", "namespace": "kserve"},
            "spec": {"gatewayClassName": "envoy", "listeners": listeners},
        },
    ]
