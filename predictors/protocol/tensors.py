"""V2 tensors ↔ arrays, for REST and gRPC alike."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from predictors.protocol import casting
from predictors.protocol.errors import InvalidInput
from predictors.protocol.packed_rows import PackedRows

Array = casting.Array

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}  # fmt: skip
MAX_AXES, MAX_ELEMENTS = 32, 2**59  # numpy's limits: an array has at most 2**63 bytes
NAMES = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}


@cache
def datatype_of(dtype: np.dtype[Any]) -> str:
    """The datatype of a numpy type: BYTES for anything but numbers and booleans."""
    return NAMES.get(dtype.newbyteorder("="), "BYTES")


def dtype_of(datatype: Any, name: str) -> np.dtype[Any]:
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise InvalidInput(f"input '{name}': unknown datatype; expected one of {', '.join(DTYPES)}")
    return dtype


def parse_shape(shape: Any, name: str) -> tuple[int, ...]:
    if not isinstance(shape, list):
        raise InvalidInput(f"input '{name}': 'shape' must be a list of non-negative integers")
    if len(shape) > MAX_AXES:
        raise InvalidInput(f"input '{name}': 'shape' has {len(shape)} axes, a tensor has at most {MAX_AXES}")
    elements = 1
    for size in shape:
        if type(size) is not int or size < 0:
            raise InvalidInput(f"input '{name}': 'shape' must be a list of non-negative integers")
        elements *= size or 1
    if shape == [0]:
        raise InvalidInput(f"input '{name}' is empty: expected at least one row, got shape [0]")
    if elements > MAX_ELEMENTS:
        raise InvalidInput(f"input '{name}': 'shape' is larger than any tensor can be")
    return tuple(shape) or (1,)  # one value is one row: KServe's clients send texts so


def from_json(data: Any, datatype: Any, shape: tuple[int, ...], name: str, literals: bool = True) -> Array:
    """The `data` of a JSON tensor, nested or flat in row-major order; `literals` as in `Batch`."""
    dtype = dtype_of(datatype, name)
    expected = f"{datatype} values"
    if isinstance(data, PackedRows):
        numbers = data.numbers_as(dtype)
        if numbers is not None and numbers.size == prod(shape) and (data.width is None or numbers.shape == shape):
            return casting.cast_exact(numbers.reshape(-1), dtype, name, expected, typed=False).reshape(shape)
        data = data.tolist()
    if not isinstance(data, list):
        raise InvalidInput(f"input '{name}': 'data' must be a list, got {casting.json_type(data)}")
    if dtype.kind == "f" and (packed := pack_numbers(data, shape, literals)) is not None:
        return casting.cast_exact(packed, dtype, name, expected, typed=False).reshape(shape)
    numbers = array_of_numbers(data, dtype)
    if numbers is not None and numbers.shape in (shape, (prod(shape),)):
        return casting.cast_exact(numbers.reshape(-1), dtype, name, expected, typed=False).reshape(shape)
    nested, flat = flatten(data, name)
    if nested not in (shape, (len(flat),)) or len(flat) != prod(shape):
        raise InvalidInput(f"input '{name}': shape {list(shape)} does not agree with data of shape {list(nested)}")
    if datatype == "BYTES":
        array = casting.strings(flat, name, "a string (BYTES)", nullable=True)
    elif datatype == "BOOL":
        array = casting.booleans(flat, name, expected, nullable=False)
    else:
        array = casting.numbers(flat, dtype, name, expected, nullable=False)
    return array.reshape(shape)


def pack_numbers(data: list[Any], shape: tuple[int, ...], literals: bool) -> Array | None:
    """Numbers in one list, or in a list per row, as doubles: the fastest conversion. None for anything else."""
    count = prod(shape)
    if not data or not count:
        return None
    if type(data[0]) is list:
        if len(shape) != 2 or len(data) != shape[0] or any(type(row) is not list for row in data):
            return None
        if set(map(len, data)) != {shape[1]}:
            return None
        data = list(chain.from_iterable(data))
    if len(data) != count or (literals and bool in casting.types_of(data)):
        return None
    try:
        return casting.pack_doubles(data, count)
    except (TypeError, OverflowError):
        return None


def array_of_numbers(data: list[Any], dtype: np.dtype[Any]) -> Array | None:
    """Nested lists of numbers as numpy converts them; None if values have to be checked one by one."""
    if dtype.kind not in "iuf" or not casting.may_be_numbers(data):
        return None
    try:
        array = casting.array_of(data)
    except ValueError:  # ragged
        return None
    return array if array.dtype.kind in "iu" or (array.dtype.kind == dtype.kind == "f") else None


def flatten(data: list[Any], name: str) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists and their values in row-major order."""
    shape: list[int] = [len(data)]
    flat = data
    while flat and any(type(item) is list for item in flat):
        sizes = {len(item) if type(item) is list else -1 for item in flat}
        if len(sizes) != 1:
            raise InvalidInput(f"input '{name}': 'data' is ragged: lists of different lengths at one level")
        shape.append(sizes.pop())
        flat = [value for item in flat for value in item]
    return tuple(shape), flat


def from_raw(buffer: bytes | memoryview, datatype: Any, shape: tuple[int, ...], name: str) -> Array:
    """A tensor in binary form: little-endian, row-major; BYTES with a 4-byte length before each element."""
    dtype = dtype_of(datatype, name)
    count = prod(shape)
    if datatype == "BYTES":
        return casting.object_array(list(split_elements(buffer, count, name))).reshape(shape)
    size = count * dtype.itemsize
    if len(buffer) != size:
        raise InvalidInput(
            f"input '{name}': {datatype} of shape {list(shape)} takes {size} bytes of binary data, got {len(buffer)}"
        )
    # A copy is aligned, wherever it was in the body, and the model may write to it.
    return np.frombuffer(buffer, dtype=dtype).reshape(shape).copy()


def split_elements(buffer: bytes | memoryview, count: int, name: str) -> Sequence[bytes]:
    view = memoryview(buffer)
    elements: list[bytes] = []
    position = 0
    while position < len(view):
        start = position + 4
        size = int.from_bytes(view[position:start], "little")
        if start > len(view) or start + size > len(view):
            raise InvalidInput(f"input '{name}': binary data ends inside element {len(elements)}")
        elements.append(bytes(view[start : start + size]))
        position = start + size
    if len(elements) != count:
        raise InvalidInput(f"input '{name}': shape asks for {count} elements, binary data has {len(elements)}")
    return elements


def from_base64(array: Array, name: str) -> Array:
    """The bytes of a tensor whose `content_type` says that it holds them as base64."""
    return casting.binaries(array.reshape(-1), name, "base64 (its content_type)", text=True).reshape(array.shape)


def to_base64(array: Array) -> list[str]:
    return [base64.b64encode(as_bytes(item)).decode() for item in array.reshape(-1)]


def to_raw(array: Array) -> bytes:
    if array.dtype.kind == "O":
        return b"".join(len(item).to_bytes(4, "little") + item for item in map(as_bytes, array.reshape(-1)))
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def as_bytes(item: Any) -> bytes:
    if item is None:
        return b""
    return item if isinstance(item, bytes) else str(item).encode()
