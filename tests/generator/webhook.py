"""What KServe 0.21's admission webhooks refuse once the schema is good, written from their source.

`rejections` is the webhook of InferenceServices, `update_rejections` what it says to a change, `runtime_rejections`
that of ServingRuntimes and ClusterServingRuntimes, which sees all runtimes of a scope. ClusterStorageContainers have
none. Left out: multi-node (`workerSpec`), confidential models, the storage specs of the old framework fields.

The mutating webhook sets, before any of this: `deploymentMode` from the cluster's configuration when it is not
Knative there and the annotation is missing; Standard and Knative for RawDeployment and Serverless; the name
kserve-container when a custom predictor has one container; `protocolVersion: v2` for the formats triton and vLLM only
(for mlflow a missing one means v1); the annotation `modelFormat`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.generator.services import (
    AUTOSCALER,
    COLLOCATED,
    FRAMEWORKS,
    KNATIVE_CLASS,
    KNATIVE_HPA,
    MAIN,
    MODE,
    Document,
    amount,
    annotations_of,
    implementations,
    mode_of,
    predictors,
    storage_uri,
)

# KServe's runtime that takes mlflow as well.
BUILT_IN: Document = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "ClusterServingRuntime",
    "metadata": {"name": "kserve-mlserver"},
    "spec": {
        "supportedModelFormats": [
            {"name": "mlflow", "version": version, "autoSelect": True, "priority": 1} for version in ("1", "2")
        ],
        "protocolVersions": ["v2"],
        "containers": [{"name": MAIN, "image": "mlserver"}],
    },
}


def rejections(service: Document) -> list[str]:
    """Why the admission webhook refuses the InferenceService."""
    return list(_rejections(service))


def _rejections(service: Document) -> Iterator[str]:
    name, spec = service["metadata"].get("name", ""), service.get("spec", {})
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield f"metadata.name: {name!r} must be lower case letters, digits and -, beginning with a letter"
    autoscaler = annotations_of(service).get(AUTOSCALER)
    if autoscaler is not None and autoscaler not in {"hpa", "keda", "external", "none"}:
        yield f"{AUTOSCALER}: {autoscaler!r} is not a supported autoscaler class"
    for component in ("predictor", "transformer", "explainer"):
        if spec.get(component) is not None:
            for problem in _component(service, spec[component], component):
                yield f"spec.{component}: {problem}"
    if "predictor" not in spec:
        yield "spec.predictor: missing"
    yield from _canaries(service)


def _component(service: Document, component: Document, kind: str) -> Iterator[str]:
    declared = implementations(component)
    if kind == "predictor":
        yield from _blocked(component)
        for name in (*FRAMEWORKS, "model"):
            if (component.get(name) or {}).get("name"):
                yield f"{name}.name is not allowed"
        for container in component.get("containers") or ():
            if container.get("name") == COLLOCATED and "STORAGE_URI" in _variables(container):
                yield f"STORAGE_URI is not allowed in {COLLOCATED}"
    yield from _storage_uris(component)
    if len(declared) != 1:
        yield f"exactly one implementation is expected, found {len(declared)}"
    yield from _implementation(component)
    yield from _extension(component)
    yield from _scaling(annotations_of(service), component)


def _blocked(component: Document) -> Iterator[str]:
    served = next(([component[name]] for name in ("model", *FRAMEWORKS) if component.get(name) is not None), [])
    for container in [*(component.get("containers") or ()), *(component.get("initContainers") or ()), *served]:
        if "PYTHONPATH" in _variables(container):
            yield "the variable PYTHONPATH is not allowed"


def _variables(container: Document) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env") or ()}


def _storage_uris(component: Document) -> Iterator[str]:
    if "storageUris" not in component:
        return
    if storage_uri(component) is not None:
        yield "storageUri and storageUris exclude each other"
    places = [(str(entry.get("uri", "")), entry.get("mountPath", "/mnt/models")) for entry in component["storageUris"]]
    for uri, path in places:
        if not uri:
            yield "storageUris: a uri is empty"
        if not path.startswith("/") or path == "/" or ".." in path:
            yield f"storageUris: {path!r} must be an absolute path below / with no .."
    fetched = [path for uri, path in places if not uri.startswith("pvc://")]
    if len(fetched) > 1:
        mounted = [path for uri, path in places if uri.startswith("pvc://")]
        if len({path.lstrip("/").split("/")[0] for path in fetched}) > 1:
            yield "storageUris: the paths have no parent folder in common"
        if len(set(mounted)) < len(mounted):
            yield "storageUris: two volumes have the same path"


def _implementation(component: Document) -> Iterator[str]:
    containers = component.get("containers") or ()
    if containers and not any(component.get(name) is not None for name in (*FRAMEWORKS, "model")):
        protocol = _variables(containers[0]).get("PROTOCOL")
        if protocol is not None and protocol not in {"v1", "v2"}:
            yield f"the variable PROTOCOL is {protocol!r}; v1 and v2 are allowed"


def _extension(component: Document) -> Iterator[str]:
    low, high = component.get("minReplicas", 1), component.get("maxReplicas", 0)
    if component.get("containerConcurrency", 0) < 0:
        yield "containerConcurrency is less than 0"
    if low < 0:
        yield "minReplicas is less than 0"
    if high < 0:
        yield "maxReplicas is less than 0"
    elif low > high != 0:
        yield f"minReplicas ({low}) is more than maxReplicas ({high})"
    logger = component.get("logger")
    if logger is not None:
        if logger.get("mode") not in {"all", "request", "response"}:
            yield "logger.mode must be all, request or response"
        storage = logger.get("storage")
        if storage is not None and not {"path", "parameters", "key"} <= storage.keys():
            yield "logger.storage needs path, parameters and key"


def _scaling(notes: Document, component: Document) -> Iterator[str]:
    if notes.get(MODE) in {"Standard", "RawDeployment"}:
        # With no class the controller takes hpa, but the webhook does not look.
        match notes.get(AUTOSCALER):
            case "hpa":
                yield from _hpa(component)
            case "keda":
                yield from _keda(component)
    elif notes.get(KNATIVE_CLASS) == KNATIVE_HPA:
        yield from _hpa(component)
    else:
        metric, target = component.get("scaleMetric", "concurrency"), component.get("scaleTarget")
        if "deploymentStrategy" in component:
            yield "deploymentStrategy is for Standard only"
        if metric not in {"concurrency", "rps"}:
            yield f"scaleMetric {metric} is not supported in Knative"
        if metric == "rps" and target is not None and target < 1:
            yield "scaleTarget of rps is less than 1"


def _hpa(component: Document) -> Iterator[str]:
    metric, target = component.get("scaleMetric", "cpu"), component.get("scaleTarget")
    if metric not in {"cpu", "memory"}:
        yield f"scaleMetric {metric} is not supported by the HPA"
    # The upper bound holds for memory as well.
    if target is not None and not 1 <= target <= 100:
        yield f"scaleTarget is {target}; 1 to 100 are allowed"
    for entry in component.get("autoScaling", {}).get("metrics") or ():
        if entry.get("type") != "Resource":
            yield f"autoScaling: the HPA knows metrics of type Resource only, found {entry.get('type')}"
        elif entry.get("resource") is None:
            yield "autoScaling: resource is missing"


def _keda(component: Document) -> Iterator[str]:
    if "scaleMetric" in component:
        yield "scaleMetric is not supported with KEDA"
    for entry in component.get("autoScaling", {}).get("metrics") or ():
        for problem in _keda_metric(entry):
            yield f"autoScaling: {problem}"


def _keda_metric(entry: Document) -> Iterator[str]:
    kind = str(entry.get("type"))
    source = entry.get(kind.lower())
    if kind not in {"Resource", "External", "PodMetric"}:
        yield f"unknown type of metric {kind}"
        return
    if source is None:
        yield f"{kind.lower()} is missing"
        return
    target = source.get("target", {})
    if kind == "Resource":
        allowed = {"cpu": {"Utilization"}, "memory": {"Utilization", "AverageValue"}}.get(source.get("name"), set())
        if target.get("type") not in allowed:
            yield f"a target of type {target.get('type')} is not supported for {source.get('name')}"
        elif target["type"] == "AverageValue" and not amount(target.get("averageValue")) >= 2**20:
            yield "the memory is less than 1 MiB"
    else:
        if not source.get("metric", {}).get("query"):
            yield "the query is empty"
        if target.get("value") is None:
            yield "target.value is missing"
    if target.get("type") == "Utilization" and not 1 <= target.get("averageUtilization", 0) <= 100:
        yield "averageUtilization must be 1 to 100"
    for name, field in (("AverageValue", "averageValue"), ("Value", "value")):
        if target.get("type") == name and target.get(field) is None and f"target.{field}" != "target.value":
            yield f"target.{field} is missing"


def _canaries(service: Document) -> Iterator[str]:
    stable, *others = predictors(service)
    if not others:
        return
    if mode_of(service) != "Standard":
        yield "spec.canary: only Standard supports it"
    if storage_uri(stable) is None and stable.get("model") is None:
        yield "spec.canary: the stable predictor needs a model, or STORAGE_URI in its container"
    seen: set[str] = set()
    for index, (entry, predictor) in enumerate(zip(service["spec"]["canary"], others, strict=True)):
        place = f"spec.canary[{index}]"
        name = predictor.get("name", "")
        if not name:
            yield f"{place}: predictor.name is missing"
        elif name in seen:
            yield f"{place}: predictor.name {name!r} is there twice"
        elif name == stable.get("name"):
            yield f"{place}: predictor.name {name!r} is the stable one's"
        seen.add(name)
        if not 0 <= entry.get("trafficPercent", 0) <= 100:
            yield f"{place}: trafficPercent must be 0 to 100"
        if (count := len(implementations(predictor))) != 1:
            yield f"{place}: exactly one implementation is expected, found {count}"
        for problem in (*_implementation(predictor), *_extension(predictor)):
            yield f"{place}: {problem}"
        for field in ("scaleTarget", "scaleMetric", "autoScaling", "workerSpec"):
            if field in predictor:
                yield f"{place}: {field} is not allowed"
        if predictor.get("maxReplicas", 0) > 0:
            yield f"{place}: maxReplicas is not allowed"
        if predictor.get("minReplicas", 0) > stable.get("minReplicas", 1):
            yield f"{place}: minReplicas is more than the stable predictor's"
    if (total := sum(entry.get("trafficPercent", 0) for entry in service["spec"]["canary"])) > 100:
        yield f"spec.canary: the percentages add up to {total}"


def update_rejections(before: Document, after: Document) -> list[str]:
    """Why the webhook refuses this change of an InferenceService that has been reconciled."""
    reasons = []
    if MODE in annotations_of(after) and mode_of(before) != mode_of(after):
        reasons.append(f"{MODE} cannot be changed from {mode_of(before)} to {mode_of(after)}")
    old, new = before["spec"]["predictor"], after["spec"]["predictor"]
    if old.get("name") != new.get("name") and storage_uri(old) == storage_uri(new):
        reasons.append("spec.predictor: name changes and the model does not")
    return [*reasons, *rejections(after)]


def runtime_rejections(runtimes: Sequence[Document]) -> list[str]:
    """Why the webhook refuses one of these runtimes, KServe's own for mlflow beside them."""
    reasons = []
    enabled = [runtime for runtime in runtimes if not runtime["spec"].get("disabled")]
    for runtime in enabled:
        spec, name = runtime["spec"], runtime["metadata"]["name"]
        priorities: dict[str, set[int]] = {}
        for entry in _automatic(spec):
            if "priority" in entry:
                priorities.setdefault(entry["name"], set()).add(entry["priority"])
        reasons += [f"{name}: {each} has different priorities" for each, kinds in priorities.items() if len(kinds) > 1]
        if any("PYTHONPATH" in _variables(container) for container in spec.get("containers") or ()):
            reasons.append(f"{name}: the variable PYTHONPATH is not allowed")
    everything = [*enabled, BUILT_IN]
    for index, one in enumerate(everything):
        for other in everything[index + 1 :]:
            if _scope(one) == _scope(other) and one["metadata"]["name"] != other["metadata"]["name"]:
                reasons += [
                    f"{one['metadata']['name']} and {other['metadata']['name']}: the same priority for {name}"
                    for name in sorted(_clashes(one["spec"], other["spec"]))
                ]
    return reasons


def _automatic(spec: Document) -> list[Document]:
    return [entry for entry in spec.get("supportedModelFormats") or () if entry.get("autoSelect")]


def _scope(runtime: Document) -> tuple[str, str]:
    return runtime["kind"], runtime["metadata"].get("namespace", "")


def _clashes(one: Document, other: Document) -> set[str]:
    if bool(one.get("multiModel")) != bool(other.get("multiModel")):
        return set()
    if not set(one.get("protocolVersions") or ()) & set(other.get("protocolVersions") or ()):
        return set()
    keys = [
        {
            (entry["name"].lower(), entry.get("version"), entry["priority"])
            for entry in _automatic(spec)
            if "priority" in entry
        }
        for spec in (one, other)
    ]
    return {name for name, _, _ in keys[0] & keys[1]}
