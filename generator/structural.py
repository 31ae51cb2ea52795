"""Structural schemas: validates values like a Kubernetes API server with strict field validation.

Checked are types, required fields (a default counts), enums, patterns, bounds, lists whose keys must be unique,
int-or-string, nullable, embedded resources, allOf/anyOf/oneOf/not and the formats int32, int64 and date-time; unknown
fields are refused. Not checked: `x-kubernetes-validations` (CEL); KServe's CRDs hold none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from functools import cache
from typing import Any

Schema = Mapping[str, Any]

_STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_TEXT: Schema = {"type": "string"}
_BOOLEAN: Schema = {"type": "boolean"}
_INT64: Schema = {"type": "integer", "format": "int64"}
_MOMENT: Schema = {"type": "string", "format": "date-time", "nullable": True}
_OWNER: Schema = {
    "type": "object",
    "required": ["apiVersion", "kind", "name", "uid"],
    "properties": {
        **dict.fromkeys(("apiVersion", "kind", "name", "uid"), _TEXT),
        **dict.fromkeys(("blockOwnerDeletion", "controller"), _BOOLEAN),
    },
}
# A CRD says "object" for the metadata; the API server knows its fields.
METADATA: Schema = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion", "selfLink"), _TEXT),
        **dict.fromkeys(("labels", "annotations"), _STRINGS),
        **dict.fromkeys(("generation", "deletionGracePeriodSeconds"), _INT64),
        **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), _MOMENT),
        "finalizers": {"type": "array", "items": _TEXT},
        "ownerReferences": {"type": "array", "items": _OWNER},
        "managedFields": {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    },
}
_RESOURCE = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": METADATA}
_RANGES = {"int32": 2**31, "int64": 2**63}


@dataclass(frozen=True)
class SchemaProblem:
    """One problem of a document: its path, and a sentence on what was found and expected."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}" if self.path else self.sentence


def walk(schema: Schema, value: Any, path: str, strict: bool) -> Iterator[SchemaProblem]:
    """The problems of a value; with `strict`, unknown fields are problems too."""
    if value is None:
        if not schema.get("nullable") and "default" not in schema:
            yield SchemaProblem(path, f"expected {_expected(schema)}, found nothing (null)")
        return
    if wrong := _wrong_type(schema, value):
        yield SchemaProblem(path, wrong)
        return
    if "enum" in schema and value not in schema["enum"]:
        options = [str(option) for option in schema["enum"]]
        hint = suggestion(str(value), options)
        yield SchemaProblem(path, f"expected one of {', '.join(options)}, found {shown(value)}{hint}")
    if isinstance(value, str):
        yield from _text(schema, value, path)
    elif isinstance(value, Mapping):
        yield from _object(schema, value, path, strict)
    elif isinstance(value, list):
        yield from _array(schema, value, path, strict)
    elif not isinstance(value, bool):
        yield from _number(schema, value, path)
    yield from _combined(schema, value, path)


def _wrong_type(schema: Schema, value: Any) -> str | None:
    if schema.get("x-kubernetes-int-or-string"):
        good = isinstance(value, int | str) and not isinstance(value, bool)
    else:
        match schema.get("type"):
            case "string":
                good = isinstance(value, str)
            case "integer":
                good = isinstance(value, int) and not isinstance(value, bool)
            case "number":
                good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
            case "boolean":
                good = isinstance(value, bool)
            case "object":
                good = isinstance(value, Mapping)
            case "array":
                good = isinstance(value, list)
            case _:
                good = True
    if good:
        return None
    if schema.get("type") == "string":
        # The value may be a secret (a password of digits), so only its type is shown.
        advice = "" if isinstance(value, Mapping | list) else "; put it in quotes"
        return f"expected a string, found {_type_of(value)}{advice}"
    return f"expected {_expected(schema)}, found {shown(value)}"


def _text(schema: Schema, value: str, path: str) -> Iterator[SchemaProblem]:
    pattern = schema.get("pattern")
    if pattern is not None and not _pattern(pattern).search(value):
        expected = "a quantity such as 500m or 2Gi" if "[numkMGTPE]" in pattern else f"text that matches {pattern}"
        yield SchemaProblem(path, f"expected {expected}, found {shown(value)}")
    if len(value) < schema.get("minLength", 0):
        yield SchemaProblem(path, f"expected at least {schema['minLength']} characters, found {len(value)}")
    if len(value) > schema.get("maxLength", len(value)):
        yield SchemaProblem(path, f"expected at most {schema['maxLength']} characters, found {len(value)}")
    if schema.get("format") == "date-time" and not _is_moment(value):
        yield SchemaProblem(path, f"expected a moment such as 2026-01-31T12:00:00Z, found {shown(value)}")


def _number(schema: Schema, value: float, path: str) -> Iterator[SchemaProblem]:
    low, high = schema.get("minimum"), schema.get("maximum")
    # In OpenAPI 3.0 these two are booleans.
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and (value < low or (above and value == low)):
        yield SchemaProblem(path, f"expected {'more than' if above else 'at least'} {low}, found {value}")
    if high is not None and (value > high or (below and value == high)):
        yield SchemaProblem(path, f"expected {'less than' if below else 'at most'} {high}, found {value}")
    if (step := schema.get("multipleOf")) and value % step:
        yield SchemaProblem(path, f"expected a multiple of {step}, found {value}")
    if (limit := _RANGES.get(schema.get("format", ""))) and not -limit <= value < limit:
        yield SchemaProblem(path, f"expected a whole number of {schema['format'][3:]} bits, found {value}")


