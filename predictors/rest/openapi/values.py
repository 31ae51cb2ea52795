"""Schemas of the values that a signature takes, in the dialect of OpenAPI 3.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from predictors.signature.fields import SCALARS, Cast, Field, Param

Schema: TypeAlias = dict[str, Any]

SINGLE = 3.4028235677973366e38  # from here on a number rounds to infinity in single precision
DOUBLE = 1.7976931348623157e308
HALF = 65519.99
FLOATS: Mapping[int, tuple[str, float]] = {2: ("float", HALF), 4: ("float", SINGLE), 8: ("double", DOUBLE)}
BASE64_LETTER = "[A-Za-z0-9+/]"
BASE64 = f"^({BASE64_LETTER}{{4}})*({BASE64_LETTER}{{2}}==|{BASE64_LETTER}{{3}}=)?$"
SPACE = "[ \\t\\n\\r\\f\\v]*"
SPACED = f"({BASE64_LETTER}{SPACE})"
BASE64_LINES = f"^{SPACE}({SPACED}{{4}})*({SPACED}{{2}}={SPACE}={SPACE}|{SPACED}{{3}}={SPACE})?$"
YEAR = r"(16(7[89]|[89]\d)|1[7-9]\d\d|2[01]\d\d|22[0-5]\d)"  # what pandas can hold
DAY = r"((0[13578]|1[02])(-?(0[1-9]|[12]\d|3[01]))?|(0[469]|11)(-?(0[1-9]|[12]\d|30))?|02(-?(0[1-9]|[12]\d))?)"
CLOCK = r"([01]\d|2[0-3])(:?[0-5]\d(:?[0-5]\d([.,]\d{1,9})?)?)?(Z|[+-](0\d|1[0-2]):?[0-5]\d)?"
ISO_DATE = f"^{YEAR}-?{DAY}$|^{YEAR}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])[T ]{CLOCK}$"
WHOLE_NUMBER = r"^\s*[+-]?\d+\s*$"
NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])\s*$"
ANYTHING: Schema = {}
TEXT: Schema = {"type": "string", "nullable": True}
BOOLEAN: Schema = {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": 1}]}
DATE: Schema = {"type": "string", "pattern": ISO_DATE, "maxLength": 100, "nullable": True, "description": "ISO 8601"}
BYTES: Schema = {"type": "string", "pattern": BASE64_LINES, "nullable": True, "description": "base64"}
BYTES_OBJECT: Schema = {
    "type": "object",
    "description": "bytes, as TensorFlow Serving has them",
    "required": ["b64"],
    "properties": {"b64": {"type": "string", "pattern": BASE64}},
    "additionalProperties": False,
}
NANOSECONDS: Schema = {"type": "integer", "format": "int64", "minimum": -(2**63) + 1, "maximum": 2**63 - 1}


def union(schemas: list[Schema]) -> Schema:
    """Any of the schemas; one that is there already is left out."""
    distinct: list[Schema] = []
    for one in schemas:
        if one == ANYTHING:
            return ANYTHING
        if one not in distinct:
            distinct.append(one)
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def nullable(schema: Schema) -> Schema:
    """OpenAPI 3.0 has no null: it is said of a schema that has a type."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [nullable(schema["anyOf"][0]), *schema["anyOf"][1:]]}
    return {**schema, "nullable": True} if "type" in schema else schema


def list_of(items: Schema, least: int = 1, most: int | None = None) -> Schema:
    limits = {"minItems": least} if most is None else {"minItems": least, "maxItems": most}
    return {"type": "array", **limits, "items": items}


