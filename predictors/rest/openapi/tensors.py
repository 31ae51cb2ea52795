"""Schemas of V2's requests: tensors by name, or one that holds all columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from predictors.model.loaded import Loaded
from predictors.protocol import results, v2
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE
from predictors.protocol.tensors import DTYPES, MAX_AXES, MAX_ELEMENTS
from predictors.rest.openapi import values
from predictors.rest.openapi.bodies import parameters
from predictors.rest.openapi.values import ANYTHING, Schema, list_of, nested, object_of, union
from predictors.signature.fields import NUMBER_TYPES, Field
from predictors.signature.plan import SignaturePlan

JSON_TEXT: Schema = {"type": "string", "description": "a JSON document"}
SIZE: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_ELEMENTS}
NO_BINARY_DATA: Schema = {"type": "integer", "enum": [None], "nullable": True}


def v2_request(loaded: Loaded, *, features: bool) -> Schema:
    plan = loaded.plan
    free = features or plan.from_type_hints or (not plan.inputs and plan.width is None)
    inputs = [list_of(any_tensor())] if free else [*whole_tensors(plan), *named_tensors(plan)]
    properties: Schema = {
        "id": {"type": "string", "nullable": True},
        "model_name": ANYTHING,
        "model_version": ANYTHING,
        "parameters": v2_parameters(loaded),
        "inputs": union(inputs),
        "outputs": wanted_outputs(loaded),
    }
    return object_of(properties, ["inputs"])


def v2_parameters(loaded: Loaded) -> Schema:
    """The parameters of the model, and those of the protocol, of which only one has a meaning here."""
    known = parameters(loaded)
    protocol = dict.fromkeys(sorted(v2.PROTOCOL_PARAMETERS), ANYTHING)
    flag = {"binary_data_output": {"type": "boolean", "nullable": True}}
    return {**known, "properties": protocol | flag | known["properties"]}


def wanted_outputs(loaded: Loaded) -> Schema:
    names = [str(output["name"]) for output in loaded.outputs]
    name: Schema = {"type": "string"}
    if names:
        proba = [v2.PROBABILITIES_ALIAS] if results.PROBABILITIES in names else []
        name["enum"] = [*dict.fromkeys([*names, *v2.FIRST_OUTPUT_ALIASES, *proba])]
    flags = object_of({"binary_data": {"type": "boolean", "nullable": True}}, [], more=True)
    output = object_of({"name": name, "parameters": {**flags, "nullable": True}}, ["name"], more=True)
    return {"type": "array", "items": output, "uniqueItems": True, "nullable": True}


# -- tensors --------------------------------------------------------------------------------------------------------


def tensor(name: Schema, datatype: str, cell: Schema, ranks: tuple[int, int], rows: Sequence[Schema]) -> Schema:
    """A tensor whose data are in one list, or nested as one of `rows` says; its rank is between the two of `ranks`."""
    known = object_of({"binary_data_size": NO_BINARY_DATA}, [], more=True)
    properties = {
        "name": {"type": "string", "minLength": 1, **name},
        "shape": shape(*ranks),
        "datatype": {"type": "string", "enum": [datatype]},
        "data": union([list_of(cell, 0), *(list_of(row, 0) for row in rows)]),
        "parameters": {**known, "nullable": True},
    }
    return object_of(properties, ["name", "shape", "datatype", "data"])


def shape(least: int, most: int) -> Schema:
    """There may be no rows only where their width is known."""
    sizes = [list_of({**SIZE, "minimum": 1}, least, most)]
    return union([*sizes, *([list_of(SIZE, max(least, 2), most)] if most > 1 else [])])


def any_tensor() -> Schema:
    name: Schema = {}
    return union(
        [tensor(name, datatype, cell, (0, MAX_AXES), [list_of(ANYTHING, 0)]) for datatype, cell in CELLS.items()]
    )


def whole_tensors(plan: SignaturePlan) -> list[Schema]:
    """The one tensor that holds all columns, or all of the model's only tensor."""
    if plan.tensors and len(plan.inputs) > 1:
        return []
    if plan.tensors:
        return [list_of(union([*tensors_of({}, plan.inputs[0])]), 1, 1)]
    fields, names = plan.inputs, [field.name for field in plan.inputs if field.name] or list(plan.names)
    width = len(fields) or plan.width or 1
    name = {"not": {"enum": names}} if names else {}
    ranks = (1 if width == 1 else 2, 2)
    found = []
    for datatype, cell in CELLS.items():
        cells = [cell_of(field, datatype) for field in fields] if fields else [cell]
        fitting = [one for one in cells if one is not None]
        if len(fitting) == len(cells):
            values_of_row = union(fitting)
            found.append(tensor(name, datatype, values_of_row, ranks, [list_of(values_of_row, width, width)]))
    return [list_of(union(found), 1, 1)] if found else []


