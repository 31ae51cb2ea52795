"""What MLflow's scoring server hands a model without a signature: the caller's own structure, with arrays in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictors.protocol import casting
from predictors.protocol.errors import InvalidInput
from predictors.signature.fields import check_padding, nested_numbers

INSTANCES = "instances"


def input_without_signature(form: str, value: Any) -> Any:
    """The value of `instances` or `inputs` as the model's input."""
    if isinstance(value, dict):
        return {name: array_of(values) for name, values in value.items()}
    if not isinstance(value, list) or not value or not all(type(item) is dict for item in value):
        return array_of(value)
    if form == INSTANCES:
        return arrays_of_records(value)
    return [{name: array_of(item) for name, item in record.items()} for record in value]


def arrays_of_records(records: list[dict[str, Any]]) -> dict[str, casting.Array]:
    names = records[0].keys()
    for index, record in enumerate(records):
        if record.keys() != names:
            raise InvalidInput(f"row {index}: expected the names of row 0; the model has no signature to say others")
    return {name: array_of([record[name] for record in records]) for name in names}


def array_of(value: Any) -> casting.Array:
    """JSON as numpy has it, but for numbers beside texts: numpy would write all of them as texts."""
    if not isinstance(value, list):
        return np.array(value)
    array = nested_numbers(value, "inputs")
    if array.dtype.kind != "O":
        return array
    flat = array.reshape(-1).tolist()
    types = casting.types_of(flat)
    if types == {bool}:
        return array.astype(np.bool_)
    if types == {str}:
        check_padding(flat, "inputs")
        return np.array(flat).reshape(array.shape)
    return array