def object_of(properties: Schema, required: list[str], *, more: bool | Schema = False) -> Schema:
    """An object of these properties; `more`: whether it may have others, or what these are."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": more}
    return {**schema, "required": required} if required else schema


def integer(low: int, high: int) -> Schema:
    bits = {"format": "int64"} if high >= 2**31 else {"format": "int32"}
    return {"type": "integer", **(bits if high < 2**63 else {}), "minimum": low, "maximum": high}


def number_of(dtype: np.dtype[Any]) -> Schema:
    """A number that the type can hold; null is NaN where it has one."""
    if dtype.kind == "f":
        name, limit = FLOATS.get(dtype.itemsize, FLOATS[8])
        return {"type": "number", "format": name, "minimum": -limit, "maximum": limit, "nullable": True}
    limits = np.iinfo(dtype)
    return integer(int(limits.min), int(limits.max))


def cell(kind: str, dtype: np.dtype[Any], cast: Cast, *, b64: bool = False) -> Schema:
    """A value of one of MLflow's scalar types. `b64`: bytes may be objects."""
    if kind == "boolean":
        return BOOLEAN
    if kind == "string" and cast is Cast.TABLE:
        return ANYTHING
    if kind in ("string", "binary", "datetime"):
        text = {"string": TEXT, "binary": BYTES, "datetime": DATE}[kind]
        more = [BYTES_OBJECT] if b64 and kind == "binary" else []
        return union([text, *more, *(casts_to_text(kind) if cast is not Cast.NONE else [])])
    number = number_of(dtype)
    return number if cast is Cast.NONE else union([number, *casts_to_number(dtype)])


def casts_to_text(kind: str) -> list[Schema]:
    if kind == "string":
        return [{"type": "number"}, {"type": "boolean"}]
    return [NANOSECONDS] if kind == "datetime" else []


def casts_to_number(dtype: np.dtype[Any]) -> list[Schema]:
    pattern = NUMBER if dtype.kind == "f" else WHOLE_NUMBER
    return [{"type": "boolean"}, {"type": "string", "pattern": pattern, "maxLength": 400}]


def column(field: Field, cast: Cast = Cast.NONE, *, b64: bool = False) -> Schema:
    """A value of a column; an optional one may be null."""
    if field.type in ("array", "object", "map", "any"):
        value = composite(field.spec, b64=b64)
    else:
        value = cell(field.type, field.dtype, cast, b64=b64)
    return value if field.required else nullable(value)


def composite(spec: Mapping[str, Any], *, b64: bool = False) -> Schema:
    """A list, an object, a map, or a scalar inside one."""
    kind = spec.get("type", "any")
    if kind == "array":
        return {"type": "array", "items": composite(spec["items"], b64=b64)}
    if kind == "object":
        known = spec["properties"]
        required = [name for name, one in known.items() if one.get("required", True)]
        properties = {
            name: composite(one, b64=b64) if name in required else nullable(composite(one, b64=b64))
            for name, one in known.items()
        }
        return object_of(properties, required)
    if kind == "map":
        return {"type": "object", "additionalProperties": composite(spec["values"], b64=b64)}
    return scalar(kind, b64=b64)


def scalar(kind: str, *, b64: bool = False) -> Schema:
    return cell(kind, np.dtype(SCALARS[kind][1]), Cast.NONE, b64=b64) if kind in SCALARS else ANYTHING


def tensor_cell(dtype: np.dtype[Any], cast: Cast = Cast.NONE) -> Schema:
    if dtype.kind == "b":
        return BOOLEAN
    if dtype.kind == "M":
        return cell("datetime", dtype, cast)
    if dtype.kind in "OUS":
        text: Schema = {"type": "string"}
        return union([text, *(casts_to_text("string") if cast is not Cast.NONE else [])])
    if dtype.kind not in "iuf":
        return ANYTHING
    return union([number_of(dtype), *(casts_to_number(dtype) if cast is not Cast.NONE else [])])


def nested(items: Schema, sizes: tuple[int, ...]) -> Schema:
    """Lists in lists; a size of -1 is any."""
    for size in reversed(sizes):
        items = {"type": "array", "items": items} if size == -1 else list_of(items, size, size)
    return items


def param(one: Param) -> Schema:
    """A parameter of the signature; null where that is its default."""
    if one.shape is not None:
        value: Schema = {"type": "array", "items": scalar(one.type)}
    else:
        value = scalar(one.type) if one.type not in ("array", "object", "map") else composite(one.spec)
    if one.default is None:
        value = nullable(value)
    default = one.spec.get("default")
    return value if default is None or value == ANYTHING else {**value, "default": default}
