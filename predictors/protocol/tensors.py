"""V2 tensors ↔ arrays, for REST and gRPC alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from predictors.protocol import casting
from predictors.protocol.errors import InvalidInput

Array = casting.Array

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}  # fmt: skip
MAX_AXES, MAX_ELEMENTS = 32, 2**59  # of numpy, whose arrays have at most 2**63 bytes
NAMES = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}


@cache
def datatype_of(dtype: np.dtype[Any]) -> str:
    """The datatype that carries a numpy type; what is no number or boolean travels as BYTES."""
    return NAMES.get(dtype.newbyteorder("="), "BYTES")


def dtype_of(datatype: Any, name: str) -> np.dtype[Any]:
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise InvalidInput(f"input '{name}': unknown datatype; expected one of {', '.join(DTYPES)}")
    return dtype


def checked_shape(shape: Any, name: str) -> tuple[int, ...]:
    if not isinstance(shape, list):
        raise InvalidInput(f"input '{name}': 'shape' must be a list of non-negative integers")
    elements = 1
    for size in shape:
        if type(size) is not int or size < 0:
            raise InvalidInput(f"input '{name}': 'shape' must be a list of non-negative integers")
        elements *= size or 1
    if len(shape) > MAX_AXES or elements > MAX_ELEMENTS:
        raise InvalidInput(f"input '{name}': 'shape' is larger than any tensor can be")
    return tuple(shape)


def from_json(data: Any, datatype: Any, shape: tuple[int, ...], name: str, literals: bool = True) -> Array:
    """The `data` of a JSON tensor, nested or flat in row-major order; `literals` as in `Batch`."""
    dtype = dtype_of(datatype, name)
    if not isinstance(data, list):
        raise InvalidInput(f"input '{name}': 'data' must be a list, got {casting.described(data)}")
    expected = f"{datatype} values"
    if dtype.kind == "f" and (found := doubles(data, shape, literals)) is not None:
        return casting.exact(found, dtype, name, expected, typed=False).reshape(shape)
    made = plain_numbers(data, dtype)
    if made is not None and made.shape in (shape, (prod(shape),)):
        return casting.exact(made.reshape(-1), dtype, name, expected, typed=False).reshape(shape)
    nested, flat = flattened(data, name)
    if nested not in (shape, (len(flat),)) or len(flat) != prod(shape):
        raise InvalidInput(f"input '{name}': shape {list(shape)} does not agree with data of shape {list(nested)}")
    if datatype == "BYTES":
        made = casting.strings(flat, name, "a string (BYTES)", nullable=True)
    elif datatype == "BOOL":
        made = casting.booleans(flat, name, expected, nullable=False)
    else:
        made = casting.numbers(flat, dtype, name, expected, nullable=False)
    return made.reshape(shape)


def doubles(data: list[Any], shape: tuple[int, ...], literals: bool) -> Array | None:
    """Numbers in one list or in one list per row, the quickest way; None for anything else."""
    count = prod(shape)
    if not data or not count:
        return None
    if type(data[0]) is list:
        if len(shape) != 2 or len(data) != shape[0] or any(type(row) is not list for row in data):
            return None
        if set(map(len, data)) != {shape[1]}:
            return None
        data = list(chain.from_iterable(data))
    if len(data) != count or (literals and bool in casting.kinds(data)):
        return None
    try:
        return casting.packed(data, count)
    except (TypeError, OverflowError):
        return None


def plain_numbers(data: list[Any], dtype: np.dtype[Any]) -> Array | None:
    """Large lists of numbers at the speed of numpy; None where a value needs a closer look."""
    if dtype.kind not in "iuf" or casting.hold_bools(data):
        return None
    try:
        made = np.array(data)
    except ValueError:  # ragged
        return None
    return made if made.dtype.kind in "iu" or (made.dtype.kind == dtype.kind == "f") else None


def flattened(data: list[Any], name: str) -> tuple[tuple[int, ...], list[Any]]:
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
        return casting.objects(list(raw_elements(buffer, count, name))).reshape(shape)
    wanted = count * dtype.itemsize
    if len(buffer) != wanted:
        raise InvalidInput(
            f"input '{name}': {datatype} of shape {list(shape)} takes {wanted} bytes of binary data, got {len(buffer)}"
        )
    # A copy: it is aligned, whatever came before it in the body, and a model may write into it.
    return np.frombuffer(buffer, dtype=dtype).reshape(shape).copy()


def raw_elements(buffer: bytes | memoryview, count: int, name: str) -> Sequence[bytes]:
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


def to_raw(array: Array) -> bytes:
    if array.dtype.kind == "O":
        return b"".join(len(item).to_bytes(4, "little") + item for item in map(as_bytes, array.reshape(-1)))
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def as_bytes(item: Any) -> bytes:
    if item is None:
        return b""
    return item if isinstance(item, bytes) else str(item).encode()
