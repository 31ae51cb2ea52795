"""The JSON Schema of spec files: what editors complete and check. The rules say more than any schema can."""

from __future__ import annotations

from typing import Any

from generator.spec import ServeSpec
from generator.specfile.overlay import ENVIRONMENTS

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PARTIAL = "Partial"
LINE = {
    "type": "string",
    "description": "rules joined by 'or'",
    "examples": ["70% CPU", "70% CPU or 100 RPS per pod", "10 concurrent", "p95 below 500ms"],
}


def json_schema() -> dict[str, Any]:
    """The schema of a spec file, with its environments."""
    whole = plainer(ServeSpec.model_json_schema())
    definitions = whole.pop("$defs")
    definitions["Scaling"] = {"anyOf": [LINE, definitions["Scaling"]]}
    definitions["Serve"] = whole
    partial = {f"{PARTIAL}{name}": partly(content) for name, content in definitions.items()}
    spec = {"$ref": f"#/$defs/{PARTIAL}Serve"}
    environment = {
        "type": "object",
        "description": "what is different in one environment",
        "additionalProperties": False,
        "properties": {
            "cluster": {"type": ["string", "null"], "description": "its cluster: the context of kubectl"},
            "domain_suffix": {"type": ["string", "null"], "description": "short for exposure.domain_suffix"},
            "defaults": nullable({**spec, "description": "said here, unless the spec itself says otherwise"}),
            "overrides": nullable({**spec, "description": "said here, whatever the spec itself says"}),
            **partial[f"{PARTIAL}Serve"]["properties"],
        },
    }
    environments = {
        "type": ["object", "null"],
        "description": "what is different in each environment",
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/Environment"}, {"type": "null"}]},
    }
    return {
        "$schema": DRAFT,
        "title": "A serve of mlflow-kserve",
        "description": "Everything that a person says about a serve; only name and model have to be said.",
        **{key: value for key, value in whole.items() if key not in ("title", "description")},
        # An environment may be where the name or the model is said.
        "properties": {**whole["properties"], ENVIRONMENTS: environments},
        "required": [],
        "if": {"not": {"required": [ENVIRONMENTS]}},
        "then": {"required": whole["required"]},
        "$defs": dict(
            sorted({**used({**definitions, **partial}, [whole, environment]), "Environment": environment}.items())
        ),
    }


def plainer(schema: Any) -> Any:
    """Without titles made of names and defaults of whole parts; names that do not match are wrong."""
    if isinstance(schema, list):
        return [plainer(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    content = {
        key: {name: plainer(one) for name, one in value.items()} if key in ("properties", "$defs") else plainer(value)
        for key, value in schema.items()
        if (key, type(value)) not in (("title", str), ("default", dict))
    }
    return {**content, "additionalProperties": False} if "patternProperties" in content else content


def partly(schema: dict[str, Any]) -> dict[str, Any]:
    """The same with nothing required and null to take things back, as an environment has it; lists are whole."""
    content: dict[str, Any] = {key: value for key, value in schema.items() if key not in ("required", "default")}
    if "$ref" in content:
        content["$ref"] = content["$ref"].replace("#/$defs/", f"#/$defs/{PARTIAL}")
    for key in ("anyOf", "allOf"):
        if key in content:
            content[key] = [partly(one) for one in content[key]]
    if "properties" in content:
        content["properties"] = {name: nullable(partly(one)) for name, one in content["properties"].items()}
    if "patternProperties" in content:
        content["patternProperties"] = {
            pattern: nullable(partly(one)) for pattern, one in content["patternProperties"].items()
        }
    if isinstance(content.get("additionalProperties"), dict):
        content["additionalProperties"] = nullable(partly(content["additionalProperties"]))
    return content


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if {"type": "null"} in schema.get("anyOf", []):
        return schema
    words = {key: value for key, value in schema.items() if key == "description"}
    return {"anyOf": [{key: value for key, value in schema.items() if key not in words}, {"type": "null"}], **words}


def used(definitions: dict[str, Any], start: Any) -> dict[str, Any]:
    """Only those that something refers to."""
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
