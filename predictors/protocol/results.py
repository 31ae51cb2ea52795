"""Results of models as JSON values, or as named tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from predictors.protocol import jsontext
from predictors.protocol.batch import Prediction
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE

PREDICTIONS = "predictions"
PROBABILITIES = "probabilities"


def jsonable(result: Any) -> Any:
    """A result as values that `jsontext.dump` can write; tables become records."""
    if isinstance(result, np.ndarray):
        return json_array(result)
    if is_frame(result):
        names = [str(name) for name in result.columns]
        columns = [jsonable(result.iloc[:, i].to_numpy()) for i in range(len(names))]
        lists = [column.tolist() if isinstance(column, np.ndarray) else column for column in columns]
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
    if is_series(result):
        return jsonable(result.to_numpy())
    if isinstance(result, Mapping):
        return {str(key): jsonable(value) for key, value in result.items()}
    if isinstance(result, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in result]
    if hasattr(result, "toarray"):  # scipy sparse
        return json_array(result.toarray())
    if hasattr(result, "detach"):  # torch
        return json_array(result.detach().cpu().numpy())
    if hasattr(result, "model_dump"):
        return jsonable(result.model_dump())
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return jsonable(dataclasses.asdict(result))
    if isinstance(result, np.generic):
        return jsonable(np.asarray(result).reshape(1))[0]
    return result


def json_array(array: np.ndarray[Any, Any]) -> Any:
    """An array as JSON values. Floats are widened to double, so that the text is the number as Python shows it."""
    kind = array.dtype.kind
    if kind == "f":
        return jsontext.in_blocks(np.ascontiguousarray(array, dtype=np.float64))
    if kind in "iub":
        return jsontext.in_blocks(np.ascontiguousarray(array))
    if kind == "O":
        return [jsonable(item) if not jsontext.is_missing(item) else None for item in array.tolist()]
    if kind == "M":
        return [iso_text(moment) for moment in array] if array.ndim == 1 else [json_array(row) for row in array]
    return array.tolist()


def iso_text(moment: np.datetime64) -> str | None:
    """ISO 8601 as Python writes it: with a fraction only if there is one."""
    if np.isnat(moment):
        return None
    text = str(np.datetime_as_string(moment.astype("datetime64[ns]")))
    head, _, fraction = text.partition(".")
    for digits in (0, 6, 9):
        if not fraction[digits:].strip("0"):
            return f"{head}.{fraction[:digits]}" if digits else head
    return text


def numbers_with_gaps(cells: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Numbers and pandas' missing values as doubles, with NaN for these; None if a double does not hold them all."""
    kinds = (int, float, np.integer, np.floating)
    numbers = [np.nan if jsontext.is_missing(cell) else cell for cell in cells]
    if any(not isinstance(cell, kinds) or isinstance(cell, bool) for cell in numbers):
        return None
    if any(isinstance(cell, (int, np.integer)) and abs(int(cell)) > MAX_EXACT_IN_DOUBLE for cell in numbers):
        return None
    return np.array(numbers, dtype=np.float64)


def is_frame(value: Any) -> bool:
    return type(value).__name__ == "DataFrame" and hasattr(value, "iloc")


def is_series(value: Any) -> bool:
    return type(value).__name__ == "Series" and hasattr(value, "to_numpy")


def named_tensors(prediction: Prediction) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs as tensors, under the model's own names or else the method's; the probabilities beside them."""
    default = PREDICTIONS if prediction.method == "predict" else prediction.method
    tensors = tensors_by_name(prediction.result, prediction.output_names, default)
    if prediction.probabilities is not None:
        tensors[PROBABILITIES] = np.asarray(prediction.probabilities)
    return tensors


def tensors_by_name(result: Any, names: Sequence[str], default: str) -> dict[str, np.ndarray[Any, Any]]:
    if type(result) is not np.ndarray:
        if is_frame(result):
            return {str(name): tensor_of(result.iloc[:, i].to_numpy()) for i, name in enumerate(result.columns)}
        if isinstance(result, Mapping) and result and all(is_tensor(value) for value in result.values()):
            return {str(name): tensor_of(value) for name, value in result.items()}
    tensor = tensor_of(result)
    if len(names) > 1 and tensor.ndim == 2 and tensor.shape[1] == len(names):
        return {name: tensor[:, i] for i, name in enumerate(names)}
    return {names[0] if len(names) == 1 else default: tensor}


def is_tensor(value: Any) -> bool:
    return isinstance(value, (np.ndarray, list)) or is_series(value)


def tensor_of(result: Any) -> np.ndarray[Any, Any]:
    """A result as one tensor; anything but numbers, booleans and text becomes JSON text, row by row."""
    if not isinstance(result, np.ndarray):
        if is_series(result) or hasattr(result, "toarray") or hasattr(result, "detach"):
            return tensor_of(as_array(result))
        rows = result if isinstance(result, (list, tuple)) else [result]
        return tensor_of(array_of_list([jsonable(row) for row in rows]))
    if result.dtype.kind == "O":
        return text_tensor(result)
    if result.dtype.kind == "S":
        return bytes_tensor(result)
    if result.dtype.kind == "U":
        return result.astype(object)
    if result.dtype.kind == "M":
        return array_of_list([iso_text(moment) for moment in result.reshape(-1)]).reshape(result.shape)
    return result


def bytes_tensor(result: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """numpy's byte strings are text, if they can be."""
    try:
        return np.char.decode(result, "utf-8").astype(object)
    except UnicodeDecodeError:
        return result.astype(object)


def as_array(result: Any) -> np.ndarray[Any, Any]:
    if hasattr(result, "toarray"):
        return np.asarray(result.toarray())
    if hasattr(result, "detach"):
        return np.asarray(result.detach().cpu().numpy())
    return np.asarray(result.to_numpy())


def array_of_list(rows: list[Any]) -> np.ndarray[Any, Any]:
    """A list of numbers as an array of numbers; any other list as an array of objects."""
    rows = [row.tolist() if isinstance(row, np.ndarray) else row for row in rows]
    if not any(isinstance(row, (dict, str, type(None))) for row in rows):
        try:
            array = np.array(rows)
        except ValueError:
            pass
        else:
            if array.dtype.kind in "iufb":
                return array
    array = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        array[i] = row
    return array


def text_tensor(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    flat = array.reshape(-1)
    kinds = set(map(type, flat))
    if kinds <= {int, float, np.float64, np.int64} and kinds:
        return np.array(flat.tolist()).reshape(array.shape)
    if kinds <= {bool, np.bool_} and kinds:
        return flat.astype(np.bool_).reshape(array.shape)
    if kinds <= {str, bytes, np.str_}:
        return array
    if any(map(jsontext.is_missing, flat)) and (numbers := numbers_with_gaps(flat)) is not None:
        return numbers.reshape(array.shape)
    cells = np.empty(flat.shape, dtype=object)
    for i, item in enumerate(flat):
        cells[i] = item if isinstance(item, (str, bytes)) else jsontext.dump(jsonable(item)).decode()
    return cells.reshape(array.shape)