def named_tensors(plan: SignaturePlan) -> list[Schema]:
    """A tensor for each input, or for each column of the only one."""
    if not plan.inputs:
        names = {"enum": list(plan.names)} if plan.names else {}
        columns = [tensor(names, datatype, cell, (0, 2), [list_of(cell, 1, 1)]) for datatype, cell in CELLS.items()]
        return [list_of(union(columns), max(len(plan.names), 1), len(plan.names) or None)]
    if plan.tensors and not plan.named:
        return columns_of_tensor(plan.inputs[0])
    required = sum(field.required for field in plan.inputs)
    alike: dict[str, list[Field]] = {}
    for field in plan.inputs:
        alike.setdefault(json.dumps({**field.spec, "name": ""}, sort_keys=True, default=str), []).append(field)
    alternatives = [
        one
        for fields in alike.values()
        for one in tensors_of({"enum": [field.name for field in fields]} if plan.named else {}, fields[0])
    ]
    return [list_of(union(alternatives), max(required, 1), len(plan.inputs))]


def columns_of_tensor(field: Field) -> list[Schema]:
    """A matrix as a tensor for each of its columns."""
    if len(field.shape) != 2:
        return []
    width = field.shape[1]
    cells = {datatype: cell_of(field, datatype) for datatype in CELLS}
    columns = [
        tensor({}, datatype, cell, (1, 2), [list_of(cell, 1, 1)])
        for datatype, cell in cells.items()
        if cell is not None
    ]
    return [list_of(union(columns), 2 if width == -1 else width, None if width == -1 else width)]


def tensors_of(name: Schema, field: Field) -> Iterable[Schema]:
    """The tensors, one of each datatype, that an input takes."""
    for datatype in CELLS:
        cell = cell_of(field, datatype)
        if cell is None:
            continue
        if field.type == "tensor":
            rank = len(field.shape)
            least = 1 if rank == 2 and field.shape[1] == 1 else rank
            yield tensor(name, datatype, cell, (least, rank), [nested(cell, field.shape[1:])])
        elif datatype == "BYTES" or field.type in NUMBER_TYPES | {"boolean"}:
            yield tensor(name, datatype, cell, (0, 2), [list_of(cell, 1, 1)])
        else:  # a list in each row
            yield tensor(name, datatype, cell, (0, MAX_AXES), [list_of(ANYTHING, 0)])


# -- values ---------------------------------------------------------------------------------------------------------


def cell_of_datatype(dtype: np.dtype[Any]) -> Schema:
    if dtype.kind == "b":
        return values.BOOLEAN
    return values.TEXT if dtype.kind == "O" else values.number_of(dtype)


CELLS: Mapping[str, Schema] = {datatype: cell_of_datatype(dtype) for datatype, dtype in DTYPES.items()}


def cell_of(field: Field, datatype: str) -> Schema | None:
    """A value of an input in a tensor of the datatype; None if the input takes no such tensor."""
    dtype = DTYPES[datatype]
    kind = field.dtype.kind if field.type in ("tensor", "boolean", *NUMBER_TYPES) else ""
    if field.type == "any":
        return CELLS[datatype]
    if kind == "b":
        if dtype.kind == "O":
            return None
        return values.BOOLEAN if dtype.kind == "b" else {"type": "integer", "minimum": 0, "maximum": 1}
    if kind and kind in "iuf":
        return number(field.dtype, dtype) if dtype.kind in "iuf" else None
    if field.type == "array" and datatype != "BYTES":
        return CELLS[datatype]
    if datatype != "BYTES":
        return None
    if field.type in ("array", "object", "map"):
        return JSON_TEXT if field.required else values.nullable(JSON_TEXT)
    return values.tensor_cell(field.dtype) if field.type == "tensor" else values.column(field)


def number(dtype: np.dtype[Any], sent: np.dtype[Any]) -> Schema:
    """A number of the type `sent` that fits into `dtype`."""
    target, source = values.number_of(dtype), values.number_of(sent)
    low, high = max(target["minimum"], source["minimum"]), min(target["maximum"], source["maximum"])
    if dtype.kind == "f" and sent.kind == "f":
        return {**(target if target["maximum"] == high else source), "nullable": True}
    if dtype.kind == "f" and dtype.itemsize == sent.itemsize == 8:
        low, high = max(low, -MAX_EXACT_IN_DOUBLE), min(high, MAX_EXACT_IN_DOUBLE)
    return values.integer(int(low), int(high))
