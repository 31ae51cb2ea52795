"""Kinds of others that manifests of ours may have: their CRDs, so that the API server knows them. Nothing acts on them."""

from __future__ import annotations

from tests.cluster.parts.api import apply, documents
from tests.cluster.parts.programs import folder

MONITORS = ("podmonitors", "prometheusrules", "servicemonitors")
MESH = "security.istio.io"


def crds() -> None:
    operator = (
        folder("crds", "github.com/prometheus-operator/prometheus-operator") / "example" / "prometheus-operator-crd"
    )
    monitors = documents(*(operator / f"monitoring.coreos.com_{name}.yaml" for name in MONITORS))
    istio = documents(folder("crds", "istio.io/api") / "kubernetes" / "customresourcedefinitions.gen.yaml")
    apply([*monitors, *(one for one in istio if one["spec"]["group"] == MESH)])
