"""Scraping: monitors for the Prometheus operator, or Prometheus' own configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from monitoring.scope import ISVC, ISVC_LABEL

Kind = Literal["PodMonitor", "ServiceMonitor"]
PATH = "/metrics"
DEFAULT_TIMEOUT = 10  # seconds; Prometheus does not allow it to exceed the interval
PORTS = ("http1", "user-port")
"""Names of the port in Standard mode and in Knative."""
HTTP, GRPC = 8080, 8081


def endpoint(port: str, interval: int) -> dict[str, Any]:
    """An endpoint of a monitor, scraped every `interval` seconds."""
    return {
        "port": port,
        "path": PATH,
        "interval": f"{interval}s",
        "scrapeTimeout": f"{interval}s" if interval < DEFAULT_TIMEOUT else None,
    }


def monitor(kind: Kind, selector: Mapping[str, Any], endpoints: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The spec of a monitor. Series are labeled with their serve, and by the operator with namespace and pod."""
    field = {"PodMonitor": "podMetricsEndpoints", "ServiceMonitor": "endpoints"}[kind]
    return {"selector": dict(selector), "podTargetLabels": [ISVC_LABEL], field: [dict(each) for each in endpoints]}


def beside_grpc() -> dict[str, Any]:
    """Rewrites the port: in Knative only the gRPC port of a gRPC server has a name, and metrics are on another."""
    return {
        "sourceLabels": ["__meta_kubernetes_pod_ip", "__meta_kubernetes_pod_container_port_number"],
        "regex": f"(.+);{GRPC}",
        "targetLabel": "__address__",
        "replacement": f"$1:{HTTP}",
    }


def monitor_of_all(kind: Kind, namespace: str, labels: Mapping[str, str], interval: int = 30) -> dict[str, Any]:
    """A monitor for all namespaces. Only a PodMonitor covers Knative, whose Services change with each revision."""
    ports = PORTS if kind == "PodMonitor" else PORTS[:1]
    endpoints = [{key: value for key, value in endpoint(port, interval).items() if value} for port in ports]
    for each in endpoints[1:]:
        each["relabelings"] = [beside_grpc()]
    spec = monitor(kind, {"matchExpressions": [{"key": ISVC_LABEL, "operator": "Exists"}]}, endpoints)
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": kind,
        "metadata": {"name": "mlflow-kserve", "namespace": namespace, "labels": dict(labels)},
        "spec": {"namespaceSelector": {"any": True}, **spec},
    }


def annotated_job() -> dict[str, Any]:
    """A job for pods that are annotated as the generator does it."""
    meta = "__meta_kubernetes_pod_annotation_prometheus_io_"
    return {
        "job_name": "mlflow-kserve",
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [
            {"source_labels": [f"{meta}scrape"], "regex": "true", "action": "keep"},
            {"source_labels": [f"__meta_kubernetes_pod_label_{ISVC}"], "regex": ".+", "action": "keep"},
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Pending|Succeeded|Failed", "action": "drop"},
            {"source_labels": [f"{meta}scheme"], "regex": "(https?)", "target_label": "__scheme__"},
            {"source_labels": [f"{meta}path"], "regex": "(.+)", "target_label": "__metrics_path__"},
            {
                "source_labels": ["__meta_kubernetes_pod_ip", f"{meta}port"],
                "separator": ":",
                "target_label": "__address__",
            },
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"source_labels": [f"__meta_kubernetes_pod_label_{ISVC}"], "target_label": ISVC},
        ],
    }


def static_job(targets: Sequence[str], namespace: str = "local", serve: str = "model") -> dict[str, Any]:
    """A job for servers outside Kubernetes, with the labels that pods would have."""
    return {
        "job_name": "mlflow-kserve",
        "static_configs": [
            {
                "targets": [target],
                "labels": {"namespace": namespace, "pod": f"{serve}-predictor-{number}", ISVC: serve},
            }
            for number, target in enumerate(targets)
        ],
    }


def prometheus(
    jobs: Sequence[Mapping[str, Any]], interval: str = "15s", rule_files: Sequence[str] = ("rules.yaml",)
) -> dict[str, Any]:
    """The content of prometheus.yml."""
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": list(rule_files),
        "scrape_configs": [dict(job) for job in jobs],
    }
