"""Forms as browsers send them, read into what the API takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from controlplane.domain.bodies import refuse_unstorable
from controlplane.domain.problems import ApiProblem, FieldProblem, unprocessable, wrong_field

MAX_FORM = 1 << 20  # bytes
MAX_FIELDS = 1000


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form; raises ApiProblem (413, 415, 400) if it cannot be read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", "application/x-www-form-urlencoded"):
        raise ApiProblem(415, f"the content-type is {kind[:60]!r}", way_out="send the form of the page")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise ApiProblem(413, f"the form has more than {MAX_FORM} bytes", way_out="send less at once")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise ApiProblem(400, "the form cannot be read", way_out="send the form of the page") from None
    return dict(pairs)


FormFields = Annotated[dict[str, str], Depends(fields_of)]


def said(form: Mapping[str, str], texts: Sequence[str] = (), numbers: Sequence[str] = ()) -> dict[str, Any]:
    """The fields that were filled in, as the API takes them. Raises ApiProblem (422) for what is no number."""
    problems: list[FieldProblem] = []
    body: dict[str, Any] = {name: form[name].strip() for name in texts if form.get(name, "").strip()}
    for name in numbers:
        text = form.get(name, "").strip()
        if not text:
            continue
        try:
            body[name] = number(text)
        except ValueError:
            problems.append(FieldProblem(name, f"is {text[:40]!r}", "a number"))
    if problems:
        raise unprocessable(problems)
    return body


def json_of(field: str, text: str) -> dict[str, Any]:
    """The object that was written into a field. Raises ApiProblem (422)."""
    try:
        value = json.loads(text.strip() or "{}")
    except (ValueError, RecursionError) as error:
        raise wrong_field(field, f"is no JSON: {error}", "an object") from None
    if not isinstance(value, dict):
        raise wrong_field(field, "is no object", 'an object such as {"replicas": {"max": 3}}')
    refuse_unstorable({field: value})
    return value


def number(text: str) -> int | float:
    """Raises ValueError if it is none."""
    value = json.loads(text, parse_constant=refuse_constant)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(text)
    return value


def refuse_constant(text: str) -> float:
    raise ValueError(text)
