"""The judge of a whole set: a good one passes, and each way to spoil it is found."""

from __future__ import annotations

from typing import Any

import pytest

from generator.crds import Crds
from tests.generator.documents import GONE, Document, canary, changed, custom, runtime, service, storage_container
from tests.generator.judge import judge
from tests.generator.schemas import schema_problems

PODS = {"matchLabels": {"serving.kserve.io/inferenceservice": "fraud"}}
META = {"name": "fraud", "namespace": "models"}


def document(version: str, kind: str, **rest: Any) -> Document:
    return {"apiVersion": version, "kind": kind, "metadata": dict(META), **rest}


def whole() -> dict[str, Document]:
    """A set in which everything is there: what serves, who may, who looks on, and what cleans up."""
    external = changed(service(), "metadata.annotations[serving.kserve.io/autoscalerClass]", "external")
    for field in ("minReplicas", "maxReplicas"):
        external = changed(external, f"spec.predictor.{field}", GONE)
    return {
        "service": external,
        "fetcher": storage_container(),
        "runtime": runtime(),
        "secret": document("v1", "Secret", stringData={"token": "t"}),
        "mlflow": document("v1", "ConfigMap", data={"a": "b"}),
        "account": document("v1", "ServiceAccount"),
        "role": document(
            "rbac.authorization.k8s.io/v1",
            "Role",
            rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
        ),
        "binding": document(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "fraud"},
            subjects=[{"kind": "ServiceAccount", "name": "fraud", "namespace": "models"}],
        ),
        "claim": document(
            "v1",
            "PersistentVolumeClaim",
            spec={"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "5Gi"}}},
        ),
        "policy": document(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            spec={
                "podSelector": PODS,
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 8080}]}],
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
            },
        ),
        "budget": document("policy/v1", "PodDisruptionBudget", spec={"maxUnavailable": 1, "selector": PODS}),
        "monitor": document(
            "monitoring.coreos.com/v1",
            "PodMonitor",
            spec={"selector": PODS, "podMetricsEndpoints": [{"port": "http1", "interval": "30s"}]},
        ),
        "rules": document(
            "monitoring.coreos.com/v1",
            "PrometheusRule",
            spec={
                "groups": [
                    {
                        "name": "fraud",
                        "rules": [{"alert": "Down", "expr": "up == 0", "for": "5m", "labels": {"severity": "a page!"}}],
                    }
                ]
            },
        ),
        "scaler": document(
            "keda.sh/v1alpha1",
            "ScaledObject",
            spec={
                "scaleTargetRef": {"name": "fraud-predictor"},
                "minReplicaCount": 1,
                "maxReplicaCount": 3,
                "triggers": [{"type": "prometheus", "metadata": {"query": "up", "threshold": "5"}}],
            },
        ),
        "access": document(
            "security.istio.io/v1",
            "AuthorizationPolicy",
            spec={"selector": PODS, "action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]},
        ),
        "job": document(
            "batch/v1",
            "CronJob",
            spec={
                "schedule": "17 3 * * *",
                "jobTemplate": {
                    "spec": {
                        "template": {
                            "metadata": {"labels": {"job": "cleanup"}},
                            "spec": {
                                "restartPolicy": "Never",
                                "serviceAccountName": "fraud",
                                "containers": [
                                    {
                                        "name": "cleanup",
                                        "image": "example.com/a",
                                        "envFrom": [{"configMapRef": {"name": "fraud"}}],
                                        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                                    }
                                ],
                                "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "fraud"}}],
                            },
                        }
                    }
                },
            },
        ),
    }


def verdict(crds: Crds | None = None, /, **changes: tuple[str, Any]) -> tuple[list[str], list[str]]:
    documents = whole()
    for name, (path, value) in changes.items():
        documents[name] = changed(documents[name], path, value)
    result = judge(list(documents.values()), crds)
    return result.problems, result.external


