"""A form made from what a model says of itself, and the request that is made from the form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.domain.problems import FieldProblem, unprocessable
from controlplane.page.forms import number

NUMBERS = ("integer", "long", "float", "double")
TEXTS = ("string", "datetime", "binary")
ZEROS: dict[str, Any] = {"BYTES": "text", "BOOL": False}
MAX_INPUTS = 100
"""Of a wider model only the JSON is shown: a page stays small."""
COLUMN, PARAM, METHOD = "column:", "param:", "method"
PROTOCOLS = ("v1", "v2", "invocations")


@dataclass(frozen=True, slots=True)
class ModelInput:
    """A column or a param of the model as a field of the form."""

    field: str
    name: str
    type: str
    required: bool
    sample: Any

    @property
    def is_number(self) -> bool:
        return self.type in NUMBERS


def columns_of(model: Mapping[str, Any]) -> list[ModelInput]:
    """The columns, if a form can be made of all of them."""
    inputs = model.get("inputs") or []
    if "samples" not in model or len(inputs) > MAX_INPUTS:
        return []
    if not all(each.get("name") and each.get("type") in (*NUMBERS, *TEXTS, "boolean") for each in inputs):
        return []
    instances = sample_of(model, "v1")[1].get("instances") or [{}]
    first = instances[0] if isinstance(instances[0], dict) else {}
    return [
        ModelInput(
            COLUMN + each["name"], each["name"], each["type"], bool(each.get("required")), first.get(each["name"])
        )
        for each in inputs
    ]


def params_of(model: Mapping[str, Any]) -> list[ModelInput]:
    """The params that have one value."""
    return [
        ModelInput(PARAM + each["name"], each["name"], each["type"], False, each.get("default"))
        for each in (model.get("params") or [])[:MAX_INPUTS]
        if each.get("shape") is None and each["type"] in (*NUMBERS, *TEXTS, "boolean")
    ]


def sample_of(model: Mapping[str, Any], protocol: str) -> tuple[str, Any]:
    """A path and a body that the model takes; without a schema a row of zeros, in V2."""
    known = model.get("samples") or {}
    if protocol in known:
        return known[protocol]["path"], known[protocol]["body"]
    name = model.get("model_name") or model.get("name") or "model"
    if "samples" in model or not model:
        return f"/v1/models/{name}:predict", {"instances": []}
    tensors = [zeros(each) for each in model.get("inputs") or []]
    return f"/v2/models/{name}/infer", {"inputs": tensors}


def zeros(tensor: Mapping[str, Any]) -> dict[str, Any]:
    shape = [1 if size < 0 else size for size in tensor.get("shape", [1])]
    count = 1
    for size in shape:
        count *= size
    value = ZEROS.get(tensor["datatype"], 0)
    return {"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape, "data": [value] * min(count, 1000)}


def body_of(form: Mapping[str, str], model: Mapping[str, Any]) -> str:
    """The request in V1: one row. Raises ApiProblem (422) for what is no number."""
    problems: list[FieldProblem] = []
    row = values_of(form, columns_of(model), problems)
    parameters = values_of(form, params_of(model), problems)
    if problems:
        raise unprocessable(problems)
    if form.get(METHOD):
        parameters[METHOD] = form[METHOD]
    return json.dumps(
        {"instances": [row], **({"parameters": parameters} if parameters else {})}, ensure_ascii=False
    )  # fmt: skip


def values_of(form: Mapping[str, str], inputs: list[ModelInput], problems: list[FieldProblem]) -> dict[str, Any]:
    """What was filled in; what was left empty is not sent, so that the model says itself whether it needs it."""
    values: dict[str, Any] = {}
    for each in inputs:
        text = form.get(each.field, "")
        if text == "" and not (each.required and each.type == "string"):
            continue
        try:
            values[each.name] = value_of(each.type, text)
        except ValueError:
            problems.append(FieldProblem(each.name, f"is {text[:40]!r}", expected_of(each.type)))
    return values


def value_of(kind: str, text: str) -> Any:
    """Raises ValueError."""
    if kind in NUMBERS:
        return number(text.strip())
    if kind == "boolean":
        return {"true": True, "false": False}[text] if text in ("true", "false") else number("")
    return text


def expected_of(kind: str) -> str:
    return "true or false" if kind == "boolean" else "a number, such as 3 or 0.5"
