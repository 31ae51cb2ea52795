"""A revision as the objects of a cluster: what the generator renders, with labels that say whose it is. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from controlplane.backends.backend import FoundServe, Key
from controlplane.backends.kserve.kinds import CLAIM, CONFIG_MAP, INFERENCE_SERVICE, Resource
from controlplane.domain.problems import FieldProblem
from controlplane.domain.revisions import Content
from generator import SpecError, compare, render

ENVIRONMENT, SERVE = "mlflow-kserve/environment", "mlflow-kserve/serve"
REVISION, DIGEST = "mlflow-kserve/revision", "mlflow-kserve/digest"
"""Of an object: the revision that it is of. Of a pod: the revision that it was started for."""
DIGEST_LENGTH = 40  # of 64 hexadecimal digits; a label has room for 63
CONTENT = "content.json"


def problems(serve: str, content: Content) -> Iterator[FieldProblem]:
    """Why the content cannot be rendered."""
    try:
        rendered(serve, content)
    except SpecError as error:
        for problem in error.problems:
            field = "model_uri" if problem.where == "model" else f"spec.{problem.where}"
            yield FieldProblem(field, problem.message)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            path = ".".join(str(part) for part in each["loc"])
            yield FieldProblem(f"spec.{path}", str(each.get("ctx", {}).get("error", each["msg"])))


def rendered(serve: str, content: Content) -> list[Resource]:
    """The manifests as the generator makes them, for a cluster that anybody applies them to."""
    return render(content.serve_spec(serve), content.facts())


def manifests(key: Key, revision: int, content: Content, pods_of: Mapping[str, str] | None = None) -> list[Resource]:
    """The objects of a revision, in the order in which they are applied.

    KServe copies the labels of an InferenceService to its pods, and a label that changes would replace them. Pods
    therefore keep the labels `pods_of` of an earlier revision, if nothing else of them changes.
    """
    own = own_labels(revision, content)
    labels = {ENVIRONMENT: key.env, SERVE: key.serve, **own}
    resources = [labelled(each, labels) for each in rendered(key.serve, content)]
    for each in resources:
        if each["kind"] == INFERENCE_SERVICE.kind:
            predictor = each["spec"]["predictor"]
            each["spec"] = {
                **each["spec"],
                "predictor": {**predictor, "labels": {**predictor.get("labels", {}), **(pods_of or own)}},
            }
    return [*resources, labelled(record_of(key.serve, resources[0]["metadata"]["namespace"], content), labels)]


def own_labels(revision: int, content: Content) -> dict[str, str]:
    return {REVISION: str(revision), DIGEST: content.sha256[:DIGEST_LENGTH]}


def labelled(resource: Resource, labels: Mapping[str, str]) -> Resource:
    if resource["kind"] == CLAIM.kind:
        return resource
    about = resource["metadata"]
    return {**resource, "metadata": {**about, "labels": {**about.get("labels", {}), **labels}}}


def record_of(service: str, namespace: str, content: Content) -> Resource:
    """What a store that has lost everything knows the revision of an InferenceService by."""
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {"name": record_name(service), "namespace": namespace},
        "data": {CONTENT: json.dumps(content.as_json(), sort_keys=True, ensure_ascii=False)},
    }


def record_name(service: str) -> str:
    return f"{service}-mlflow-kserve"


def recorded(record: Mapping[str, Any]) -> FoundServe | None:
    """The revision that a record is of; None if it is not as it was written."""
    labels = record["metadata"].get("labels", {})
    try:
        content = Content.model_validate_json(record["data"][CONTENT])
        if not content.sha256.startswith(labels[DIGEST]):
            return None
        return FoundServe(Key(labels[ENVIRONMENT], labels[SERVE]), int(labels[REVISION]), content)
    except (KeyError, ValueError):
        return None


def pods_of(
    key: Key, revision: int, content: Content, live: Resource | None, record: Resource | None
) -> Mapping[str, str] | None:
    """The labels that pods keep, if the content changes nothing else of them."""
    labels = revision_labels(live)
    if live is None or labels is None:
        return None
    if live["metadata"]["labels"].get(REVISION) == str(revision):
        return labels  # that was decided before, by an apply that was cut off or is repeated
    before = recorded(record) if record else None
    if before is None or live["metadata"]["labels"].get(REVISION) != str(before.revision):
        return None
    changes = compare(rendered(key.serve, before.content), rendered(key.serve, content))
    return None if any(change.restarts for change in changes) else labels


def revision_labels(live: Mapping[str, Any] | None) -> dict[str, str] | None:
    """The labels of the pods that an InferenceService asks for."""
    labels = live["spec"]["predictor"].get("labels", {}) if live else {}
    return {name: labels[name] for name in (REVISION, DIGEST)} if REVISION in labels and DIGEST in labels else None
