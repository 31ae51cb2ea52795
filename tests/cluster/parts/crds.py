"""Kinds of others that manifests of ours may have: their CRDs, so that the API server knows them. Nothing acts on them."""

from __future__ import annotations

from tests.cluster.parts.api import apply, documents
from tests.cluster.parts.programs import folder

GATEWAY_API = "sigs.k8s.io/gateway-api"
MONITORS = ("podmonitors", "prometheusrules", "servicemonitors")
MESH = "security.istio.io"


def gateway_api() -> None:
    """What KServe does not start without; Envoy Gateway wants the experimental ones as well."""
    apply(documents(*(folder("crds", GATEWAY_API) / "config" / "crd" / "experimental").glob("gateway*.yaml")))


def crds() -> None:
    operator = (
        folder("crds", "github.com/prometheus-operator/prometheus-operator") / "example" / "prometheus-operator-crd"
    )
    monitors = documents(*(operator / f"monitoring.coreos.com_{name}.yaml" for name in MONITORS))
    istio = documents(folder("crds", "istio.io/api") / "kubernetes" / "customresourcedefinitions.gen.yaml")
    apply([*monitors, *(one for one in istio if one["spec"]["group"] == MESH)])
