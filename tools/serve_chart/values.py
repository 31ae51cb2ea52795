"""The values of the chart and their schema: fields of a spec, as the generator describes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from generator import ServeSpec
from generator.rules.pods import ALIASES, FIXED, RESERVED
from tools.serve_chart.choices import ALWAYS, CHOICES, Repeated
from tools.serve_chart.decisions import Assignment
from tools.serve_chart.variants import Documents

Schema = dict[str, Any]
WORDS = ("description", "default")
SERVICE = "InferenceService/"
REQUIRED = ("model", "flavor")
LOOPBACK = r"^(?i:https?://(localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)(:|/|$))"
CHECKED: dict[str, Schema] = {
    # Models whose manifests the chart knows.
    "model": {"pattern": "^(models:/[^/@]+[/@].+|models:/m-[0-9a-f]+|runs:/.+|(pvc|s3|gs|hf)://.+)$"},
    "tracking.uri": {
        "pattern": r"^(https?://[^/@\s]+(/\S*)?|databricks(://[^@\s]+)?)$",
        "not": {"pattern": LOOPBACK},
    },
    "resources.cores": {
        "type": ["string", "number"],
        "exclusiveMinimum": 0,
        "pattern": r"^([1-9][0-9]*m?|[0-9]+\.[0-9]+)$",
    },
    "resources.memory": {"pattern": r"^[1-9][0-9]*(\.[0-9]+)?(Mi|Gi|Ti|M|G|T)$"},
    "scaling.by": {"enum": ["none"]},
    "network_policy.from_namespaces": {"minItems": 1},
}
"""What the generator checks by code, or takes and the chart does not."""
DESCRIPTIONS = {
    "model": "URI of the model, required: models:/name@alias, models:/name/3, runs:/…, s3://…, gs://…, hf://…, pvc://…",
    "flavor": "flavor of the model, required: a chart cannot read the MLmodel file",
    "scaling": "The scaling rule: at most one.",
    "scaling.by": "'none' for a fixed number of pods",
    "env": "additional environment variables, as text",
    "service_account.name": "name of an existing ServiceAccount",
    "network_policy": "The only callers that are allowed; needs tracking.namespace.",
}
"""Where the chart takes less than the generator."""
HEADER = """\
# Values are fields of the spec (docs/spec.md says more of each); the release is the serve's name.
# Made by `make charts`.
"""


def paths() -> list[str]:
    """The fields that have a place in the chart, in the order of the spec."""
    named = {path for choice in CHOICES for each in choice.alternatives for path in each.fields} | set(ALWAYS)
    order = list(ServeSpec.model_fields)
    return sorted(named - {"name", "namespace"}, key=lambda path: (order.index(path.partition(".")[0]), path))


def schema_text(variants: Mapping[Assignment, Documents]) -> str:
    whole = ServeSpec.model_json_schema()
    root = part("The spec of a serve, as far as the chart knows it.")
    for path in paths():
        *parents, last = path.split(".")
        source, target = whole, root
        for parent in parents:
            source = resolved(source["properties"][parent], whole)
            target = target["properties"].setdefault(parent, part(described(parent, source)))
        target["properties"][last] = leaf(resolved(source["properties"][last], whole), path) | CHECKED.get(path, {})
    properties = root["properties"]
    properties["scaling"] |= {"maxProperties": 1}
    properties["env"]["propertyNames"] = {"not": {"enum": sorted(set_elsewhere(variants))}}
    flags = "|".join(FIXED).replace("_", "[-_]")
    properties["args"]["items"]["not"] = {"pattern": f"^--({flags})(=|$)"}
    properties["network_policy"] |= {"required": ["from_namespaces"]}
    properties["global"] = {"type": "object", "description": "values that Helm gives to all charts"}
    root["required"] = list(REQUIRED)
    # The chart cannot read the namespace of the tracking server from its URL, as the generator does.
    root["if"] = {"required": ["network_policy"]}
    root["then"] = {"required": ["tracking"], "properties": {"tracking": {"required": ["namespace"]}}}
    return (
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **root}, indent=2, ensure_ascii=False)
        + "\n"
    )


def part(description: str) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": False, "properties": {}}


def resolved(schema: Schema, whole: Schema) -> Schema:
    """The schema itself instead of a reference, and the only one that is not null."""
    if "anyOf" in schema:
        (kind,) = (one for one in schema["anyOf"] if one != {"type": "null"})
        return resolved({**kind, **{key: each for key, each in schema.items() if key in WORDS}}, whole)
    if "$ref" in schema:
        definition = whole["$defs"][schema["$ref"].rpartition("/")[2]]
        return resolved({**definition, **{key: each for key, each in schema.items() if key != "$ref"}}, whole)
    return schema


def described(path: str, schema: Schema) -> str:
    """The first paragraph of a description."""
    return DESCRIPTIONS.get(path) or str(schema["description"]).partition("\n")[0]


def leaf(schema: Schema, path: str = "") -> Schema:
    """The schema of a field; text is text, since Helm would write a large number as 1e+06."""
    content = {key: each for key, each in schema.items() if key not in ("title", "default")}
    if path:
        content["description"] = described(path, content)
    if isinstance(content.get("type"), list):
        content["type"] = "string"
    if "patternProperties" in content:
        texts = {pattern: leaf(first(each)) for pattern, each in content["patternProperties"].items()}
        content |= {"patternProperties": texts, "additionalProperties": False}
    if isinstance(content.get("additionalProperties"), dict):
        content["additionalProperties"] = leaf(first(content["additionalProperties"]))
    return content


def first(schema: Schema) -> Schema:
    return dict(schema["anyOf"][0]) if "anyOf" in schema else schema


def set_elsewhere(variants: Mapping[Assignment, Documents]) -> set[str]:
    """Variables that cannot be set: those that the templates set, and those that the generator refuses."""
    placeholders = {mark.keys for choice in CHOICES for mark in choice.marks() if isinstance(mark, Repeated)}
    refused = {*RESERVED, *ALIASES, *(f"MLFLOW_KSERVE_{name.upper()}" for name in FIXED)}
    services = [each for documents in variants.values() for kind, each in documents.items() if kind.startswith(SERVICE)]
    rendered = {each["name"] for one in services for each in one["spec"]["predictor"]["containers"][0]["env"]}
    return refused | (rendered - set(chain.from_iterable(placeholders)))


def example(text: str) -> str:
    """values.yaml: each field with its default and its meaning."""
    return HEADER + "".join(lines(json.loads(text), resolved(ServeSpec.model_json_schema(), {}), ""))


def lines(part: Schema, source: Schema, indent: str) -> Iterator[str]:
    whole = ServeSpec.model_json_schema()
    for name, content in part["properties"].items():
        if name not in source["properties"]:
            continue
        origin = resolved(source["properties"][name], whole)
        if "properties" in content:
            yield f"# {indent}{name}:  # {content['description']}\n"
            yield from lines(content, origin, indent + "  ")
        else:
            default = "" if origin.get("default") in (None, "auto") else f" {json.dumps(origin['default'])}"
            yield f"# {indent}{name}:{default}  # {content['description']}\n"
