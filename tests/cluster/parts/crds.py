"""Kinds of others: those that manifests of ours may have, and the Gateway API's. Nothing here acts on them."""

from __future__ import annotations

from tests.cluster.parts.api import CRD, Document, documents
from tests.cluster.parts.programs import folder

GATEWAY_API = "sigs.k8s.io/gateway-api"
MONITORS = ("podmonitors", "prometheusrules", "servicemonitors")
MESH = "security.istio.io"


def gateway_api() -> list[Document]:
    """What KServe does not start without; Envoy Gateway wants the experimental ones as well."""
    folder_ = folder("crds", GATEWAY_API) / "config" / "crd" / "experimental"
    return [one for one in documents(*sorted(folder_.glob("gateway*.yaml"))) if one["kind"] == CRD]


def mesh_and_monitors() -> list[Document]:
    operator = (
        folder("crds", "github.com/prometheus-operator/prometheus-operator") / "example" / "prometheus-operator-crd"
    )
    monitors = documents(*(operator / f"monitoring.coreos.com_{name}.yaml" for name in MONITORS))
    istio = documents(folder("crds", "istio.io/api") / "kubernetes" / "customresourcedefinitions.gen.yaml")
    return [*monitors, *(one for one in istio if one["spec"]["group"] == MESH)]
