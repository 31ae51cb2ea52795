"""JSON values and typed tensors → arrays of exactly the type that a signature asks for.

Every function either returns the very values it was given, in the wanted type, or raises `InvalidInput`
naming the input and the row. Messages never hold the value itself.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from predictors.protocol.batch import MISSING, Values
from predictors.protocol.errors import InvalidInput

Array: TypeAlias = "np.ndarray[Any, Any]"

JSON_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
    bytes: "bytes",
}
EXACT_IN_DOUBLE = 2**53
# pandas would also take words such as "now"; only written-out dates are data.
# A zone other than an offset or UTC would be dropped unseen.
ISO_TIME = r"\d{2}(:?\d{2}(:?\d{2}([.,]\d+)?)?)?\s?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)?"
ISO_DATE = re.compile(rf"\s*[+-]?\d{{4}}-?\d{{2}}(-?\d{{2}}([T ]{ISO_TIME})?)?\s*\Z", re.ASCII)


def described(value: Any) -> str:
    """What a value is, in the words of JSON, without the value."""
    return JSON_NAMES.get(type(value), type(value).__name__)


def refuse(name: str, row: int | None, expected: str, found: str) -> InvalidInput:
    where = f"input '{name}'" if row is None else f"input '{name}', row {row}"
    return InvalidInput(f"{where}: expected {expected}, got {found}")


def first_row(values: Values, wrong: Callable[[Any], bool]) -> tuple[int, Any]:
    """The first row whose value is wrong; there is one."""
    for row, value in enumerate(values):
        if wrong(value):
            return row, value
    raise AssertionError("no wrong value")  # pragma: no cover


def packed(values: Iterable[Any], count: int) -> Array:
    """Python numbers as doubles, several times as fast as numpy would; a TypeError for anything else but booleans."""
    made = np.empty(count)
    try:
        struct.pack_into(f"{count}d", made.data, 0, *values)
    except struct.error as error:
        raise TypeError("a value is no number") from error
    return made


def kinds(values: list[Any]) -> set[type]:
    return set(map(type, values))


def column_of(values: Values, name: str) -> Values:
    """A column as one value per row."""
    return one_axis(values, name) if isinstance(values, np.ndarray) else values


def one_axis(values: Array, name: str) -> Array:
    """A tensor of shape [rows] or [rows, 1] with one axis."""
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        shape = list(values.shape)
        raise InvalidInput(f"input '{name}': expected one value per row (shape [rows] or [rows, 1]), got shape {shape}")
    return values


def numbers(values: Values, dtype: np.dtype[Any], name: str, expected: str, *, nullable: bool) -> Array:
    """Numbers as `dtype`; nulls become NaN where the type can hold it or the column is optional."""
    if isinstance(values, np.ndarray):
        array = one_axis(values, name)
        if array.dtype.kind in "OUS":
            return numbers(array.tolist(), dtype, name, expected, nullable=nullable)
        if array.dtype.kind == "b":
            raise refuse(name, None, expected, "booleans")
        if array.dtype.kind not in "iuf":
            raise refuse(name, None, expected, str(array.dtype))
        return exact(array, dtype, name, expected, typed=True)
    found = kinds(values)
    if found <= {int, float}:
        return exact(number_array(values, dtype, name, expected), dtype, name, expected, typed=False)
    if found <= {int, float, type(None)} and (nullable or dtype.kind == "f"):
        whole = [value for value in values if value is not None]
        exact(number_array(whole, dtype, name, expected), dtype, name, expected, typed=False)
        # An integer column has no null: like pandas, an optional one becomes double where nulls are.
        return np.array(values, dtype=dtype if dtype.kind == "f" else np.float64)
    row, value = first_row(values, lambda v: type(v) not in (int, float) and (v is not None or not nullable))
    raise refuse(name, row, expected, described(value))


def number_array(values: list[Any], dtype: np.dtype[Any], name: str, expected: str) -> Array:
    """Python numbers as an array that has not lost a digit that `dtype` could hold."""
    array = np.array(values) if values else np.array(values, dtype=dtype)
    if dtype.kind == "f" or array.dtype.kind in "iu":
        return array.astype(np.float64) if array.dtype.kind == "O" else array
    # Large integers, or integers beside floats: numpy would round them.
    limits = np.iinfo(dtype)
    for row, value in enumerate(values):
        if not limits.min <= value <= limits.max:
            raise refuse(name, row, expected, "a number out of its range")
        if value != int(value):
            raise refuse(name, row, expected, "a number with a fraction")
    return np.array([int(value) for value in values], dtype=dtype)


def hold_bools(values: list[Any]) -> bool:
    """Whether booleans hide among the numbers of a nested list; numpy would take them for 0 and 1."""
    while list in (found := kinds(values)) and bool not in found:
        values = list(chain.from_iterable(item for item in values if type(item) is list))
    return bool in found


def exact(array: Array, dtype: np.dtype[Any], name: str, expected: str, *, typed: bool) -> Array:
    """`array` as `dtype`, or an error if a value would change (beyond the rounding of decimals)."""
    if array.dtype == dtype:
        return array
    if dtype.kind == "f":
        if typed and array.dtype.kind in "iu" and dtype.itemsize == 8 and array.dtype.itemsize == 8:
            beyond = (array > EXACT_IN_DOUBLE) | (array < -EXACT_IN_DOUBLE if array.dtype.kind == "i" else False)
            if beyond.any():
                raise refuse(name, int(beyond.argmax()), expected, "an integer that a double cannot hold exactly")
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        if dtype.itemsize < 8:
            overflowed = np.isinf(cast) & ~np.isinf(array)
            if overflowed.any():
                raise refuse(name, int(overflowed.argmax()), expected, "a number out of its range")
        return cast
    if array.dtype.kind == "f":
        array = array.astype(np.float64)  # the limits below are beyond what half precision can hold
        fractional = array != np.trunc(array)  # true for NaN too; infinities fail the range check
        if fractional.any():
            row = int(fractional.argmax())
            raise refuse(name, row, expected, "NaN" if np.isnan(array[row]) else "a number with a fraction")
    limits = np.iinfo(dtype)
    # Python integers compare exactly with any array; float bounds are powers of two and exact as well.
    low, high = (float(limits.min), float(limits.max) + 1) if array.dtype.kind == "f" else (limits.min, limits.max)
    outside = (array < low) | ((array >= high) if array.dtype.kind == "f" else (array > high))
    if outside.any():
        raise refuse(name, int(outside.argmax()), expected, "a number out of its range")
    return array.astype(dtype)


def booleans(values: Values, name: str, expected: str, *, nullable: bool) -> Array:
    if isinstance(values, np.ndarray):
        array = one_axis(values, name)
        if array.dtype.kind == "b":
            return array
        if array.dtype.kind not in "iuf":
            return booleans(array.tolist(), name, expected, nullable=nullable)
        other = (array != 0) & (array != 1)
        if other.any():
            raise refuse(name, int(other.argmax()), expected, "a number other than 0 and 1")
        return array.astype(np.bool_)
    found = kinds(values)
    if found <= {bool}:
        return np.array(values, dtype=np.bool_)
    if found <= {bool, type(None)} and nullable:
        return objects(values)
    if found <= {bool, int, float} and all(value in (0, 1) for value in values):
        return np.array(values, dtype=np.bool_)
    row, value = first_row(
        values, lambda v: type(v) is not bool and (v is not None or not nullable) and v not in (0, 1)
    )
    raise refuse(name, row, expected, described(value))


def strings(values: Values, name: str, expected: str, *, nullable: bool = True) -> Array:
    """Text as an object array, as pandas holds it; null stays None."""
    values = column_of(values, name)
    items = values.tolist() if isinstance(values, np.ndarray) else values
    found = kinds(items)
    if bytes in found:
        items = [decoded(item, name, row) if type(item) is bytes else item for row, item in enumerate(items)]
        found = kinds(items)
    if found <= {str} or (nullable and found <= {str, type(None)}):
        return objects(items)
    row, value = first_row(items, lambda v: type(v) is not str and (v is not None or not nullable))
    raise refuse(name, row, expected, described(value))


def decoded(item: bytes, name: str, row: int) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError:
        raise refuse(name, row, "a string", "bytes that are not UTF-8") from None


def binaries(values: Values, name: str, expected: str) -> Array:
    """Bytes: as they are from tensors, from base64 in JSON (as MLflow has it)."""
    values = column_of(values, name)
    items = values.tolist() if isinstance(values, np.ndarray) else values
    cells: list[bytes | None] = []
    for row, item in enumerate(items):
        if item is None or type(item) is bytes:
            cells.append(item)
        elif type(item) is str:
            try:
                cells.append(base64.b64decode(item, validate=True))
            except (binascii.Error, ValueError):
                raise refuse(name, row, expected, "a string that is not base64") from None
        else:
            raise refuse(name, row, expected, described(item))
    return objects(cells)


def datetimes(values: Values, name: str, expected: str) -> Array:
    """ISO 8601 text or timestamps as datetime64[ns]; those with a zone are converted to UTC."""
    import pandas as pd

    values = column_of(values, name)
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "M":
            return values.astype("datetime64[ns]")
        if values.dtype.kind != "O":
            raise refuse(name, None, expected, str(values.dtype))
        values = values.tolist()
    cells: list[Any] = []
    for row, item in enumerate(values):
        if type(item) is bytes:
            item = decoded(item, name, row)
        if item is None or item is pd.NaT:
            cells.append(pd.NaT)
            continue
        if not isinstance(item, (str, pd.Timestamp)) and type(item).__module__ != "datetime":
            raise refuse(name, row, expected, described(item))
        if isinstance(item, str) and not ISO_DATE.match(item):
            raise refuse(name, row, expected, "text that is not an ISO 8601 date and time")
        try:
            stamp = pd.Timestamp(item)
            stamp = stamp if stamp.tzinfo is None else stamp.tz_convert("UTC").tz_localize(None)
            cells.append(stamp.as_unit("ns"))
        except (ValueError, OverflowError):  # OutOfBoundsDatetime is a ValueError
            raise refuse(name, row, expected, "text that is not an ISO 8601 date and time") from None
    return np.array([cell.to_datetime64() for cell in cells], dtype="datetime64[ns]")


def objects(items: list[Any]) -> Array:
    """A one-dimensional object array, whatever the items are (numpy would unpack nested lists)."""
    array = np.empty(len(items), dtype=object)
    for row, item in enumerate(items):
        array[row] = item
    return array


def without_missing(values: Values, name: str, *, required: bool) -> Values:
    """A column whose records all have it; optional ones get null where they lack it."""
    if isinstance(values, np.ndarray) or MISSING not in values:
        return values
    if required:
        row, _ = first_row(values, lambda v: v is MISSING)
        raise InvalidInput(f"row {row}: missing required input '{name}'")
    return [None if value is MISSING else value for value in values]