def _object(schema: Schema, value: Mapping[Any, Any], path: str, strict: bool) -> Iterator[SchemaProblem]:
    properties: Schema = schema.get("properties", {})
    required = schema.get("required", ())
    if schema.get("x-kubernetes-embedded-resource"):
        properties = {**properties, **_RESOURCE}
        required = {*required, "apiVersion", "kind"}
    for name in sorted(required):
        if name not in value and "default" not in properties.get(name, ()):
            yield SchemaProblem(_join(path, name), f"missing; expected {_expected(properties.get(name, {}))}")
    if len(value) < schema.get("minProperties", 0):
        yield SchemaProblem(path, f"expected at least {schema['minProperties']} fields, found {len(value)}")
    if len(value) > schema.get("maxProperties", len(value)):
        yield SchemaProblem(path, f"expected at most {schema['maxProperties']} fields, found {len(value)}")
    others = schema.get("additionalProperties")
    open_to_all = others is True or schema.get("x-kubernetes-preserve-unknown-fields") or not strict
    for name, part in value.items():
        if not isinstance(name, str):
            yield SchemaProblem(
                _join(path, str(name)), f"field names are strings, found {_type_of(name)}; put it in quotes"
            )
        elif name in properties:
            yield from walk(properties[name], part, _join(path, name), strict)
        elif isinstance(others, Mapping):
            yield from walk(others, part, _join(path, name), strict)
        elif not open_to_all:
            yield SchemaProblem(_join(path, name), f"unknown field{_hint(name, properties, value)}")


def _array(schema: Schema, value: list[Any], path: str, strict: bool) -> Iterator[SchemaProblem]:
    if len(value) < schema.get("minItems", 0):
        yield SchemaProblem(path, f"expected at least {schema['minItems']} entries, found {len(value)}")
    if len(value) > schema.get("maxItems", len(value)):
        yield SchemaProblem(path, f"expected at most {schema['maxItems']} entries, found {len(value)}")
    items = schema.get("items", {})
    kind = schema.get("x-kubernetes-list-type")
    names = schema.get("x-kubernetes-list-map-keys", ())
    seen: dict[str, int] = {}
    keys: Any
    for index, entry in enumerate(value):
        place = f"{path}[{index}]"
        yield from walk(items, entry, place, strict)
        if kind == "map" and isinstance(entry, Mapping):
            keys = {name: entry.get(name, items["properties"].get(name, {}).get("default")) for name in names}
            what = ", ".join(f"{name} {shown(part)}" for name, part in keys.items())
        elif kind == "set":
            keys, what = entry, shown(entry)
        else:
            continue
        first = seen.setdefault(json.dumps(keys, sort_keys=True, default=str), index)
        if first != index:
            yield SchemaProblem(place, f"{what} is there twice, first at {path}[{first}]; expected once")


def _combined(schema: Schema, value: Any, path: str) -> Iterator[SchemaProblem]:
    """The combined validations of a schema; they do not check for unknown fields."""
    for part in schema.get("allOf", ()):
        yield from walk(part, value, path, False)
    if "not" in schema and not any(walk(schema["not"], value, path, False)):
        yield SchemaProblem(path, f"{shown(value)} is what the CRD excludes here")
    for name in ("anyOf", "oneOf"):
        if options := schema.get(name):
            failures = [list(walk(option, value, path, False)) for option in options]
            good = sum(not failure for failure in failures)
            if not good:
                names = [" with ".join(option.get("required", ())) for option in options]
                why = " or ".join(names) if all(names) else ", or ".join(str(failure[0]) for failure in failures)
                yield SchemaProblem(path, f"expected {why}")
            elif name == "oneOf" and good > 1:
                yield SchemaProblem(path, f"expected to fit exactly one of {len(options)} alternatives, fits {good}")


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """The pattern with Go's meaning of a final `$`: the very end, not the end before a newline."""
    at_end = pattern.endswith("$") and not pattern.endswith(r"\$")
    return re.compile(pattern[:-1] + r"\Z" if at_end else pattern)


def _is_moment(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _join(path: str, name: str) -> str:
    """The path of a field; names with a dot or slash (labels, annotations) go in brackets."""
    if re.fullmatch(r"[\w-]+", name):
        return f"{path}.{name}" if path else name
    return f"{path}[{json.dumps(name)}]"


def _expected(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "a whole number or a string"
    names = {"integer": "a whole number", "array": "a list", "object": "an object", "boolean": "true or false"}
    return names.get(schema.get("type", ""), f"a {schema.get('type', 'value')}")


def _type_of(value: object) -> str:
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case date():
            return "a date"
        case Mapping():
            return "an object"
        case list():
            return "a list"
    return f"a {type(value).__name__}"


def shown(value: object) -> str:
    if isinstance(value, str | bool | int | float):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 80 else f"{text[:77]}…"
    return _type_of(value)


def _hint(name: str, properties: Schema, value: Mapping[Any, Any]) -> str:
    """The field that may have been meant: one with a similar name, or one of that name in a sibling object."""
    for sibling, schema in properties.items():
        if sibling in value and name in schema.get("properties", ()):
            return f"; did you mean {sibling}.{name}?"
    return suggestion(name, list(properties))


def suggestion(name: str, known: list[str]) -> str:
    plain = {re.sub(r"[-_]", "", entry).lower(): entry for entry in known}
    close = get_close_matches(re.sub(r"[-_]", "", name).lower(), plain, n=1, cutoff=0.75)
    return f"; did you mean {plain[close[0]]}?" if close else ""
