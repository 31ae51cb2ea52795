"""The statements of what KServe and Knative refuse or ignore: good documents pass, minimally bad ones do not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.generator import knative
from tests.generator.controller import container_ignored, fetches, ignored
from tests.generator.documents import GONE, Document, canary, changed, custom, runtime, service, storage_container
from tests.generator.services import amount
from tests.generator.webhook import rejections, runtime_rejections, update_rejections

P = "spec.predictor."
NOTES = "metadata.annotations."
HPA = {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "hpa"}
KEDA = {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "keda"}
KNATIVE = {"serving.kserve.io/deploymentMode": "Knative"}
KNATIVE_HPA = {**KNATIVE, "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
MEMORY = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "2Gi"}}}
EXTERNAL = {
    "type": "External",
    "external": {
        "metric": {"backend": "prometheus", "serverAddress": "http://prometheus:9090", "query": "up"},
        "target": {"type": "Value", "value": "5"},
    },
}
POD_METRIC = {
    "type": "PodMetric",
    "podmetric": {
        "metric": {"backend": "opentelemetry", "query": "requests", "metricNames": ["requests"]},
        "target": {"type": "Value", "value": "5"},
    },
}


def noted(notes: dict[str, str], **predictor: Any) -> Document:
    return changed(service(**predictor), "metadata.annotations", notes)


def scaled(notes: dict[str, str], *metrics: Any) -> Document:
    return noted(notes, autoScaling={"metrics": list(metrics)})


GOOD = {
    "Standard": service(),
    "Knative": service("Knative"),
    "custom": custom(env=[{"name": "STORAGE_URI", "value": "models:/fraud/3"}]),
    "custom v2": custom(env=[{"name": "PROTOCOL", "value": "v2"}]),
    "hpa": noted(HPA, scaleMetric="memory", scaleTarget=80),
    "hpa metrics": scaled(HPA, CPU, MEMORY),
    "keda": scaled(KEDA, CPU, MEMORY, EXTERNAL, POD_METRIC),
    "Knative rps": noted(KNATIVE, scaleMetric="rps", scaleTarget=50),
    "Knative zero": noted(KNATIVE, minReplicas=0, canaryTrafficPercent=20, containerConcurrency=4),
    "Knative HPA": noted(KNATIVE_HPA, scaleMetric="cpu", scaleTarget=80),
    "strategy": service(deploymentStrategy={"type": "Recreate"}),
    "unlimited": service(minReplicas=5, maxReplicas=0),
    "logger": service(logger={"mode": "all", "url": "http://sink"}),
    "canary": canary(),
    "canary of containers": changed(
        changed(
            canary(),
            P + "containers",
            custom(env=[{"name": "STORAGE_URI", "value": "x"}])["spec"]["predictor"]["containers"],
        ),
        P + "model",
        GONE,
    ),
    "storageUris": changed(
        changed(service(), P + "model.storageUri", GONE),
        P + "storageUris",
        [{"uri": "s3://a/b", "mountPath": "/mnt/models/a"}, {"uri": "s3://a/c", "mountPath": "/mnt/models/c"}],
    ),
}


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD.keys())
def test_what_the_webhook_admits(document: Document) -> None:
    assert rejections(document) == []


def metric(entry: Document, path: str, value: Any) -> Document:
    return scaled(KEDA, changed(entry, path, value))


TWO_CANARIES = changed(
    canary(), "spec.canary.1", changed(canary(name="v5"), "spec.canary.0.trafficPercent", 90)["spec"]["canary"][0]
)
BAD = {
    "name with a digit first": (changed(service(), "metadata.name", "3fraud"), "lower case"),
    "name with a dot": (changed(service(), "metadata.name", "fraud.v3"), "lower case"),
    "name with a newline": (changed(service(), "metadata.name", "fraud\n"), "lower case"),
    "autoscaler": (
        changed(service(), "metadata.annotations[serving.kserve.io/autoscalerClass]", "kpa"),
        "not a supported autoscaler",
    ),
    "PYTHONPATH in the model": (changed(service(), P + "model.env.0.name", "PYTHONPATH"), "PYTHONPATH"),
    "PYTHONPATH in a container": (custom(env=[{"name": "PYTHONPATH", "value": "/a"}]), "PYTHONPATH"),
    "PYTHONPATH in an init container": (
        service(initContainers=[{"name": "a", "env": [{"name": "PYTHONPATH", "value": "/a"}]}]),
        "PYTHONPATH",
    ),
    "name of the model": (changed(service(), P + "model.name", "kserve-container"), "model.name is not allowed"),
    "name of the framework": (changed(service(), P + "sklearn", {"name": "a"}), "sklearn.name is not allowed"),
    "two ways to say where": (service(storageUris=[{"uri": "s3://a/b"}]), "exclude each other"),
    "empty uri": (changed(GOOD["storageUris"], P + "storageUris.0.uri", ""), "empty"),
    "relative path": (changed(GOOD["storageUris"], P + "storageUris.0.mountPath", "models"), "absolute"),
    "dots": (changed(GOOD["storageUris"], P + "storageUris.0.mountPath", "/mnt/../x"), "absolute"),
    "no common folder": (changed(GOOD["storageUris"], P + "storageUris.0.mountPath", "/opt/a"), "in common"),
    "volumes at one path": (
        changed(
            GOOD["storageUris"],
            P + "storageUris",
            [
                *({"uri": f"s3://a/{name}", "mountPath": f"/mnt/{name}"} for name in "ab"),
                *({"uri": f"pvc://{name}", "mountPath": "/mnt/c"} for name in "cd"),
            ],
        ),
        "the same path",
    ),
    "nothing that serves": (changed(service(), P + "model", GONE), "found 0"),
    "two that serve": (changed(service(), P + "containers", custom()["spec"]["predictor"]["containers"]), "found 2"),
    "two frameworks": (changed(service(), P + "sklearn", {}), "found 2"),
    "no predictor": (changed(service(), "spec.predictor", GONE), "spec.predictor: missing"),
    "PROTOCOL": (custom(env=[{"name": "PROTOCOL", "value": "grpc-v2"}]), "PROTOCOL"),
    "STORAGE_URI in the transformer": (
        changed(
            custom(),
            P + "containers.1",
            {"name": "transformer-container", "env": [{"name": "STORAGE_URI", "value": "x"}]},
        ),
        "STORAGE_URI is not allowed",
    ),
    "min over max": (service(minReplicas=4, maxReplicas=3), "more than maxReplicas"),
    "default min over max": (
        changed(changed(service(), P + "minReplicas", GONE), P + "maxReplicas", -1),
        "maxReplicas is less",
    ),
    "negative min": (service(minReplicas=-1), "minReplicas is less"),
    "negative concurrency": (service(containerConcurrency=-1), "containerConcurrency is less"),
    "logger with no mode": (service(logger={"url": "http://sink"}), "logger.mode"),
    "logger with half a storage": (service(logger={"mode": "all", "storage": {"path": "/a"}}), "logger.storage"),
    "hpa metric": (noted(HPA, scaleMetric="rps"), "not supported by the HPA"),
    "hpa target low": (noted(HPA, scaleTarget=0), "1 to 100"),
    "hpa target high": (noted(HPA, scaleMetric="memory", scaleTarget=101), "1 to 100"),
    "hpa external": (scaled(HPA, EXTERNAL), "type Resource only"),
    "hpa empty": (scaled(HPA, {"type": "Resource"}), "resource is missing"),
    "keda scaleMetric": (noted(KEDA, scaleMetric="cpu"), "not supported with KEDA"),
    "keda type": (scaled(KEDA, {"type": "Pods"}), "unknown type"),
    "keda empty": (scaled(KEDA, {"type": "External"}), "external is missing"),
    "keda cpu": (metric(CPU, "resource.target.type", "AverageValue"), "not supported for cpu"),
    "keda cpu at 0": (metric(CPU, "resource.target.averageUtilization", 0), "1 to 100"),
    "keda little memory": (metric(MEMORY, "resource.target.averageValue", "1023Ki"), "less than 1 MiB"),
    "keda no memory": (metric(MEMORY, "resource.target.averageValue", GONE), "less than 1 MiB"),
    "keda no query": (metric(EXTERNAL, "external.metric.query", ""), "query is empty"),
    "keda no value": (metric(EXTERNAL, "external.target.value", GONE), "target.value is missing"),
    "keda average": (metric(EXTERNAL, "external.target.type", "AverageValue"), "target.averageValue is missing"),
    "keda pods": (metric(POD_METRIC, "podmetric.metric.query", ""), "query is empty"),
    "Knative metric": (noted(KNATIVE, scaleMetric="cpu"), "not supported in Knative"),
    "Knative rps": (noted(KNATIVE, scaleMetric="rps", scaleTarget=0), "rps is less"),
    "Knative strategy": (noted(KNATIVE, deploymentStrategy={"type": "Recreate"}), "for Standard only"),
    "Knative HPA": (noted(KNATIVE_HPA, scaleMetric="rps"), "not supported by the HPA"),
    "canary in Knative": (changed(canary(), "metadata.annotations", KNATIVE), "only Standard"),
    "canary of nothing": (
        changed(changed(canary(), P + "model", GONE), P + "containers", [{"name": "kserve-container"}]),
        "needs a model, or STORAGE_URI",
    ),
    "canary with no name": (changed(canary(), "spec.canary.0.predictor.name", GONE), "name is missing"),
    "canary named as the stable": (canary(name="v3"), "the stable one's"),
    "canaries of one name": (changed(TWO_CANARIES, "spec.canary.1.predictor.name", "v4"), "is there twice"),
    "canaries over 100": (TWO_CANARIES, "add up to 110"),
    "canary over 100": (changed(canary(), "spec.canary.0.trafficPercent", 101), "0 to 100"),
    "canary with no model": (changed(canary(), "spec.canary.0.predictor.model", GONE), "found 0"),
    "canary with maxReplicas": (canary(maxReplicas=2), "maxReplicas is not allowed"),
    "canary with scaleMetric": (canary(scaleMetric="cpu"), "scaleMetric is not allowed"),
    "canary with scaleTarget": (canary(scaleTarget=5), "scaleTarget is not allowed"),
    "canary with autoScaling": (canary(autoScaling={}), "autoScaling is not allowed"),
    "canary with workers": (canary(workerSpec={}), "workerSpec is not allowed"),
    "canary of less than nothing": (canary(minReplicas=-1), "spec.canary[0]: minReplicas is less"),
    "big canary": (canary(minReplicas=2), "more than the stable"),
}


@pytest.mark.parametrize(("document", "why"), BAD.values(), ids=BAD.keys())
def test_what_the_webhook_refuses(document: Document, why: str) -> None:
    assert any(why in problem for problem in rejections(document)), rejections(document)


def test_changes() -> None:
    before = canary()
    promoted = changed(changed(service(name="v4"), P + "model.storageUri", "models:/fraud/4"), "spec.canary", [])
    assert update_rejections(before, promoted) == []
    assert update_rejections(before, service(name="v3")) == []
    assert "name changes and the model does not" in update_rejections(before, service(name="v4"))[0]
    assert "cannot be changed" in update_rejections(service(), service("Knative"))[0]
    assert update_rejections(service("RawDeployment"), service()) == []


def test_good_runtimes() -> None:
    mine = runtime()
    other = changed(runtime("other"), "spec.protocolVersions", ["grpc-v1"])
    assert runtime_rejections([mine, other, runtime("local", "ServingRuntime")]) == []
    assert runtime_rejections([mine, changed(runtime("other"), "spec.disabled", True)]) == []
    assert runtime_rejections([mine, runtime("other", priority=3)]) == []


@pytest.mark.parametrize(
    ("runtimes", "why"),
    [
        ([changed(runtime(), "spec.supportedModelFormats.0.priority", 5)], "different priorities"),
        ([runtime(), runtime("other")], "the same priority for mlflow"),
        ([runtime(priority=1)], "kserve-mlserver: the same priority for mlflow"),
        ([changed(runtime(), "spec.containers.0.env", [{"name": "PYTHONPATH"}])], "PYTHONPATH"),
    ],
    ids=["two priorities", "two runtimes", "as the built-in", "PYTHONPATH"],
)
def test_bad_runtimes(runtimes: list[Document], why: str) -> None:
    assert any(why in problem for problem in runtime_rejections(runtimes))


HARMLESS = {
    **{name: GOOD[name] for name in ("hpa", "Knative rps", "Knative zero", "Knative HPA", "strategy")},
    "own variable": custom(env=[{"name": "MODEL_URI", "value": "models:/fraud/3"}]),
    "keda": scaled(KEDA, EXTERNAL),
    "blob": changed(service(), P + "model.storageUri", "https://a.blob.core.windows.net/b/c"),
    "canary": canary(),
}


@pytest.mark.parametrize("document", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_does_as_it_says(document: Document) -> None:
    assert ignored(document) == []


SILENT = {
    "no mode": (changed(service(), "metadata.annotations", {}), "is missing: the cluster's"),
    "old mode": (service("RawDeployment"), "old name"),
    "odd mode": (service("standard"), "is unknown"),
    "Knative's own annotation": (
        changed(service("Knative"), "metadata.annotations[autoscaling.knative.dev/min-scale]", "1"),
        "is dropped",
    ),
    "metric type": (service(scaleMetricType="Utilization"), "nothing reads it"),
    "no protocol": (changed(service(), P + "model.protocolVersion", GONE), "means v1"),
    "batcher with v2": (service(batcher={"maxBatchSize": 8}), "V1 requests only"),
    "unnamed containers": (changed(custom(), P + "containers", [{"name": "a"}, {"name": "b"}]), "none is called"),
    "sidecar first": (
        changed(custom(), P + "containers", [{"name": "a"}, {"name": "kserve-container"}]),
        "a is overwritten",
    ),
    "canaryTrafficPercent": (service(canaryTrafficPercent=20), "canaryTrafficPercent: Knative only"),
    "containerConcurrency": (service(containerConcurrency=1), "containerConcurrency: Knative only"),
    "scraping": (service(annotations={"serving.kserve.io/enable-prometheus-scraping": "true"}), "9091"),
    "HPA and zero": (service(minReplicas=0), "0 becomes 1"),
    "rps with an HPA": (service(scaleMetric="rps"), "no metric"),
    "memory with no target": (service(scaleMetric="memory"), "no metric"),
    "both ways of scaling": (noted(HPA, scaleMetric="cpu", autoScaling={"metrics": [CPU]}), "autoScaling replaces it"),
    "HPA behavior": (
        noted(HPA, autoScaling={"behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}}}),
        "made without it",
    ),
    "HPA skips": (scaled({"serving.kserve.io/deploymentMode": "Standard"}, EXTERNAL), "skipped by the HPA"),
    "none": (noted({**HPA, "serving.kserve.io/autoscalerClass": "none"}), "maxReplicas: the autoscaler class is none"),
    "external": (
        noted({**HPA, "serving.kserve.io/autoscalerClass": "external"}, scaleTarget=5),
        "scaleTarget: the autoscaler class is external",
    ),
    "external and a number": (
        noted({**HPA, "serving.kserve.io/autoscalerClass": "external"}),
        "minReplicas: the autoscaler class is external",
    ),
    "KEDA target": (noted(KEDA, scaleTarget=5, autoScaling={"metrics": [CPU]}), "KEDA reads autoScaling only"),
    "KEDA with nothing": (noted(KEDA), "no trigger"),
    "KEDA with no address": (metric(EXTERNAL, "external.metric.serverAddress", GONE), "no serverAddress"),
    "KEDA behavior": (
        noted(KEDA, autoScaling={"metrics": [CPU], "behavior": {"scaleUp": {"policies": []}}}),
        "only stabilizationWindowSeconds",
    ),
    "Knative autoScaling": (scaled(KNATIVE, CPU), "autoScaling: Standard only"),
    "Knative strategy": (
        noted(KNATIVE_HPA, deploymentStrategy={"type": "Recreate"}),
        "deploymentStrategy: Standard only",
    ),
    "canary of another make": (canary(containers=[{"name": "kserve-container"}]), "keeps the stable one's model"),
    "canary with a model over a container": (
        changed(changed(canary(), P + "model", GONE), P + "containers", [{"name": "kserve-container"}]),
        "keeps the stable one's containers",
    ),
    "canary with another name": (changed(canary(), "spec.canary.0.predictor.model.name", "v4"), "names the container"),
    "canary with a logger": (changed(canary(), P + "logger", {"mode": "all"}), "past the logger"),
    "canary with storageUris": (canary(storageUris=[]), "not fetched"),
    "canary with KEDA": (changed(canary(), "metadata.annotations", KEDA), "with the class keda"),
}


@pytest.mark.parametrize(("document", "what"), SILENT.values(), ids=SILENT.keys())
def test_what_is_silently_ignored(document: Document, what: str) -> None:
    assert any(what in problem for problem in ignored(document)), ignored(document)


def test_storage_containers() -> None:
    good = storage_container()
    assert container_ignored(good) == []
    assert fetches(good, "models:/fraud/3")
    assert not fetches(good, "s3://a/b")
    assert not fetches(changed(good, "disabled", True), "models:/fraud/3")
    assert not fetches(changed(good, "spec.workloadType", "localModelDownloadJob"), "models:/fraud/3")
    assert fetches(changed(good, "spec.supportedUriFormats", [{"regex": "^mlflow"}]), "mlflow-artifacts:/a")
    for path, value, what in (
        ("spec.container.name", "fetch", "storage-initializer"),
        ("spec.container.args", ["a"], "replace"),
        ("spec.supportedUriFormats.0.regex", "x", "not looked at"),
        ("spec.supportedUriFormats.0", {}, "matches nothing"),
    ):
        assert what in container_ignored(changed(good, path, value))[0]


FIT = changed(
    changed(service("Knative"), P + "automountServiceAccountToken", False),
    P + "model.livenessProbe",
    {"exec": {"command": ["a"]}},
)


def test_what_knative_admits() -> None:
    assert knative.refusals(FIT) == []
    assert knative.refusals(changed(FIT, P + "nodeSelector", {"a": "b"}), frozenset({"nodeSelector"})) == []
    volumes = changed(FIT, P + "volumes", [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "b"}}])
    mounts = [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b", "readOnly": True}]
    assert knative.refusals(changed(volumes, P + "model.volumeMounts", mounts)) == []


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("nodeSelector", {"a": "b"}, "nodeSelector needs a feature flag"),
        ("securityContext", {"fsGroup": 1}, "securityContext needs a feature flag"),
        ("terminationGracePeriodSeconds", 60, "terminationGracePeriodSeconds is not allowed"),
        ("automountServiceAccountToken", True, "may only be false"),
        ("timeout", 601, "more than 600 s"),
        ("volumes", [{"name": "a", "emptyDir": {}}], "the volume a is not mounted"),
        (
            "volumes",
            [{"name": "a", "persistentVolumeClaim": {"claimName": "x"}}],
            "persistentVolumeClaim needs a feature flag",
        ),
        ("model.ports.1", {"containerPort": 8081}, "one port is allowed in all, found 2"),
        (
            "containers",
            [{"name": "side", "readinessProbe": {"exec": {}}}],
            "side: readinessProbe is allowed in the container",
        ),
        ("model.lifecycle", {"preStop": {"sleep": {"seconds": 5}}}, "model: lifecycle is not allowed"),
        ("model.securityContext", {"privileged": True}, "privileged"),
        ("model.env.0", {"name": "PORT", "value": "1"}, "PORT is Knative's"),
        ("model.env.0.valueFrom", {"fieldRef": {"fieldPath": "metadata.name"}}, "fieldRef needs a feature flag"),
        ("model.ports.0.name", "http", "h2c and http1"),
        ("model.ports.0.protocol", "UDP", "TCP is allowed"),
        ("model.ports.0.containerPort", 9091, "9091 is Knative's"),
        ("model.ports.0.hostPort", 1, "hostPort is not allowed"),
        ("model.readinessProbe.exec", {}, "exactly one of"),
        ("model.readinessProbe.httpGet.port", "metrics", "is not the container's"),
        ("model.readinessProbe", {"exec": {}, "periodSeconds": 0, "timeoutSeconds": 1}, "when periodSeconds is 0"),
        ("model.volumeMounts", [{"name": "a", "mountPath": "/a"}], "has no volume"),
        ("model.volumeMounts", [{"name": "a", "mountPath": "/dev/"}], "is reserved"),
        ("model.volumeMounts", [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/a/"}], "mounted twice"),
    ],
    ids=lambda part: part if isinstance(part, str) and "." not in part[6:] else "",
)
def test_what_knative_refuses(path: str, value: Any, why: str) -> None:
    assert any(why in problem for problem in knative.refusals(changed(FIT, P + path, value)))


def test_a_secret_is_mounted_read_only() -> None:
    document = changed(FIT, P + "volumes", [{"name": "a", "secret": {"secretName": "x"}}])
    document = changed(document, P + "model.volumeMounts", [{"name": "a", "mountPath": "/a"}])
    assert knative.refusals(document) == ["model: the mount a must be read-only"]


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), ("500m", 0.5), ("2Gi", 2**31), ("1.5k", 1500), ("1M", 1e6), (2, 2)], ids=str
)
def test_quantities(text: object, number: float) -> None:
    assert amount(text) == number
    assert amount("1 Gi") != amount("1 Gi")


def test_one_of_several_containers_has_the_port() -> None:
    portless = changed(changed(FIT, P + "containers", [{"name": "side"}]), P + "model.ports", GONE)
    assert knative.refusals(portless) == [
        "with several containers one needs the port",
        "model: livenessProbe is allowed in the container with the port only",
        "model: readinessProbe is allowed in the container with the port only",
    ]
