"""A form made from what a model says of itself, and the request that is made from the form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from controlplane.domain.problems import FieldProblem, unprocessable
from controlplane.page.forms import number
from controlplane.page.rendering import segment

NUMBERS = ("integer", "long", "float", "double")
SCALARS = (*NUMBERS, "boolean", "string", "datetime", "binary")
ZEROS: dict[str, Any] = {"BYTES": "text", "BOOL": False}
MAX_ZEROS = 1000
MAX_FIELDS = 100
"""Of a wider model only the JSON is shown: a page stays small."""
COLUMN, PARAM, METHOD = "column:", "param:", "method"
PROTOCOLS = ("v1", "v2", "invocations")


class DescribedInput(BaseModel):
    """A column or a tensor; the schema says its type, V2 its datatype and shape."""

    name: str | None = None
    type: str = "tensor"
    required: bool = True
    datatype: str = "FP64"
    shape: list[int] = [1]


class DescribedParam(BaseModel):
    name: str
    type: str = ""
    default: Any = None
    shape: Any = None


class SampleRequest(BaseModel):
    path: str = ""
    body: Any = None


class ModelDescription(BaseModel):
    """What a model says of itself: all of it is a stranger's word, and checked as such."""

    inputs: list[DescribedInput] = []
    params: list[DescribedParam] = Field(default=[], max_length=MAX_FIELDS)
    methods: list[str] = Field(default=[], max_length=MAX_FIELDS)
    samples: dict[str, SampleRequest] = {}

    def sample(self, serve: str, protocol: str) -> SampleRequest:
        """A request that the model takes; without a schema, a row of zeros in V2."""
        known = self.samples.get(protocol)
        # Appended to an address, another beginning would lead to another host.
        if known is not None and known.path.startswith("/"):
            return known
        if self.inputs:
            tensors = [zeros(each) for each in self.inputs[:MAX_FIELDS]]
            return SampleRequest(path=f"/v2/models/{segment(serve)}/infer", body={"inputs": tensors})
        return SampleRequest(path=f"/v1/models/{segment(serve)}:predict", body={"instances": []})


def read(said: Any) -> ModelDescription | None:
    """None if it cannot be understood."""
    try:
        return ModelDescription.model_validate(said)
    except (ValidationError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class FormInput:
    """A column or a param of the model as a field of the form."""

    field: str
    name: str
    type: str
    required: bool
    sample: Any

    @property
    def is_number(self) -> bool:
        return self.type in NUMBERS


def columns_of(model: ModelDescription) -> list[FormInput]:
    """The columns, if a form can be made of all of them."""
    if "v1" not in model.samples or len(model.inputs) > MAX_FIELDS:
        return []
    if not all(each.name and each.type in SCALARS for each in model.inputs):
        return []
    row = first_row(model.samples["v1"].body)
    return [
        FormInput(COLUMN + each.name, each.name, each.type, each.required, row.get(each.name))
        for each in model.inputs
        if each.name
    ]


def first_row(body: Any) -> Mapping[str, Any]:
    instances = body.get("instances") if isinstance(body, dict) else None
    first = instances[0] if isinstance(instances, list) and instances else None
    return first if isinstance(first, dict) else {}


def params_of(model: ModelDescription) -> list[FormInput]:
    """The params that have one value."""
    return [
        FormInput(PARAM + each.name, each.name, each.type, False, each.default)
        for each in model.params
        if each.shape is None and each.type in SCALARS
    ]


def zeros(tensor: DescribedInput) -> dict[str, Any]:
    shape = [max(size, 1) for size in tensor.shape]
    data = [ZEROS.get(tensor.datatype, 0)] * min(math.prod(shape), MAX_ZEROS)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": data}


def body_of(form: Mapping[str, str], model: ModelDescription) -> str:
    """The request in V1: one row. Raises ApiProblem (422) for what is no number."""
    problems: list[FieldProblem] = []
    row = dict(values_of(form, columns_of(model), problems))
    parameters = dict(values_of(form, params_of(model), problems))
    if problems:
        raise unprocessable(problems)
    if form.get(METHOD):
        parameters[METHOD] = form[METHOD]
    said = {"instances": [row]} | ({"parameters": parameters} if parameters else {})
    return json.dumps(said, ensure_ascii=False)


def values_of(
    form: Mapping[str, str], inputs: list[FormInput], problems: list[FieldProblem]
) -> Iterator[tuple[str, Any]]:
    """What was filled in; what was left empty is not sent, so that the model says itself whether it needs it."""
    for each in inputs:
        text = form.get(each.field, "")
        if text == "" and not (each.required and each.type == "string"):
            continue
        try:
            yield each.name, value_of(each.type, text)
        except ValueError:
            expected = "true or false" if each.type == "boolean" else "a number, such as 3 or 0.5"
            problems.append(FieldProblem(each.name, f"is {text[:40]!r}", expected))


def value_of(kind: str, text: str) -> Any:
    """Raises ValueError."""
    if kind in NUMBERS:
        return number(text.strip())
    if kind == "boolean":
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    return text
