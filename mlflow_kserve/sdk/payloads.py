"""Requests of the Open Inference Protocol (V2) made of what Python has: frames, arrays, records, rows."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from math import isnan
from typing import Any

Tensor = dict[str, Any]
Request = dict[str, Any]
DATATYPES = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "uint8": "UINT8",
    "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
ROWS = "input-0"
"""The name of a tensor that has none of its own."""


class UnusableInputs(TypeError):
    """Inputs that no request can be made of; the message says what was expected."""


def infer_request(inputs: Any) -> Request:
    """The body of an inference request; one that is such a body already stays as it is."""
    if isinstance(inputs, Mapping):
        if "inputs" in inputs:
            return dict(inputs)
        return columns({name: listed(values) for name, values in inputs.items()})
    if hasattr(inputs, "columns") and hasattr(inputs, "to_dict"):
        return {"inputs": [series(str(name), inputs[name]) for name in inputs.columns]}
    if hasattr(inputs, "dtype") and hasattr(inputs, "shape"):
        return {"inputs": [array(inputs)]}
    if isinstance(inputs, Sequence) and not isinstance(inputs, (str, bytes)) and inputs:
        if all(isinstance(row, Mapping) for row in inputs):
            return columns(by_column(inputs))
        return {"inputs": [rows(inputs)]}
    raise UnusableInputs(
        f"inputs are {type(inputs).__name__}: expected a DataFrame, an array, records, rows, or a body of V2"
    )


def by_column(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns of records; a field that some records lack is null there."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def columns(values: Mapping[str, list[Any]]) -> Request:
    lengths = {len(each) for each in values.values()}
    if len(lengths) != 1:
        raise UnusableInputs(f"the columns have {sorted(lengths)} values: expected the same number for all")
    return {"inputs": [column(str(name), each) for name, each in values.items()]}


def column(name: str, values: list[Any]) -> Tensor:
    return {"name": name, "shape": [len(values)], **typed(values)}


def series(name: str, values: Any) -> Tensor:
    """A column of a frame, with its own type where the protocol has it."""
    datatype = DATATYPES.get(str(values.dtype))
    if datatype is None:
        return column(name, [None if is_missing(each) else each for each in values.tolist()])
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": finite(values.tolist())}


def array(values: Any) -> Tensor:
    shape = list(values.shape) or [1]
    flat = values.reshape(-1).tolist()
    if str(values.dtype) == "float16":
        return {"name": ROWS, "shape": shape, "datatype": "FP32", "data": finite(flat)}
    datatype = DATATYPES.get(str(values.dtype))
    content = {"datatype": datatype, "data": finite(flat)} if datatype else typed(flat)
    return {"name": ROWS, "shape": shape, **content}


def rows(values: Sequence[Any]) -> Tensor:
    """Rows of values, or a single column."""
    if not any(isinstance(row, Sequence) and not isinstance(row, (str, bytes)) for row in values):
        return column(ROWS, list(values))
    lengths = {len(row) if isinstance(row, Sequence) else 0 for row in values}
    if len(lengths) != 1:
        raise UnusableInputs(f"the rows have {sorted(lengths)} values: expected the same number for all")
    flat = [value for row in values for value in row]
    return {"name": ROWS, "shape": [len(values), lengths.pop()], **typed(flat)}


def typed(values: list[Any]) -> Tensor:
    """The narrowest type that holds all values unchanged."""
    known = [each for each in values if each is not None]
    if known and all(isinstance(each, bool) for each in known) and len(known) == len(values):
        return {"datatype": "BOOL", "data": values}
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in known)
    if known and numbers:
        if len(known) == len(values) and all(isinstance(each, int) for each in known):
            return {"datatype": "INT64" if min(known) < 2**63 > max(known) else "UINT64", "data": values}
        return {"datatype": "FP64", "data": finite(values)}
    if known and all(isinstance(each, bytes) for each in known):
        return {
            "datatype": "BYTES",
            "parameters": {"content_type": "base64"},
            "data": [None if each is None else b64encode(each).decode() for each in values],
        }
    return {"datatype": "BYTES", "data": [text(each) for each in values]}


def text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def finite(values: list[Any]) -> list[Any]:
    """Null for what is no number: JSON has no NaN."""
    return [None if is_nan(each) else each for each in values]


def is_missing(value: Any) -> bool:
    """Whether a frame has no value there: None, NaN, NaT, or pandas' NA."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or is_nan(value)


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and isnan(value)


def listed(values: Any) -> list[Any]:
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return list(values)
    raise UnusableInputs(f"a column is {type(values).__name__}: expected a list of values")
