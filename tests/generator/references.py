"""Whether what the documents name is there: among the documents, or outside of them and then listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.generator.controller import fetches
from tests.generator.names import namespace, title
from tests.generator.pods import RenderedPod, pods
from tests.generator.services import AUTOSCALER, SCHEMES, Document, annotations_of, mode_of, predictors, storage_uri


@dataclass(frozen=True)
class Reference:
    """A document names another one, and a key in it when it is a Secret or ConfigMap."""

    by: str
    kind: str
    namespace: str
    name: str
    key: str | None = None

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


def reference_problems(documents: Sequence[Document]) -> tuple[list[str], list[str]]:
    """What is named wrongly, and what has to be there besides the documents."""
    present = {(d["kind"], namespace(d), d["metadata"].get("name", "")): d for d in documents}
    problems, outside = [], set()
    for reference in references(documents):
        target = present.get((reference.kind, reference.namespace, reference.name))
        if target is None:
            outside.add(str(reference))
        elif reference.key is not None and reference.key not in {
            *(target.get("data") or {}),
            *(target.get("stringData") or {}),
            *(target.get("binaryData") or {}),
        }:
            problems.append(f"{reference.by}: {reference} has no key {reference.key}")
    problems += _selectors(documents, outside)
    problems += _scalers(documents)
    for document in documents:
        if document["kind"] == "InferenceService":
            for predictor in predictors(document):
                uri = storage_uri(predictor)
                containers = [d for d in documents if d["kind"] == "ClusterStorageContainer"]
                if uri and not _built_in(uri) and not any(fetches(container, uri) for container in containers):
                    outside.add(f"ClusterStorageContainer for {uri.split('/')[0]}/")
    return problems, sorted(outside)


def _built_in(uri: str) -> bool:
    return uri.startswith((*SCHEMES, "/")) or ".blob.core.windows.net/" in uri


def references(documents: Sequence[Document]) -> Iterator[Reference]:
    for pod in pods(documents):
        if pod.namespace:
            yield from _of_pod(pod)
    for document in documents:
        yield from _of_document(document)


def _of_pod(pod: RenderedPod) -> Iterator[Reference]:
    spec, by, where = pod.spec, pod.owner, pod.namespace
    if account := spec.get("serviceAccountName"):
        yield Reference(by, "ServiceAccount", where, account)
    for entry in spec.get("imagePullSecrets") or ():
        yield Reference(by, "Secret", where, entry["name"])
    if spec.get("priorityClassName"):
        yield Reference(by, "PriorityClass", "", spec["priorityClassName"])
    for volume in spec.get("volumes") or ():
        yield from _of_volume(by, where, volume)
        for source in (volume.get("projected") or {}).get("sources") or ():
            for kind, key in (("Secret", "secret"), ("ConfigMap", "configMap")):
                if key in source:
                    yield Reference(by, kind, where, source[key]["name"])
    for container in (*pod.containers, *(spec.get("initContainers") or ())):
        for entry in container.get("env") or ():
            source = entry.get("valueFrom") or {}
            for kind, key in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
                if key in source and not source[key].get("optional"):
                    yield Reference(by, kind, where, source[key]["name"], source[key]["key"])
        for entry in container.get("envFrom") or ():
            for kind, key in (("Secret", "secretRef"), ("ConfigMap", "configMapRef")):
                if key in entry and not entry[key].get("optional"):
                    yield Reference(by, kind, where, entry[key]["name"])


def _of_volume(by: str, where: str, volume: Document) -> Iterator[Reference]:
    for kind, key, name in (
        ("Secret", "secret", "secretName"),
        ("ConfigMap", "configMap", "name"),
        ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
    ):
        source = volume.get(key)
        if source is None or source.get("optional"):
            continue
        yield Reference(by, kind, where, source[name])
        for item in source.get("items") or ():
            yield Reference(by, kind, where, source[name], item["key"])


def _of_document(document: Document) -> Iterator[Reference]:
    kind, spec, where, by = document["kind"], document.get("spec") or {}, namespace(document), title(document)
    if kind == "InferenceService":
        for predictor in predictors(document):
            uri = storage_uri(predictor) or ""
            if uri.startswith("pvc://"):
                yield Reference(by, "PersistentVolumeClaim", where, uri.removeprefix("pvc://").split("/")[0])
            if name := predictor.get("storageContainerName"):
                yield Reference(by, "ClusterStorageContainer", "", name)
    elif kind in {"RoleBinding", "ClusterRoleBinding"}:
        role = document["roleRef"]
        yield Reference(by, role["kind"], where if role["kind"] == "Role" else "", role["name"])
        for subject in document.get("subjects") or ():
            if subject["kind"] == "ServiceAccount":
                yield Reference(by, "ServiceAccount", subject.get("namespace", where), subject["name"])
    elif kind == "ScaledObject":
        for trigger in spec.get("triggers") or ():
            if reference := trigger.get("authenticationRef"):
                yield Reference(by, reference.get("kind", "TriggerAuthentication"), where, reference["name"])
    elif kind == "HTTPRoute":
        for parent in spec.get("parentRefs") or ():
            yield Reference(by, parent.get("kind", "Gateway"), parent.get("namespace", where), parent["name"])


def _runtimes(documents: Sequence[Document]) -> Iterator[tuple[str, str, str]]:
    for document in documents:
        if document["kind"] == "InferenceService":
            for predictor in predictors(document):
                if runtime := (predictor.get("model") or {}).get("runtime"):
                    yield title(document), namespace(document), runtime


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for entry in selector.get("matchExpressions") or ():
        has, value = entry["key"] in labels, labels.get(entry["key"])
        good = {
            "In": value in (entry.get("values") or ()),
            "NotIn": value not in (entry.get("values") or ()),
            "Exists": has,
            "DoesNotExist": not has,
        }
        if not good[entry["operator"]]:
            return False
    return True


def _selectors(documents: Sequence[Document], outside: set[str]) -> list[str]:
    problems = []
    everything = [pod for pod in pods(documents) if pod.labels and pod.namespace]
    for document in documents:
        kind, spec = document["kind"], document.get("spec") or {}
        where = {"NetworkPolicy": "podSelector", "Service": None}.get(kind, "selector")
        if kind not in {
            *("NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "ServiceMonitor", "Service"),
            *("AuthorizationPolicy", "RequestAuthentication"),
        }:
            continue
        selector = spec.get(where) if where else {"matchLabels": spec.get("selector") or {}}
        chosen = [pod for pod in everything if matches(selector or {}, pod.labels) and _sees(document, pod)]
        if not chosen and everything:
            problems.append(f"{title(document)}: its selector takes none of the pods")
        elif not chosen:
            outside.add(f"pods for {title(document)}")
        problems += [f"{title(document)}: {problem}" for problem in _ports(kind, spec, chosen)]
    for by, where, runtime in _runtimes(documents):
        kinds = {(d["kind"], namespace(d)) for d in documents if d["metadata"].get("name") == runtime}
        if not kinds & {("ServingRuntime", where), ("ClusterServingRuntime", "")}:
            outside.add(f"ServingRuntime or ClusterServingRuntime {runtime} for {by}")
    return problems


def _sees(document: Document, pod: RenderedPod) -> bool:
    chosen = (document.get("spec") or {}).get("namespaceSelector") or {}
    if "matchNames" in chosen:
        return pod.namespace in chosen["matchNames"]
    return bool(chosen.get("any")) or pod.namespace == namespace(document)


def _ports(kind: str, spec: Document, chosen: list[RenderedPod]) -> Iterator[str]:
    known: dict[str, int] = {name: number for pod in chosen for name, number in pod.ports.items()}
    if not chosen:
        return
    if kind == "PodMonitor":
        for endpoint in spec.get("podMetricsEndpoints") or ():
            if "port" in endpoint and endpoint["port"] not in known:
                yield f"the port {endpoint['port']} is none of the pods' ({', '.join(sorted(known))})"
            if "portNumber" in endpoint and endpoint["portNumber"] not in known.values():
                yield f"the port {endpoint['portNumber']} is none of the pods'"
    if kind == "NetworkPolicy":
        for rule in spec.get("ingress") or ():
            for entry in rule.get("ports") or ():
                port = entry.get("port")
                if port is not None and port not in known and port not in known.values():
                    yield f"the port {port} is none of the pods'"
    if kind == "ServiceMonitor":
        for endpoint in spec.get("endpoints") or ():
            # KServe names the port of a Service as the container does, and as the Service when it does not.
            names = {*known, *(pod.labels.get("app", "").removeprefix("isvc.") for pod in chosen)}
            if "port" in endpoint and endpoint["port"] not in names:
                yield f"the port {endpoint['port']} is none of the Services'"


def _scalers(documents: Sequence[Document]) -> Iterator[str]:
    """A scaler of one's own needs KServe to keep its hands off, and a target that KServe makes."""
    services = {namespace(d) + "/" + d["metadata"]["name"]: d for d in documents if d["kind"] == "InferenceService"}
    services_by_deployment = {}
    for place, service in services.items():
        stable = predictors(service)[0]
        name = f"{place}-{stable['name']}-predictor" if stable.get("name") else f"{place}-predictor"
        services_by_deployment[name] = service
    for document in documents:
        if document["kind"] in {"ScaledObject", "HorizontalPodAutoscaler"} and services:
            target = document["spec"]["scaleTargetRef"]
            scaled = services_by_deployment.get(f"{namespace(document)}/{target['name']}")
            if scaled is None:
                yield f"{title(document)}: KServe makes no Deployment {target['name']}"
            elif mode_of(scaled) != "Standard" or annotations_of(scaled).get(AUTOSCALER) != "external":
                yield f"{title(document)}: KServe scales {target['name']} as well; {AUTOSCALER} must be external"
