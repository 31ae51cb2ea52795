"""JSON values and typed tensors as arrays of exactly the type that a signature asks for.

Every function either returns the values it was given, unchanged but for their type, or raises `InvalidInput`
with the input and the row. Messages never contain the value itself.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np

from predictors.protocol.batch import MISSING, Values
from predictors.protocol.errors import InvalidInput

Array: TypeAlias = "np.ndarray[Any, Any]"

JSON_TYPES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
    bytes: "bytes",
}
NO_NUMBERS = frozenset({bool, str, bytes})
MAX_EXACT_IN_DOUBLE = 2**53
MIN_LONG = -(2**63)
MAX_DATE = 100  # characters
BLOCK = 2**16  # values that are converted at a time: other threads have their turn in between
# pandas also parses words such as "now"; here only a written-out date is one.
# It drops zones silently, unless they are an offset or UTC.
ISO_TIME = r"\d{2}(:?\d{2}(:?\d{2}([.,]\d+)?)?)?\s?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)?"
ISO_DATE = re.compile(rf"\s*[+-]?\d{{4}}-?\d{{2}}(-?\d{{2}}([T ]{ISO_TIME})?)?\s*\Z", re.ASCII)


def json_type(value: Any) -> str:
    """The type of a value in the words of JSON, for messages."""
    return JSON_TYPES.get(type(value), type(value).__name__)


def mismatch(name: str, row: int | None, expected: str, actual: str) -> InvalidInput:
    """The error for an input, or for one row of it, that is not of the expected type."""
    where = f"input '{name}'" if row is None else f"input '{name}', row {row}"
    return InvalidInput(f"{where}: expected {expected}, got {actual}")


def first_invalid(values: Values, invalid: Callable[[Any], bool]) -> tuple[int, Any]:
    """The first invalid value and its row; the caller knows that there is one."""
    for row, value in enumerate(values):
        if invalid(value):
            return row, value
    raise AssertionError("no value is invalid")  # pragma: no cover


def pack_doubles(values: Iterable[Any], count: int) -> Array:
    """Python numbers as doubles, several times as fast as `np.array`. Raises TypeError for text, null and lists;
    booleans pass as 0 and 1."""
    doubles = np.empty(count)
    try:
        if count > BLOCK:
            values, start = iter(values), 0
            while count - start > BLOCK:
                struct.pack_into(f"{BLOCK}d", doubles.data, start * doubles.itemsize, *islice(values, BLOCK))
                start += BLOCK
            struct.pack_into(f"{count - start}d", doubles.data, start * doubles.itemsize, *values)
        else:
            struct.pack_into(f"{count}d", doubles.data, 0, *values)
    except struct.error as error:
        raise TypeError("a value is no number") from error
    return doubles


def types_of(values: list[Any]) -> set[type]:
    if len(values) <= BLOCK:
        return set(map(type, values))
    return set().union(*(set(map(type, values[i : i + BLOCK])) for i in range(0, len(values), BLOCK)))


def array_of(values: Any, dtype: np.dtype[Any] | None = None) -> Array:
    """A sequence of numbers as numpy has it."""
    if len(values) > BLOCK:
        blocks = [np.array(values[i : i + BLOCK], dtype) for i in range(0, len(values), BLOCK)]
        if len({(block.dtype, block.shape[1:]) for block in blocks}) == 1 and blocks[0].dtype.kind in "iuf":
            return np.concatenate(blocks)
    return np.array(values, dtype)


def column_of(values: Values, name: str) -> Values:
    """A column as one value per row."""
    return squeeze_column(values, name) if isinstance(values, np.ndarray) else values


def squeeze_column(values: Array, name: str) -> Array:
    """A tensor of shape [rows] or [rows, 1] as one of shape [rows]."""
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        shape = list(values.shape)
        raise InvalidInput(f"input '{name}': expected one value per row (shape [rows] or [rows, 1]), got shape {shape}")
    return values


def numbers(values: Values, dtype: np.dtype[Any], name: str, expected: str, *, nullable: bool) -> Array:
    """Numbers as `dtype`; nulls become NaN where the type can hold it or the column is optional."""
    if isinstance(values, np.ndarray):
        array = squeeze_column(values, name)
        if array.dtype.kind in "OUS":
            return numbers(array.tolist(), dtype, name, expected, nullable=nullable)
        if array.dtype.kind == "b":
            raise mismatch(name, None, expected, "booleans")
        if array.dtype.kind not in "iuf":
            raise mismatch(name, None, expected, str(array.dtype))
        return cast_exact(array, dtype, name, expected, typed=True)
    types = types_of(values)
    if types <= {int, float}:
        return cast_exact(number_array(values, dtype, name, expected), dtype, name, expected, typed=False)
    if types <= {int, float, type(None)} and (nullable or dtype.kind == "f"):
        present = [value for value in values if value is not None]
        cast_exact(number_array(present, dtype, name, expected), dtype, name, expected, typed=False)
        # No integer type has a null: as in pandas, an optional column with nulls becomes double.
        return array_of(values, dtype if dtype.kind == "f" else np.dtype(np.float64))
    row, value = first_invalid(values, lambda v: type(v) not in (int, float) and (v is not None or not nullable))
    raise mismatch(name, row, expected, json_type(value))


def number_array(values: list[Any], dtype: np.dtype[Any], name: str, expected: str) -> Array:
    """Python numbers as an array, with every digit that `dtype` can hold."""
    array = array_of(values) if values else np.array(values, dtype=dtype)
    if dtype.kind == "f" or array.dtype.kind in "iu":
        return array.astype(np.float64) if array.dtype.kind == "O" else array
    # Large integers, or integers beside floats: numpy would round them.
    limits = np.iinfo(dtype)
    for row, value in enumerate(values):
        if not limits.min <= value <= limits.max or (value == MIN_LONG and type(value) is float):
            raise mismatch(name, row, expected, "a number out of its range")
        if value != int(value):
            raise mismatch(name, row, expected, "a number with a fraction")
    return np.array([int(value) for value in values], dtype=dtype)


def may_be_numbers(values: list[Any]) -> bool:
    """Whether no boolean and no text is at any depth of a nested list.

    numpy would turn booleans into 0 and 1, and numbers beside a text into texts, each of the length of the longest.
    """
    while (types := types_of(values)).isdisjoint(NO_NUMBERS):
        if list not in types:
            return True
        values = list(chain.from_iterable(item for item in values if type(item) is list))
    return False


def cast_exact(array: Array, dtype: np.dtype[Any], name: str, expected: str, *, typed: bool) -> Array:
    """`array` as `dtype`; raises `InvalidInput` if a value would change by more than the rounding of a decimal."""
    if array.dtype == dtype:
        return array
    if dtype.kind == "f":
        if typed and array.dtype.kind in "iu" and dtype.itemsize == 8 and array.dtype.itemsize == 8:
            beyond = (array > MAX_EXACT_IN_DOUBLE) | (
                array < -MAX_EXACT_IN_DOUBLE if array.dtype.kind == "i" else False
            )
            if beyond.any():
                raise mismatch(name, int(beyond.argmax()), expected, "an integer that a double cannot hold exactly")
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        if dtype.itemsize < 8:
            overflowed = np.isinf(cast) & ~np.isinf(array)
            if overflowed.any():
                raise mismatch(name, int(overflowed.argmax()), expected, "a number out of its range")
        return cast
    if array.dtype.kind == "f":
        array = array.astype(np.float64)  # the limits below are beyond what half precision can hold
        fractional = array != np.trunc(array)  # true for NaN too; infinities fail the range check
        if fractional.any():
            row = int(fractional.argmax())
            raise mismatch(name, row, expected, "NaN" if np.isnan(array[row]) else "a number with a fraction")
    limits = np.iinfo(dtype)
    # Python integers compare exactly with any array; float bounds are powers of two and exact as well.
    low, high = (float(limits.min), float(limits.max) + 1) if array.dtype.kind == "f" else (limits.min, limits.max)
    outside = (array < low) | ((array >= high) if array.dtype.kind == "f" else (array > high))
    if array.dtype.kind == "f" and limits.min == MIN_LONG and not typed:
        outside |= array == low  # integers of JSON beyond 64 bits have become this number
    if outside.any():
        raise mismatch(name, int(outside.argmax()), expected, "a number out of its range")
    return array.astype(dtype)


def booleans(values: Values, name: str, expected: str, *, nullable: bool) -> Array:
    if isinstance(values, np.ndarray):
        array = squeeze_column(values, name)
        if array.dtype.kind == "b":
            return array
        if array.dtype.kind not in "iuf":
            return booleans(array.tolist(), name, expected, nullable=nullable)
        other = (array != 0) & (array != 1)
        if other.any():
            raise mismatch(name, int(other.argmax()), expected, "a number other than 0 and 1")
        return array.astype(np.bool_)
    types = types_of(values)
    if types <= {bool}:
        return np.array(values, dtype=np.bool_)
    if types <= {bool, type(None)} and nullable:
        return object_array(values)
    if types <= {bool, int, float} and all(value in (0, 1) for value in values):
        return np.array(values, dtype=np.bool_)
    if types <= {bool, int, float, type(None)} and nullable and all(value in (None, 0, 1) for value in values):
        return object_array([None if value is None else bool(value) for value in values])
    row, value = first_invalid(
        values, lambda v: type(v) is not bool and (v is not None or not nullable) and v not in (0, 1)
    )
    raise mismatch(name, row, expected, json_type(value))


def strings(values: Values, name: str, expected: str, *, nullable: bool = True) -> Array:
    """Text as an object array, as pandas holds it; null stays None."""
    values = column_of(values, name)
    items = values.tolist() if isinstance(values, np.ndarray) else values
    types = types_of(items)
    if bytes in types:
        items = [decode_text(item, name, row) if type(item) is bytes else item for row, item in enumerate(items)]
        types = types_of(items)
    if types <= {str} or (nullable and types <= {str, type(None)}):
        return object_array(items)
    row, value = first_invalid(items, lambda v: type(v) is not str and (v is not None or not nullable))
    raise mismatch(name, row, expected, json_type(value))


def decode_text(item: bytes, name: str, row: int) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError:
        raise mismatch(name, row, "a string", "bytes that are not UTF-8") from None


def binaries(values: Values, name: str, expected: str, *, text: bool = False) -> Array:
    """Bytes: those of tensors as they are, unless they are `text`; text is decoded from base64, as MLflow does."""
    values = column_of(values, name)
    items = values.tolist() if isinstance(values, np.ndarray) else values
    cells: list[bytes | None] = []
    for row, item in enumerate(items):
        if item is None or (type(item) is bytes and not text):
            cells.append(item)
        elif isinstance(item, (str, bytes)):
            try:
                lines = ascii_bytes(item).split()  # as MLflow writes it
                cells.append(base64.b64decode(b"".join(lines), validate=True))
            except (binascii.Error, ValueError):
                raise mismatch(name, row, expected, "a string that is not base64") from None
        else:
            raise mismatch(name, row, expected, json_type(item))
    return object_array(cells)


def ascii_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("ascii")


def datetimes(values: Values, name: str, expected: str) -> Array:
    """ISO 8601 text or timestamps as datetime64[ns]; times with a zone are converted to UTC."""
    import pandas as pd

    values = column_of(values, name)
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "M":
            return values.astype("datetime64[ns]")
        if values.dtype.kind != "O":
            raise mismatch(name, None, expected, str(values.dtype))
        values = values.tolist()
    cells: list[Any] = []
    for row, item in enumerate(values):
        if type(item) is bytes:
            item = decode_text(item, name, row)
        if item is None or item is pd.NaT:
            cells.append(pd.NaT)
            continue
        if not isinstance(item, (str, pd.Timestamp)) and type(item).__module__ != "datetime":
            raise mismatch(name, row, expected, json_type(item))
        if isinstance(item, str) and (len(item) > MAX_DATE or not ISO_DATE.match(item)):
            raise mismatch(name, row, expected, "text that is not an ISO 8601 date and time")
        try:
            stamp = pd.Timestamp(item)
            stamp = stamp if stamp.tzinfo is None else stamp.tz_convert("UTC").tz_localize(None)
            cells.append(stamp.as_unit("ns"))
        except (pd.errors.OutOfBoundsDatetime, OverflowError):
            raise mismatch(name, row, expected, "a date out of range (1677-09-22 to 2262-04-11)") from None
        except ValueError:
            raise mismatch(name, row, expected, "text that is not an ISO 8601 date and time") from None
    return np.array([cell.to_datetime64() for cell in cells], dtype="datetime64[ns]")


def object_array(items: list[Any]) -> Array:
    """A one-dimensional object array, even of lists, which `np.array` would unpack."""
    array = np.empty(len(items), dtype=object)
    for row, item in enumerate(items):
        array[row] = item
    return array


def fill_missing(values: Values, name: str, *, required: bool) -> Values:
    """The column with null for records that lack it; raises `InvalidInput` if the column is required."""
    if isinstance(values, np.ndarray) or MISSING not in values:
        return values
    if required:
        row, _ = first_invalid(values, lambda v: v is MISSING)
        raise InvalidInput(f"row {row}: missing required input '{name}'")
    return [None if value is MISSING else value for value in values]
