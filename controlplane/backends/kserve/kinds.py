"""The kinds of objects that a serve may have in a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceKind:
    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """Where the API has its objects."""
        root = "/apis" if "/" in self.api_version else "/api"
        return f"{root}/{self.api_version}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


INFERENCE_SERVICE = ResourceKind("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")
CONFIG_MAP = ResourceKind("v1", "ConfigMap", "configmaps")
DEPLOYMENT = ResourceKind("apps/v1", "Deployment", "deployments")
KNATIVE_SERVICE = ResourceKind("serving.knative.dev/v1", "Service", "services")
HTTP_ROUTE = ResourceKind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
POD = ResourceKind("v1", "Pod", "pods")
CLAIM = ResourceKind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
"""Claims hold data, and serves may share one: they are made, and never deleted."""

APPLIED = (
    INFERENCE_SERVICE,
    CONFIG_MAP,
    ResourceKind("v1", "Service", "services"),
    ResourceKind("v1", "ServiceAccount", "serviceaccounts"),
    ResourceKind("batch/v1", "CronJob", "cronjobs"),
    ResourceKind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ResourceKind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ResourceKind("rbac.authorization.k8s.io/v1", "Role", "roles"),
    ResourceKind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    HTTP_ROUTE,
    ResourceKind("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy", "backendtrafficpolicies"),
    ResourceKind("serving.knative.dev/v1beta1", "DomainMapping", "domainmappings"),
    ResourceKind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects"),
    ResourceKind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
    ResourceKind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
    ResourceKind("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
    ResourceKind("security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies"),
    ResourceKind("security.istio.io/v1", "RequestAuthentication", "requestauthentications"),
)
"""What is applied, and what is found again by its labels."""
BY_NAME = {(each.api_version, each.kind): each for each in (*APPLIED, CLAIM, DEPLOYMENT, KNATIVE_SERVICE, POD)}


BY_KIND = {each.kind: each for each in (KNATIVE_SERVICE, DEPLOYMENT, CLAIM, *APPLIED)} | {"ksvc": KNATIVE_SERVICE}
"""As the generator's plans name them."""


def kind_of(resource: Mapping[str, Any]) -> ResourceKind:
    return BY_NAME[resource["apiVersion"], resource["kind"]]


def title(resource: Mapping[str, Any]) -> str:
    """An object in messages."""
    return f"{resource['kind']} {resource['metadata']['name']}"
