"""Bodies of requests: read with all wrong fields at once, whether nested or flat."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from controlplane.domain.problems import ApiProblem, FieldProblem, unprocessable

KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
BOUNDS = {
    "greater_than_equal": ("ge", "{} or more"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "{} or less"),
    "string_too_long": ("max_length", "at most {} characters"),
    "string_too_short": ("min_length", "at least {} characters"),
    "too_short": ("min_length", "at least {} entries"),
}


class Body(BaseModel):
    """A body, or a part of one; a field that it does not have is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


ServeName = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=50)]
"""A name of Kubernetes', short enough for what is derived from it."""
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40)]
VersionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=63)]
Text = Annotated[str, StringConstraints(max_length=1000)]
Count = Annotated[int, Field(strict=True, ge=1, le=100)]
PATTERNS = {
    r"^[a-z]([-a-z0-9]*[a-z0-9])?$": "small letters, digits and -, a letter first, no - last",
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "letters, digits, '.', '_' and '-', a letter or a digit first",
}
MAX_DEPTH = 50
"""Levels of lists and objects in a body."""
B = TypeVar("B", bound=BaseModel)


def read(body: Any, model: type[B], wrappers: Sequence[str] = ()) -> B:
    """The body as the model; fields may lie in one of the wrappers, or flat beside it. Raises ApiProblem (422)."""
    if not isinstance(body, dict):
        raise ApiProblem(422, "the body is not a JSON object", way_out=f"send an object with {fields_of(model)}")
    refuse_unstorable(body)
    flat, places, problems = unwrapped(body, wrappers)
    try:
        result = model.model_validate(flat)
    except ValidationError as error:
        problems += list(problems_of(error, model, places))
    if problems:
        raise unprocessable(problems)
    return result


def unwrapped(
    body: Mapping[str, Any], wrappers: Sequence[str], above: str = ""
) -> tuple[dict[str, Any], dict[str, str], list[FieldProblem]]:
    """The fields without their wrappers, the path of each as it was sent, and the problems of the wrappers."""
    flat: dict[str, Any] = {}
    places: dict[str, str] = {}
    problems: list[FieldProblem] = []
    for key, value in body.items():
        if key in wrappers:
            if not isinstance(value, dict):
                problems.append(FieldProblem(above + key, f"is {shown(value)}", "an object"))
                continue
            inner, inner_places, inner_problems = unwrapped(value, wrappers, f"{above}{key}.")
            problems += inner_problems
        else:
            inner, inner_places = {key: value}, {key: above + key}
        for field, content in inner.items():
            if field in flat and flat[field] != content:
                problems.append(FieldProblem(inner_places[field], f"differs from {places[field]}", "one of the two"))
            flat[field], places[field] = content, inner_places[field]
    return flat, places, problems


def problems_of(error: ValidationError, model: type[BaseModel], places: Mapping[str, str]) -> Iterator[FieldProblem]:
    """Pydantic's errors in plain words."""
    for each in error.errors(include_url=False):
        loc = [str(part) for part in each["loc"]]
        field = ".".join([places.get(loc[0], loc[0]), *loc[1:]]) if loc else "body"
        kind, context = str(each["type"]), each.get("ctx", {})
        if kind == "missing":
            yield FieldProblem(field, "is missing")
        elif kind == "extra_forbidden":
            close = difflib.get_close_matches(loc[-1], model.model_fields, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            expected = fields_of(model) if len(loc) == 1 else None
            yield FieldProblem(field, f"is not a field{hint}", expected)
        elif kind == "literal_error":
            yield FieldProblem(field, f"is {shown(each['input'])}", str(context["expected"]).replace("'", ""))
        elif kind == "string_pattern_mismatch":
            yield FieldProblem(
                field, f"is {shown(each['input'])}", PATTERNS.get(context["pattern"], context["pattern"])
            )
        elif kind in BOUNDS:
            bound, text = BOUNDS[kind]
            yield FieldProblem(field, f"is {shown(each['input'])}", text.format(context[bound]))
        elif kind in KINDS:
            yield FieldProblem(field, f"is {shown(each['input'])}", KINDS[kind])
        else:
            yield FieldProblem(field, str(context.get("error", each["msg"])))


def refuse_unstorable(body: Any) -> None:
    """Raises ApiProblem (422) for what can be written in JSON, and kept nowhere."""
    for problem in unstorable(body):
        raise unprocessable([problem])


def unstorable(value: Any, path: str = "", depth: int = 0) -> Iterator[FieldProblem]:
    """Texts with NUL or half a character in them, numbers that are none, and what is nested too deep."""
    place = path or "body"
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            yield FieldProblem(place, "holds a character that no database stores", "text in Unicode")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield FieldProblem(place, f"is {value}", "a number")
    elif isinstance(value, (dict, list)):
        if depth == MAX_DEPTH:
            yield FieldProblem(place, f"is nested more than {MAX_DEPTH} levels deep", "a body that is less deep")
            return
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in items:
            yield from unstorable(key, place)
            yield from unstorable(each, f"{path}.{key}" if path else str(key), depth + 1)


def fields_of(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def shown(value: Any) -> str:
    """A value in words, short: what a caller sent is not echoed at length."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)[:40]
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:39] + "…")
    return "a list" if isinstance(value, list) else "an object"