def test_a_good_set(optional_crds: Crds | None) -> None:
    assert verdict(optional_crds) == ([], [])


def test_a_good_set_without_crds() -> None:
    assert verdict(None) == ([], [])


def test_what_is_elsewhere() -> None:
    assert judge([service()]).external == [
        "ClusterStorageContainer for models:/",
        "Secret models/fraud",
        "ServiceAccount models/fraud",
    ]
    assert (
        judge([changed(service(), "spec.predictor.model.storageUri", "pvc://models/fraud")]).external[0]
        == "PersistentVolumeClaim models/models"
    )
    assert judge([whole()["budget"]]).external == ["pods for PodDisruptionBudget fraud"]
    named = changed(service(), "spec.predictor.model.runtime", "mlflow-kserve")
    assert "ServingRuntime or ClusterServingRuntime mlflow-kserve for InferenceService fraud" in judge([named]).external
    assert not any("Runtime" in name for name in judge([named, runtime()]).external)


JOB = "spec.jobTemplate.spec.template.spec."
SPOILED = {
    "unknown field of KServe": ("service", "spec.predictor.minReplica", 1, "unknown field"),
    "unknown field of Kubernetes": ("policy", "spec.podSelecter", {}, "podSelecter"),
    "unknown field of Istio": ("access", "spec.rule", [], "spec.rule: unknown field; did you mean rules?"),
    "half an hour for Prometheus": ("monitor", "spec.podMetricsEndpoints.0.interval", "0.5h", "interval: expected text"),
    "a number for KEDA": ("scaler", "spec.triggers.0.metadata.threshold", 5, "expected a string"),
    "unknown kind": ("role", "kind", "Rolle", "nothing is known of Rolle"),
    "refused by the webhook": ("service", "spec.predictor.model.env.0.name", "PYTHONPATH", "PYTHONPATH"),
    "ignored by KServe": ("service", "spec.predictor.containerConcurrency", 1, "Knative only"),
    "refused by Knative": ("service", "metadata.annotations[serving.kserve.io/deploymentMode]", "Knative", "KServe scales"),
    "container's args": ("fetcher", "spec.container.args", ["a"], "they replace"),
    "runtime's priority": ("runtime", "spec.supportedModelFormats.0.priority", 1, "same priority"),
    "long name": ("job", "metadata.name", "a" * 53, "at most 52"),
    "capitals": ("secret", "metadata.name", "Fraud", "'Fraud' is not a name"),
    "no name": ("budget", "metadata.name", "", "metadata.name is missing"),
    "namespace of a cluster's": ("runtime", "metadata.namespace", "models", "namespace"),
    "name too long for the label app": ("service", "metadata.name", "a" * 49, "the label app"),
    "label's value": ("policy", "metadata.labels", {"a": "b c"}, "'b c' is not a value"),
    "label's key": ("policy", "metadata.labels", {"a/b/c": "d"}, "no domain"),
    "annotation's key": ("policy", "metadata.annotations", {"-a": "free text!"}, "'-a' is not a key"),
    "the same twice": ("mlflow", "kind", "Secret", "Secret models/fraud is there 2 times"),
    "key that is not there": ("secret", "stringData", {"other": "t"}, "Secret models/fraud has no key token"),
    "selector of nothing": ("policy", "spec.podSelector", {"matchLabels": {"app": "fraud"}}, "takes none of the pods"),
    "selector by expression": ("budget", "spec.selector", {"matchExpressions": [{"key": "component", "operator": "NotIn", "values": ["predictor"]}, {"key": "job", "operator": "DoesNotExist"}]}, "takes none"),
    "selector elsewhere": ("monitor", "spec.namespaceSelector", {"matchNames": ["shop"]}, "takes none"),
    "monitor's port": ("monitor", "spec.podMetricsEndpoints.0.port", "metrics", "the port metrics is none"),
    "policy's port": ("policy", "spec.ingress.0.ports.0.port", 5000, "the port 5000 is none"),
    "probe's port": ("service", "spec.predictor.model.readinessProbe.httpGet.port", "http", "names the port http"),
    "probe's number": ("service", "spec.predictor.model.readinessProbe.httpGet.port", 8081, "asks at port 8081"),
    "two handlers": ("service", "spec.predictor.model.readinessProbe.tcpSocket", {"port": 8080}, "exactly one of"),
    "no timeout": ("service", "spec.predictor.model.readinessProbe.timeoutSeconds", 0, "less than 1"),
    "liveness": ("service", "spec.predictor.model.livenessProbe", {"exec": {"command": ["a"]}, "successThreshold": 2}, "successThreshold must be 1"),
    "long port name": ("service", "spec.predictor.model.ports.0.name", "a" * 16, "not a name of a port"),
    "mount of nothing": ("service", "spec.predictor.model.volumeMounts", [{"name": "a", "mountPath": "/a"}], "has no volume"),
    "volume for nothing": ("service", "spec.predictor.volumes", [{"name": "a", "emptyDir": {}}], "not mounted"),
    "volume of nothing": ("service", "spec.predictor.volumes", [{"name": "a"}], "exactly one source"),
    "more than the limit": ("service", "spec.predictor.model.resources.requests.memory", "2Gi", "more than its limit"),
    "uneven GPUs": ("service", "spec.predictor.model.resources.requests[nvidia.com/gpu]", 1, "as much as it is limited"),
    "long pause": ("service", "spec.predictor.model.lifecycle", {"preStop": {"sleep": {"seconds": 31}}}, "30 s to end"),
    "value and source": ("service", "spec.predictor.model.env.1.value", "x", "a value and a source"),
    "twice the variable": ("job", JOB + "containers.0.env", [{"name": "A"}, {"name": "A"}], "is there twice"),
    "twice the path": ("job", JOB + "containers.0.volumeMounts.1", {"name": "cache", "mountPath": "/cache/"}, "mounted twice"),
    "restarts of a job": ("job", JOB + "restartPolicy", "Always", "OnFailure or Never"),
    "runtime's mount": ("runtime", "spec.containers.0.volumeMounts", [{"name": "a", "mountPath": "/a"}], "has no volume"),
    "fetcher's variables": ("fetcher", "spec.container.env", [{"name": "1A!", "value": "x"}], "not a name of a variable"),
    "container's name": ("job", JOB + "containers.0.name", "Clean up", "not a name of a container"),
    "two of a name": ("job", JOB + "initContainers", [{"name": "cleanup"}], "two containers are called cleanup"),
    "volume's name": ("job", JOB + "volumes.1", {"name": "b_c", "emptyDir": {}}, "not a name of a volume"),
    "probe before the start": ("job", JOB + "initContainers", [{"name": "a", "readinessProbe": {"exec": {"command": ["a"]}}}], "has no readinessProbe"),
    "mount nowhere": ("job", JOB + "containers.0.volumeMounts.0.mountPath", "cache", "not a path to mount at"),
    "port out of range": ("service", "spec.predictor.model.ports.0.containerPort", 70000, "out of range"),
    "ports of one name": ("service", "spec.predictor.model.ports.1", {"name": "http1", "containerPort": 8081}, "two ports are called http1"),
    "two sources": ("service", "spec.predictor.model.env.1.valueFrom.fieldRef", {"fieldPath": "a"}, "exactly one source"),
    "predictor's name": ("service", "spec.predictor.name", "V3", "no part of a name"),
    "slash in a role": ("role", "metadata.name", "a/b", "holds / or %"),
    "namespace": ("secret", "metadata.namespace", "A", "is not a name"),
    "port by number": ("monitor", "spec.podMetricsEndpoints.0", {"portNumber": 5000}, "the port 5000 is none"),
    "concurrency": ("job", "spec.concurrencyPolicy", "Never", "concurrencyPolicy Never"),
    "rule of nothing": ("role", "rules", [{"apiGroups": [""], "resources": ["pods"], "verbs": []}], "needs verbs"),
    "idle": ("scaler", "spec.idleReplicaCount", 1, "idleReplicaCount must be less"),
    "block with company": ("policy", "spec.egress.0.to.0.podSelector", {}, "ipBlock stands alone"),
    "schedule": ("job", "spec.schedule", "daily", "is not a schedule"),
    "both budgets": ("budget", "spec.minAvailable", 1, "exactly one of minAvailable"),
    "names of what is created": ("role", "rules", [{"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["create"]}], "cannot be limited"),
    "scaler of nothing": ("scaler", "spec.scaleTargetRef.name", "fraud", "makes no Deployment fraud"),
    "two scalers": ("service", "metadata.annotations[serving.kserve.io/autoscalerClass]", "none", "KServe scales"),
    "no trigger": ("scaler", "spec.triggers", [], "KEDA needs a trigger"),
    "least over most": ("scaler", "spec.minReplicaCount", 4, "more than maxReplicaCount"),
    "zero by CPU": ("scaler", "spec", {"scaleTargetRef": {"name": "fraud-predictor"}, "minReplicaCount": 0, "triggers": [{"type": "cpu", "metadata": {"value": "70"}}]}, "at least 1"),
    "egress of no type": ("policy", "spec.policyTypes", ["Ingress"], "does not name it"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "path", "value", "why"), SPOILED.values(), ids=SPOILED.keys())
def test_what_is_found(name: str, path: str, value: Any, why: str) -> None:
    problems, _ = verdict(**{name: (path, value)})
    assert any(why in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("name", "path", "external"),
    [
        ("binding", "subjects.0.name", "ServiceAccount models/other"),
        ("binding", "roleRef.name", "Role models/other"),
        ("job", JOB + "volumes.0.persistentVolumeClaim.claimName", "PersistentVolumeClaim models/other"),
        ("job", JOB + "containers.0.envFrom.0.configMapRef.name", "ConfigMap models/other"),
        ("service", "spec.predictor.serviceAccountName", "ServiceAccount models/other"),
        ("service", "spec.predictor.model.env.1.valueFrom.secretKeyRef.name", "Secret models/other"),
        ("service", "spec.predictor.storageContainerName", "ClusterStorageContainer other"),
    ],
    ids=lambda part: part if "." not in part else "",
)
def test_names_of_what_is_not_there(name: str, path: str, external: str) -> None:
    assert verdict(**{name: (path, "other")}) == ([], [external])


def test_canaries_have_pods_of_their_own() -> None:
    policy = changed(whole()["policy"], "spec.podSelector.matchLabels", {"app": "isvc.fraud-v4-predictor"})
    assert judge([canary(), policy]).problems == []
    assert judge([service(name="v3"), policy]).problems == ["NetworkPolicy fraud: its selector takes none of the pods"]


@pytest.mark.parametrize("make", [service, custom, canary, runtime, storage_container], ids=lambda make: make.__name__)
def test_the_sdk_stands_in_for_crds(make: Any) -> None:
    assert schema_problems(make(), None) == []
    assert schema_problems(make() | {"sepc": {}}, None) == ["sepc: unknown field; did you mean spec?"]


def test_the_sdk_knows_fields_within_fields() -> None:
    spoiled = changed(service(), "spec.predictor.model.env.1.valueFrom.secretKeyRef.nam", "x")
    assert schema_problems(spoiled, None) == [
        "spec.predictor.model.env[1].valueFrom.secretKeyRef.nam: unknown field; did you mean name?"
    ]
    assert schema_problems({"apiVersion": "serving.kserve.io/v1", "kind": "InferenceService"}, None) == [
        "kind: KServe has no InferenceService in serving.kserve.io/v1"
    ]
