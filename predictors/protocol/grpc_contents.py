"""The numbers of large gRPC messages, read and written by numpy in blocks; protobuf sees to the rest.

Protobuf holds the interpreter's lock from the first byte of a message to the last, and makes an object of each number.
Here a message is only walked through: what is long in it is lifted out, as a part of the same memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from predictors.protocol.casting import Array

BLOCK = 2**18  # bytes of packed numbers that are converted at a time: other threads have their turn in between
LONG = 64 * 1024  # bytes of a value that is lifted out
MAX_FIELDS = 1000  # that are walked through; a message with more of them is left to protobuf
INPUTS, CONTENTS, RAW_CONTENTS = 5, 5, 7  # the numbers of the fields of a request, and of its inputs
OUTPUTS = 5
VARINT, LENGTH = 0, 2  # wire types
FIXED_SIZES = {1: 8, 5: 4}
MAX_VARINT, MAX_TAG = 10, 5  # bytes

PACKED = {
    1: ("bool_contents", np.dtype("bool")),
    2: ("int_contents", np.dtype("<i4")),
    3: ("int64_contents", np.dtype("<i8")),
    4: ("uint_contents", np.dtype("<u4")),
    5: ("uint64_contents", np.dtype("<u8")),
    6: ("fp32_contents", np.dtype("<f4")),
    7: ("fp64_contents", np.dtype("<f8")),
}
"""The fields of numbers, and what their numbers are."""
NUMBERS = {name: number for number, (name, _) in PACKED.items()}
TYPES = dict(PACKED.values())


class Irregular(Exception):
    """Protobuf has to read the message, or refuse it."""


@dataclass(frozen=True, slots=True)
class LargeMessage:
    rest: bytes
    """The message, in which what was lifted out is empty."""
    contents: dict[int, tuple[str, Array]] = field(default_factory=dict)
    """The typed contents of an input, by its index: the name of the field, and its numbers."""
    raw: dict[int, memoryview] = field(default_factory=dict)
    """Raw contents, by their index."""


def lifted(message: bytes) -> LargeMessage:
    """A ModelInferRequest without the long values of its tensors, and these."""
    try:
        large = lift(memoryview(message))
    except Irregular:
        return LargeMessage(message)
    return large if large.contents or large.raw else LargeMessage(message)


def lift(message: memoryview) -> LargeMessage:
    rest, contents, raw = bytearray(), {}, {}
    inputs = raws = 0
    for start, number, value, end in fields_of(message):
        if number == INPUTS and value is not None:
            tensor, numbers = lift_contents(value) if len(value) > LONG else (value, None)
            rest += length_field(INPUTS, tensor)
            if numbers is not None:
                contents[inputs] = numbers
            inputs += 1
        elif number == RAW_CONTENTS and value is not None:
            if len(value) > LONG:
                raw[raws] = value
                value = value[:0]
            rest += length_field(RAW_CONTENTS, value)
            raws += 1
        else:
            rest += message[start:end]
    return LargeMessage(bytes(rest), contents, raw)


def lift_contents(tensor: memoryview) -> tuple[bytes | memoryview, tuple[str, Array] | None]:
    """An InferInputTensor without its contents, and these, if they are one run of packed numbers."""
    rest, numbers = bytearray(), None
    for start, number, value, end in fields_of(tensor):
        if number != CONTENTS:
            rest += tensor[start:end]
        elif numbers is not None or value is None or (numbers := packed_numbers(value)) is None:
            return tensor, None
    return (bytes(rest + length_field(CONTENTS, b"")), numbers) if numbers is not None else (tensor, None)


def packed_numbers(contents: memoryview) -> tuple[str, Array] | None:
    try:
        [(_, number, value, _)] = fields_of(contents)
    except ValueError:  # none, or several
        return None
    if value is None or number not in PACKED:
        return None
    name, dtype = PACKED[number]
    if dtype.kind != "f":
        return name, varints(value, dtype)
    if len(value) % dtype.itemsize:
        raise Irregular
    return name, np.frombuffer(value, dtype).copy()  # aligned, and without the message behind it


def fields_of(message: memoryview) -> Iterator[tuple[int, int, memoryview | None, int]]:
    """Where each field begins, its number, its value if that has a length, and where it ends."""
    at = 0
    for _ in range(MAX_FIELDS):
        if at == len(message):
            return
        start = at
        tag, at = varint(message, at)
        kind, value = tag & 7, None
        if kind == LENGTH:
            size, at = varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind == VARINT:
            _, at = varint(message, at, MAX_VARINT)
        elif kind in FIXED_SIZES:
            at += FIXED_SIZES[kind]
        else:
            raise Irregular
        if at > len(message) or not tag >> 3:
            raise Irregular
        yield start, tag >> 3, value, at
    if at < len(message):
        raise Irregular


def varint(message: memoryview, at: int, longest: int = MAX_TAG) -> tuple[int, int]:
    """A tag or a length, or a longer integer; and where it ends."""
    value = 0
    for shift in range(0, 7 * longest, 7):
        if at == len(message):
            raise Irregular
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise Irregular


def varints(packed: memoryview, dtype: np.dtype[np.generic]) -> Array:
    """Packed integers or booleans as numbers of this type."""
    encoded = np.frombuffer(packed, np.uint8)
    if len(encoded) and encoded[-1] >= 0x80:
        raise Irregular  # the last one is cut off
    numbers = np.empty(sum(int(np.count_nonzero(one < 0x80)) for one in blocks(encoded)), dtype)
    at = start = 0
    while start < len(encoded):
        block = encoded[start : start + BLOCK]
        if block.max() < 0x80:
            values = block
        else:
            ends = np.flatnonzero(block < 0x80)
            if not len(ends):
                raise Irregular
            block = block[: ends[-1] + 1]
            values = values_of(block, ends)
        numbers[at : at + len(values)] = values != 0 if dtype.kind == "b" else values.astype(dtype, copy=False)
        at, start = at + len(values), start + len(block)
    return numbers


def values_of(block: Array, ends: Array) -> Array:
    """The integers that end there, modulo 2**64."""
    sizes = np.diff(ends, prepend=-1)
    longest = int(sizes.max())
    if longest > MAX_VARINT or (longest == MAX_VARINT and (block[ends[sizes == MAX_VARINT]] > 1).any()):
        raise Irregular
    starts = ends - sizes + 1
    values: Array = (block[starts] & 0x7F).astype(np.uint64)
    for index in range(1, longest):
        longer = np.flatnonzero(sizes > index)
        more = (block[starts[longer] + index] & 0x7F).astype(np.uint64)
        values[longer] |= more << np.uint64(7 * index)
    return values


def blocks(array: Array) -> Iterator[Array]:
    return (array[start : start + BLOCK] for start in range(0, len(array), BLOCK))


# -- replies -----------------------------------------------------------------------------------------------------


def output_with(output: bytes, name: str, numbers: Array) -> list[bytes]:
    """A field `outputs` of a reply: the InferOutputTensor, with these numbers as its contents, in parts."""
    parts = packed(numbers)
    size = sum(map(len, parts))
    contents = tag(NUMBERS[name], LENGTH) + one_varint(size)
    inner = tag(CONTENTS, LENGTH) + one_varint(len(contents) + size) + contents
    return [tag(OUTPUTS, LENGTH) + one_varint(len(output) + len(inner) + size), output, inner, *parts]


def packed(numbers: Array) -> list[bytes]:
    kind = numbers.dtype.kind
    if kind == "f":
        return [block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes() for block in blocks(numbers)]
    return [packed_varints(block.astype(np.int64 if kind == "i" else np.uint64)) for block in blocks(numbers)]


def packed_varints(block: Array) -> bytes:
    values = block.view(np.uint64)  # a negative number is two's complement of 64 bits, whatever its type
    largest = int(values.max())
    if largest < 0x80:
        return values.astype(np.uint8).tobytes()
    sizes = np.ones(len(values), np.int64)
    for index in range(1, -(-largest.bit_length() // 7)):
        sizes += values >= np.uint64(1 << 7 * index)
    ends = np.cumsum(sizes)
    starts, encoded = ends - sizes, np.empty(ends[-1], np.uint8)
    for index in range(int(sizes.max())):
        longer = np.flatnonzero(sizes > index)
        septets = (values[longer] >> np.uint64(7 * index)).astype(np.uint8)
        encoded[starts[longer] + index] = septets | 0x80
    encoded[ends - 1] &= 0x7F
    return encoded.tobytes()


def length_field(number: int, value: bytes | memoryview) -> bytes:
    return b"".join((tag(number, LENGTH), one_varint(len(value)), value))


def tag(number: int, kind: int) -> bytes:
    return one_varint(number << 3 | kind)


def one_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
