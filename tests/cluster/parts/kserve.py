"""KServe: its manager as a process of the node, with the CRDs, webhooks and settings of its release."""

from __future__ import annotations

import json
from base64 import b64encode

from tests.certificates import Authority
from tests.cluster.parts.api import CRD, Document, apply, documents, namespace
from tests.cluster.parts.control_plane import FRESH
from tests.cluster.parts.crds import gateway_api
from tests.cluster.parts.places import INSIDE, STATE
from tests.cluster.parts.processes import start, wait_ready
from tests.cluster.parts.programs import folder, program, version

MODULE = "github.com/kserve/kserve"
WEBHOOK_PORT, HEALTH_PORT = 9444, 8091  # Envoy Gateway has KServe's own
# Large models on many nodes are another product; their CRDs and webhooks take half of the time.
LEFT_OUT = ("llmisvc", "llminference", "localmodel")
ASKED_FOR_AT_START = ("istio_virtualservice", "keda", "knative_service", "opentelemetry-operator")
"""CRDs of others that the manager asks the cluster for; KServe's own tests have them in files of these names."""


def kserve() -> None:
    authority = _certificates()
    manifests, last = _manifests(authority)
    apply([namespace("kserve"), namespace("knative-serving"), _autoscaler_settings(), *manifests])
    start(
        "kserve", program("kserve", "manager"), "-metrics-addr=:8085", f"-health-probe-addr=:{HEALTH_PORT}",
        f"-webhook-port={WEBHOOK_PORT}",
        env={"KUBECONFIG": str(INSIDE), "POD_NAMESPACE": "kserve", "TMPDIR": str(STATE / "kserve")},
    )  # fmt: skip
    wait_ready("kserve", f"http://127.0.0.1:{HEALTH_PORT}/readyz")
    apply(last)


def _certificates() -> Authority:
    """What the webhooks answer with: `tls.crt` and `tls.key` where the manager expects them."""
    certificates = STATE / "kserve" / "k8s-webhook-server" / "serving-certs"
    certificates.mkdir(parents=True)
    authority = Authority(certificates, lifetime=FRESH)
    authority.issue("tls")
    return authority


def kinds() -> list[Document]:
    """KServe's own, and those of others that it asks for."""
    own = [one for one in _release() if one["kind"] == CRD and not _left_out(one["metadata"]["name"])]
    for one in own:
        one["spec"].pop("conversion", None)
    theirs = [folder("kserve", MODULE) / "test" / "crds" / f"{name}.yaml" for name in ASKED_FOR_AT_START]
    return [*own, *(one for one in documents(*theirs) if one["kind"] == CRD), *gateway_api()]


def _release() -> list[Document]:
    release = folder("kserve", MODULE) / "install" / version("kserve", MODULE)
    return documents(release / "kserve.yaml", release / "kserve-cluster-resources.yaml")


def _manifests(authority: Authority) -> tuple[list[Document], list[Document]]:
    """What the manager needs, and what needs the manager."""
    manifests, last = [], []
    for one in _release():
        kind, name = one["kind"], one["metadata"]["name"]
        if kind in (CRD, "DaemonSet", "Certificate", "Issuer") or kind.startswith("LLM") or _left_out(name):
            continue
        if kind == "Deployment":
            # It says which release this is to whoever asks the cluster; the manager is a process here.
            one["spec"]["replicas"] = 0
            manifests.append(one)
        elif "Webhook" in kind:
            last.append(_by_address(one, authority))
        elif kind in ("ClusterServingRuntime", "ClusterStorageContainer"):
            last.append(one)
        else:
            manifests.append(_with_settings(one))
    return manifests, last


def _left_out(name: str) -> bool:
    return any(word in name for word in LEFT_OUT)


def _by_address(configuration: Document, authority: Authority) -> Document:
    """Webhooks that the API server asks at an address, for there is no pod behind KServe's Service."""
    bundle = b64encode(authority.file.read_bytes()).decode()
    for webhook in configuration["webhooks"]:
        url = f"https://127.0.0.1:{WEBHOOK_PORT}{webhook['clientConfig']['service']['path']}"
        webhook["clientConfig"] = {"url": url, "caBundle": bundle}
    return configuration


def _with_settings(document: Document) -> Document:
    if document["metadata"]["name"] == "inferenceservice-config":
        data = document["data"]
        data["ingress"] = json.dumps(
            {**json.loads(data["ingress"]), "enableGatewayApi": True, "disableIstioVirtualHost": True}
        )
        data["deploy"] = json.dumps({"defaultDeploymentMode": "Standard"})
    return document


def _autoscaler_settings() -> Document:
    about = {"name": "config-autoscaler", "namespace": "knative-serving"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about}
