"""The JSON Schema of spec files, for completion and checks in editors; the rules check more than a schema can."""

from __future__ import annotations

from typing import Any

from generator.spec import ServeSpec
from generator.specfile.overlay import ENVIRONMENTS

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PARTIAL = "Partial"
SCALING_LINE = {
    "type": "string",
    "description": "rules joined by 'or'",
    "examples": ["70% CPU", "70% CPU or 100 RPS per pod", "10 concurrent", "p95 below 500ms"],
}


def json_schema() -> dict[str, Any]:
    """The schema of a spec file, with its environments."""
    whole = simplified(ServeSpec.model_json_schema())
    definitions = whole.pop("$defs")
    definitions["Scaling"] = {"anyOf": [SCALING_LINE, definitions["Scaling"]]}
    definitions["Serve"] = whole
    partial = {f"{PARTIAL}{name}": partial_schema(content) for name, content in definitions.items()}
    spec = {"$ref": f"#/$defs/{PARTIAL}Serve"}
    environment = {
        "type": "object",
        "description": "differences in one environment",
        "additionalProperties": False,
        "properties": {
            "cluster": {
                "type": ["string", "null"],
                "description": "cluster of the environment: the context of kubectl",
            },
            "domain_suffix": {"type": ["string", "null"], "description": "short for exposure.domain_suffix"},
            "defaults": nullable({**spec, "description": "defaults, which the spec itself overrides"}),
            "overrides": nullable({**spec, "description": "values that override the spec itself"}),
            **partial[f"{PARTIAL}Serve"]["properties"],
        },
    }
    environments = {
        "type": ["object", "null"],
        "description": "environments by name, each with its differences",
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/Environment"}, {"type": "null"}]},
    }
    return {
        "$schema": DRAFT,
        "title": "A serve of mlflow-kserve",
        "description": "The spec of a serve; only name and model are required.",
        **{key: value for key, value in whole.items() if key not in ("title", "description")},
        # The name or the model may be set in an environment.
        "properties": {**whole["properties"], ENVIRONMENTS: environments},
        "required": [],
        "if": {"not": {"required": [ENVIRONMENTS]}},
        "then": {"required": whole["required"]},
        "$defs": dict(
            sorted({**used({**definitions, **partial}, [whole, environment]), "Environment": environment}.items())
        ),
    }


def simplified(schema: Any) -> Any:
    """The schema without generated titles and defaults of whole parts, and without names that do not match."""
    if isinstance(schema, list):
        return [simplified(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    content = {
        key: {name: simplified(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else simplified(value)
        for key, value in schema.items()
        if (key, type(value)) not in (("title", str), ("default", dict))
    }
    return {**content, "additionalProperties": False} if "patternProperties" in content else content


def partial_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema for an environment: nothing is required, and null removes a value; lists are replaced as a whole."""
    content: dict[str, Any] = {key: value for key, value in schema.items() if key not in ("required", "default")}
    if "$ref" in content:
        content["$ref"] = content["$ref"].replace("#/$defs/", f"#/$defs/{PARTIAL}")
    for key in ("anyOf", "allOf"):
        if key in content:
            content[key] = [partial_schema(one) for one in content[key]]
    if "properties" in content:
        content["properties"] = {name: nullable(partial_schema(one)) for name, one in content["properties"].items()}
    if "patternProperties" in content:
        content["patternProperties"] = {
            pattern: nullable(partial_schema(one)) for pattern, one in content["patternProperties"].items()
        }
    if isinstance(content.get("additionalProperties"), dict):
        content["additionalProperties"] = nullable(partial_schema(content["additionalProperties"]))
    return content


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if {"type": "null"} in schema.get("anyOf", []):
        return schema
    words = {key: value for key, value in schema.items() if key == "description"}
    return {"anyOf": [{key: value for key, value in schema.items() if key not in words}, {"type": "null"}], **words}


def used(definitions: dict[str, Any], start: Any) -> dict[str, Any]:
    """The definitions that something refers to."""
    referenced: dict[str, Any] = {}
    todo = references(start)
    while todo:
        name = todo.pop()
        if name not in referenced:
            referenced[name] = definitions[name]
            todo |= references(definitions[name])
    return referenced


def references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for item in schema for name in references(item)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].rpartition("/")[2]} if isinstance(schema.get("$ref"), str) else set()
    return own | {name for value in schema.values() for name in references(value)}
