"""Names, labels and annotations as Kubernetes takes them, and the names that KServe makes of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.generator.services import Document, mode_of, predictors

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(rf"{LABEL.pattern}(\.{LABEL.pattern})*")
STRICT = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
# The longest name, and its form; a CronJob's leaves room for what its jobs are called.
FORMS = {"Namespace": (LABEL, 63), "Service": (STRICT, 63), "CronJob": (SUBDOMAIN, 52), "Job": (SUBDOMAIN, 63)}
FREE = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
CLUSTER_SCOPED = {
    *("Namespace", "ClusterRole", "ClusterRoleBinding", "ClusterServingRuntime", "ClusterStorageContainer"),
    *("PriorityClass", "StorageClass", "PersistentVolume"),
}
MAX_ANNOTATIONS = 256 * 1024


def name_problems(documents: Sequence[Document]) -> list[str]:
    """What is wrong with the names of the documents, each on its own and side by side."""
    problems = []
    seen: dict[tuple[str, str, str, str], int] = {}
    for document in documents:
        problems += [f"{title(document)}: {problem}" for problem in _problems(document)]
        group = document["apiVersion"].rpartition("/")[0]
        identity = (group, document["kind"], namespace(document), document["metadata"].get("name", ""))
        seen[identity] = seen.get(identity, 0) + 1
    return problems + [
        f"{kind} {space}/{name} is there {count} times" for (_, kind, space, name), count in seen.items() if count > 1
    ]


def title(document: Document) -> str:
    return f"{document.get('kind')} {document.get('metadata', {}).get('name')}"


def namespace(document: Document) -> str:
    """The namespace that the document lands in; none for what belongs to the cluster."""
    if document["kind"] in CLUSTER_SCOPED:
        return ""
    return str(document["metadata"].get("namespace", "default"))


def _problems(document: Document) -> Iterator[str]:
    metadata, kind = document["metadata"], document["kind"]
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        yield "metadata.name is missing"
    elif kind in FREE:
        if "/" in name or "%" in name or name in {".", ".."}:
            yield f"metadata.name {name!r} holds / or %"
    else:
        form, longest = FORMS.get(kind, (SUBDOMAIN, 253))
        if not form.fullmatch(name) or len(name) > longest:
            yield f"metadata.name {name!r} is not a name of at most {longest} for a {kind}"
    if kind in CLUSTER_SCOPED and "namespace" in metadata:
        yield f"a {kind} has no namespace"
    space = metadata.get("namespace")
    if space is not None and (not LABEL.fullmatch(space) or len(space) > 63):
        yield f"metadata.namespace {space!r} is not a name"
    for path, tags in _tags(document, ""):
        yield from (f"{path}: {problem}" for problem in _tag_problems(path, tags))
    if kind == "InferenceService" and isinstance(name, str):
        yield from _derived_names(document, name)


def _derived_names(service: Document, name: str) -> Iterator[str]:
    """KServe's Deployments, Services and hosts are called after the predictor."""
    standard = mode_of(service) == "Standard"
    for predictor in predictors(service):
        own = f"{name}-{predictor['name']}" if predictor.get("name") and standard else name
        resource_name = f"{own}-predictor"
        if not LABEL.fullmatch(predictor.get("name", "a")):
            yield f"predictor.name {predictor['name']!r} is no part of a name"
        for what, text in (
            ("Service", resource_name),
            ("label app", f"isvc.{resource_name}"),
            ("host", f"{resource_name}-{namespace(service)}"),
        ):
            if len(text) > 63 and (standard or what == "Service"):
                yield f"the {what} that KServe makes, {text}, is longer than 63"


def _tags(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All labels, annotations and selectors in a document."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            place = f"{path}.{key}" if path else str(key)
            if key in {"labels", "annotations", "matchLabels"} and isinstance(part, Mapping):
                # The labels and annotations of alerts are Prometheus' own.
                if "rules[" not in path:
                    yield place, part
            else:
                yield from _tags(part, place)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _tags(part, f"{path}[{index}]")


def _tag_problems(path: str, tags: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tags.items():
        prefix, slash, name = str(key).rpartition("/")
        if slash and (not SUBDOMAIN.fullmatch(prefix) or len(prefix) > 253):
            yield f"{key!r} has a prefix that is no domain"
        if not QUALIFIED.fullmatch(name) or len(name) > 63:
            yield f"{key!r} is not a key of at most 63"
        if not isinstance(value, str):
            yield f"{key} is not a string"
        elif not path.endswith("annotations") and value and (not QUALIFIED.fullmatch(value) or len(value) > 63):
            yield f"{key}: {value!r} is not a value of a label"
    if sum(len(str(key)) + len(str(value)) for key, value in tags.items()) > MAX_ANNOTATIONS:
        yield "more than 256 KiB"
