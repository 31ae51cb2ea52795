"""The inputs, outputs and params of an MLflow signature, and the conversion of values to exactly their types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import prod
from typing import Any, TypeAlias

import numpy as np

from predictors.protocol import casting, jsontext, tensors
from predictors.protocol.batch import Values
from predictors.protocol.errors import InvalidInput, SignatureMismatch, TooLarge
from predictors.protocol.ignored import COLUMN, Ignored
from predictors.protocol.names import MAX_NAME, quoted, suggestion
from predictors.signature.coercion import coerced

Spec: TypeAlias = Mapping[str, Any]

# MLflow type → (V2 datatype, numpy dtype, description for messages)
SCALARS: dict[str, tuple[str, str, str]] = {
    "boolean": ("BOOL", "bool", "a boolean"),
    "integer": ("INT32", "int32", "an integer of 32 bits (integer)"),
    "long": ("INT64", "int64", "an integer of 64 bits (long)"),
    "float": ("FP32", "float32", "a number (float)"),
    "double": ("FP64", "float64", "a number (double)"),
    "string": ("BYTES", "object", "a string"),
    "binary": ("BYTES", "object", "bytes, in JSON as base64 (binary)"),
    "datetime": ("BYTES", "datetime64[ns]", "an ISO 8601 date and time (datetime)"),
}
NUMBER_TYPES = frozenset({"integer", "long", "float", "double"})
TEXT_TYPES = frozenset({"string", "datetime", "binary"})
"""Types whose CSV cells stay text: pandas would parse some of them as numbers."""
MAX_PADDED = 2**22  # characters of a tensor whose texts all take as many as the longest; or, if that is more,
MAX_PADDING = 8  # times the characters that were sent


class Cast(Enum):
    """How far values are cast that are not of the type of the signature."""

    NONE = 0
    VALUES = 1
    """As MLflow's server casts the values of `inputs` and `instances`."""
    TABLE = 2
    """As it casts those of a table: there, a column of texts holds anything."""


