"""What the schema of a document's kind says of it: KServe's, Kubernetes' own and those of other projects.

KServe's kinds are held against its CRDs, and against the models of its SDK where these are not at hand: they know the
names and types of fields, not which are required or what they may hold.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema
from referencing import Registry, Resource

from generator.crds import Crds
from generator.structural import METADATA, Schema, SchemaProblem, walk
from tests.generator.others import SCHEMAS

KUBERNETES = "v1.34.0-local-strict"
KSERVE = "serving.kserve.io/"


def schema_problems(document: Mapping[str, Any], crds: Crds | None) -> list[str]:
    """Everything that the API server would refuse about the document's form."""
    version, kind = document.get("apiVersion", ""), document.get("kind", "")
    if crds is not None and crds.knows(document):
        return [str(problem) for problem in crds.problems(document)]
    if version.startswith(KSERVE):
        schema = sdk_schema(version.removeprefix(KSERVE), kind)
    elif (version, kind) in SCHEMAS:
        schema = SCHEMAS[version, kind]
    else:
        return core_problems(document)
    if schema is None:
        return [f"kind: KServe has no {kind} in {version}"]
    problems = list(walk({**schema, "properties": {**schema["properties"], "metadata": METADATA}}, document, "", True))
    return [str(problem) for problem in problems]


def core_problems(document: Mapping[str, Any]) -> list[str]:
    validator = _core(str(document.get("kind")).lower(), re.sub(r"\.[^/]*/|/", "-", str(document.get("apiVersion"))))
    if validator is None:
        return [f"kind: nothing is known of {document.get('kind')} in {document.get('apiVersion')}"]
    return [
        str(SchemaProblem(".".join(map(str, error.absolute_path)), error.message.replace("\n", " ")[:300]))
        for error in validator.iter_errors(document)
    ]


@cache
def _core(kind: str, version: str) -> Any:
    """The validator of a kind of Kubernetes; kubernetes-validate's own entry reads its files anew for each document."""
    schema = _file(f"{kind}-{version}")
    if schema is None:
        return None
    registry: Any = Resource.from_contents(schema) @ Registry()
    registry = _definitions() @ registry
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions() -> Any:
    return Resource.from_contents(_file("_definitions"))


def _file(name: str) -> Any:
    file = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema" / KUBERNETES / f"{name}.json"
    return json.loads(file.read_text()) if file.is_file() else None


@cache
def sdk_schema(version: str, kind: str) -> Schema | None:
    """The structural schema that the SDK's model of a kind amounts to."""
    from kserve import models

    model = getattr(models, f"{version.capitalize()}{kind}", None)
    return None if model is None else _of_model(model)


def _of_model(model: Any) -> dict[str, Any]:
    properties = {model.attribute_map[name]: _of_type(kind, name) for name, kind in model.openapi_types.items()}
    return {"type": "object", "properties": properties}


@cache
def _of_type(kind: str, field: str) -> Schema:
    from kserve import models
    from kubernetes.client import models as core

    plain = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "datetime": "string"}
    if field in {"limits", "requests"}:
        return {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}}
    if kind in plain:
        return {"type": plain[kind]}
    if match := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        return {"type": "array", "items": _of_type(match[1], "")}
    if match := re.fullmatch(r"dict\(str, (.+)\)|Dict\[str, (.+)\]", kind):
        return {"type": "object", "additionalProperties": _of_type(match[1] or match[2], "")}
    name = re.sub(r"^K8sIoApi[A-Za-z]+(?=V\d)", "", kind)
    model = getattr(models, name, None) or getattr(core, name, None)
    return {"x-kubernetes-preserve-unknown-fields": True} if model is None else _of_model(model)