@dataclass(frozen=True, slots=True)
class Field:
    """An input or output of the signature."""

    name: str
    type: str
    """An MLflow scalar type, or array, object, map, any or tensor."""
    spec: Spec
    required: bool = True
    dtype: np.dtype[Any] = field(default=np.dtype(object))
    shape: tuple[int, ...] = (-1,)

    @property
    def datatype(self) -> str:
        """The V2 datatype for it: composite types are sent as JSON text."""
        return tensors.datatype_of(self.dtype) if self.type == "tensor" else SCALARS.get(self.type, ("BYTES",))[0]

    @property
    def expected(self) -> str:
        if self.type == "tensor":
            return f"{self.dtype} of shape {list(self.shape)}"
        return SCALARS[self.type][2] if self.type in SCALARS else describe_type(self.spec)

    def conform(self, values: list[Any]) -> casting.Array:
        """A value for each row, as the column or the tensor that the signature has."""
        return self.tensor(values) if self.type == "tensor" else self.column(values)

    def column(self, values: Values, cast: Cast = Cast.NONE) -> casting.Array:
        """The values of a column in the type of the signature."""
        values = casting.fill_missing(values, self.name, required=self.required and cast is not Cast.TABLE)
        nullable = not self.required
        if cast is not Cast.NONE and not isinstance(values, np.ndarray):
            if self.type == "string" and cast is Cast.TABLE:
                return casting.object_array(values)
            if self.type in SCALARS and self.type != "binary":
                values = coerced(values, self.dtype.kind)
        if self.type in NUMBER_TYPES:
            return casting.numbers(values, self.dtype, self.name, self.expected, nullable=nullable)
        if self.type == "string":
            return casting.strings(values, self.name, self.expected)
        if self.type == "boolean":
            return casting.booleans(values, self.name, self.expected, nullable=nullable)
        if self.type == "datetime":
            return casting.datetimes(values, self.name, self.expected)
        if self.type == "binary":
            return casting.binaries(values, self.name, self.expected)
        cells = values
        if isinstance(values, np.ndarray):
            texts = values.dtype.kind == "O"
            if values.ndim == 2 and values.shape[1] == 1 and (texts or self.type == "any"):
                values = values[:, 0]
            cells = values.tolist()
            if texts:
                cells = [parse_json_cell(cell, self.name, row) for row, cell in enumerate(cells)]
        where = f"input '{self.name}', row"
        return casting.object_array(
            [conform_value(cell, self.spec, f"{where} {row}", nullable) for row, cell in enumerate(cells)]
        )

    def are_numbers(self, values: Any) -> bool:
        """Whether a nested list is for a tensor of numbers and has no other values, as far as can be seen fast."""
        return self.dtype.kind not in "OUS" and casting.may_be_numbers(values)

    def check_width(self, columns: Mapping[str, Values]) -> None:
        """Refuses a table whose rows are no rows of the tensor."""
        width = prod(self.shape[1:])
        if all(size >= 0 for size in self.shape[1:]) and len(columns) != width:
            raise SignatureMismatch(
                f"input '{self.name}': expected shape {list(self.shape)} (-1 is any), got {len(columns)} columns"
            )

    def tensor(self, values: Any, cast: Cast = Cast.NONE) -> casting.Array:
        """The values as a tensor of the type and the shape of the signature."""
        if cast is not Cast.NONE and not isinstance(values, np.ndarray) and not self.are_numbers(values):
            objects = nested_objects(values, self.name)
            values = casting.object_array(coerced(objects.reshape(-1).tolist(), self.dtype.kind)).reshape(objects.shape)
        array = as_tensor(values, self.dtype, self.name, self.expected)
        if cast is Cast.TABLE and array.ndim == 2 and array.shape[1] == prod(self.shape[1:]):
            array = array.reshape(len(array), *self.shape[1:])  # a cell of the table holds a row of the tensor
        if array.ndim == 1 and len(self.shape) == 2 and self.shape[1] == 1:
            array = array.reshape(-1, 1)  # scalars for a one-column model
        fits = array.ndim == len(self.shape) and all(
            expected in (-1, actual) for expected, actual in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise SignatureMismatch(
                f"input '{self.name}': expected shape {list(self.shape)} (-1 is any), got {list(array.shape)}"
            )
        return array


def describe_type(spec: Spec) -> str:
    kind = spec.get("type", "any")
    if kind in SCALARS:
        return SCALARS[kind][2]
    return {"array": "a list", "object": "an object", "map": "an object"}.get(kind, "any value")


def parse_json_cell(cell: Any, name: str, row: int) -> Any:
    """A composite value from a tensor, which has it as JSON text."""
    if not isinstance(cell, (bytes, str)):
        return cell
    try:
        return jsontext.parse_as_python(cell)
    except (ValueError, RecursionError):
        raise casting.mismatch(name, row, "a JSON document in a string", "text that is not JSON") from None


def conform_value(value: Any, spec: Spec, where: str, nullable: bool) -> Any:
    """An Array, Object, Map or Any value, checked, with the scalars inside it converted."""
    kind = spec.get("type", "any")
    if kind == "any" or (value is None and nullable):
        return value
    if kind == "array":
        if not isinstance(value, list):
            raise InvalidInput(f"{where}: expected a list, got {casting.json_type(value)}")
        return [conform_value(item, spec["items"], f"{where}[{i}]", False) for i, item in enumerate(value)]
    if kind in ("object", "map"):
        if not isinstance(value, dict):
            raise InvalidInput(f"{where}: expected an object, got {casting.json_type(value)}")
        if kind == "map":
            # A long key would be copied for each of the values below it.
            return {
                key: conform_value(item, spec["values"], f"{where}.{str(key)[:MAX_NAME]}", False)
                for key, item in value.items()
            }
        return conform_object(value, spec["properties"], where)
    if kind not in SCALARS:
        return value
    column = Field(where, kind, spec, dtype=np.dtype(SCALARS[kind][1])).column
    try:
        return column([value])[0].item() if kind not in ("string", "binary") else column([value])[0]
    except InvalidInput:
        raise InvalidInput(f"{where}: expected {describe_type(spec)}, got {casting.json_type(value)}") from None


def conform_object(value: dict[str, Any], specs: Mapping[str, Spec], where: str) -> dict[str, Any]:
    required = [name for name, spec in specs.items() if spec.get("required", True)]
    check_names(value, [*specs], required, f"{where}: ", "property", "properties")
    return {
        name: conform_value(value[name], specs[name], f"{where}.{name}", not specs[name].get("required", True))
        for name in specs
        if name in value
    }


def check_names(
    values: Mapping[str, Any], known: Sequence[str], required: Sequence[str], where: str, singular: str, plural: str
) -> None:
    """Raises `InvalidInput` with all names that are missing and all that are unknown."""
    missing = [name for name in required if name not in values]
    names = set(known)
    unknown = [name for name in values if name not in names]
    problems = []
    if missing:
        problems.append(f"missing required {singular if len(missing) == 1 else plural} {quoted(missing)}")
    if unknown:
        problems.append(
            f"unknown {singular if len(unknown) == 1 else plural} {quoted(unknown)}{suggestion(unknown, known)}"
        )
    if problems:
        raise SignatureMismatch(where + "; ".join(problems))


def wanted_names(
    names: Mapping[str, Any], known: Sequence[str], ignored: Ignored | None, required: Sequence[str] = ()
) -> list[str]:
    """The known ones of the names of columns; the others are noted in `ignored`, or refused if that is None."""
    if ignored is None:
        check_names(names, known, required, "", "input", "inputs")
        return list(names)
    known_names = {*known}
    wanted = [name for name in names if name in known_names]
    if len(wanted) < len(names):
        if any(name not in names for name in required):
            check_names(names, known, required, "", "input", "inputs")
        ignored[COLUMN] = [name for name in names if name not in known_names]
    else:
        check_names(names, known, required, "", "input", "inputs")
    return wanted


def as_tensor(values: Any, dtype: np.dtype[Any], name: str, expected: str) -> casting.Array:
    """A nested list or a typed tensor as an array of exactly `dtype`."""
    if dtype.kind in "OUS":
        array = nested_objects(values, name)
        flat = casting.strings(array.reshape(-1), name, "a string", nullable=False)
        if dtype.kind == "O":
            return flat.reshape(array.shape)
        items = flat.tolist() if dtype.kind == "U" else [item.encode() for item in flat]
        check_padding(items, name)
        return np.array(items).reshape(array.shape)
    array = values if isinstance(values, np.ndarray) else nested_numbers(values, name)
    flat = array.reshape(-1)
    if array.dtype.kind == "O":
        flat = flat.tolist()
    if dtype.kind == "b":
        return casting.booleans(flat, name, expected, nullable=False).reshape(array.shape)
    if dtype.kind == "M":
        return casting.datetimes(flat, name, expected).reshape(array.shape)
    return casting.numbers(flat, dtype, name, expected, nullable=False).reshape(array.shape)


def check_padding(texts: Sequence[str | bytes], name: str) -> None:
    """Refuses one long text among many short ones: in such an array each takes as much memory as the longest."""
    lengths = [len(text) for text in texts]
    longest = max(lengths, default=0)
    if longest * len(texts) > max(MAX_PADDED, MAX_PADDING * sum(lengths)):
        raise TooLarge(f"input '{name}': {len(texts)} texts would all take {longest} characters; send fewer at a time")


def nested_numbers(values: Any, name: str) -> casting.Array:
    """A nested list as an array, of objects unless all values are numbers: numpy would convert them silently."""
    if not isinstance(values, list) or casting.may_be_numbers(values):
        try:
            array = np.array(values)
        except ValueError:
            raise InvalidInput(f"input '{name}': rows of different lengths{ragged_hint(values)}") from None
        if array.dtype.kind in "iuf":
            return array
    return nested_objects(values, name)


def nested_objects(values: Any, name: str) -> casting.Array:
    if isinstance(values, np.ndarray):
        return values
    try:
        array = np.array(values, dtype=object)
    except ValueError:
        raise InvalidInput(f"input '{name}': rows of different lengths{ragged_hint(values)}") from None
    if any(isinstance(item, list) for item in array.reshape(-1)):
        raise InvalidInput(f"input '{name}': rows of different lengths{ragged_hint(values)}")
    return array


def ragged_hint(rows: Any) -> str:
    """Where the lengths first differ, for the message; empty if it cannot be said."""
    if isinstance(rows, list) and rows and isinstance(rows[0], list):
        for index, row in enumerate(rows):
            if not isinstance(row, list):
                return f": row 0 is a list, row {index} is {casting.json_type(row)}"
            if len(row) != len(rows[0]):
                return f": row 0 has {len(rows[0])} values, row {index} has {len(row)}"
    return ""


@dataclass(frozen=True, slots=True)
class Param:
    """An inference parameter of the signature."""

    name: str
    type: str
    default: Any
    shape: tuple[int, ...] | None
    spec: Spec

    def parsed(self, value: Any) -> Any:
        """The value from its string form: gRPC has no parameters of other types than integers and booleans."""
        if not isinstance(value, str) or (self.shape is None and self.type in ("string", "datetime")):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value

    def conform(self, value: Any) -> Any:
        where = f"parameter '{self.name}'"
        if value is None and self.default is None:
            return None
        if self.type not in SCALARS:
            return conform_value(value, self.spec, where, nullable=self.default is None)
        scalar = {"type": self.type}
        if self.shape is None:
            return conform_value(value, scalar, where, nullable=False)
        return conform_value(value, {"type": "array", "items": scalar}, where, nullable=False)


def field_of(spec: Spec) -> Field:
    name = str(spec["name"]) if spec.get("name") is not None else ""
    required = bool(spec.get("required", not spec.get("optional", False)))
    if spec["type"] == "tensor":
        tensor = spec["tensor-spec"]
        return Field(name, "tensor", spec, required, np.dtype(tensor["dtype"]), tuple(tensor["shape"]))
    kind = str(spec["type"])
    dtype = np.dtype(SCALARS[kind][1]) if kind in SCALARS else np.dtype(object)
    return Field(name, kind, spec, required, dtype)


def param_of(spec: Spec) -> Param:
    kind = str(spec.get("type") or spec.get("dtype"))
    shape = tuple(spec["shape"]) if spec.get("shape") else None
    param = Param(str(spec["name"]), kind, None, shape, spec)
    default = spec.get("default")
    if default is None:
        return param
    # The default is JSON: like a value of a request it has to be converted to the parameter's type.
    return Param(param.name, kind, param.conform(default), shape, spec)
