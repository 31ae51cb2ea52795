"""Valid requests for any model, made from its metadata or from a sample that the user gives."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np

Json: TypeAlias = dict[str, Any]
Array: TypeAlias = "np.ndarray[Any, Any]"

# Binary tensors are little-endian, whatever the machine.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}  # fmt: skip
# How many elements a variable dimension gets, where it is not the batch.
VARIABLE = 4


@dataclass(frozen=True)
class RequestTensor:
    """One input: BYTES elements are kept as `bytes`."""

    name: str
    datatype: str
    array: Array

    @property
    def shape(self) -> list[int]:
        return list(self.array.shape)

    def entry(self, *, nested: bool = False) -> Json:
        """The tensor as JSON, its data flat in row-major order or nested."""
        array = self.array if nested else self.array.reshape(-1)
        data = as_text(array.tolist())
        return {"name": self.name, "shape": self.shape, "datatype": self.datatype, "data": data}

    def raw(self) -> bytes:
        if self.datatype == "BYTES":
            return b"".join(length_prefixed(item) for item in self.array.reshape(-1))
        return np.ascontiguousarray(self.array).tobytes()

    def binary_entry(self, raw: bytes | None = None) -> Json:
        """The JSON part of a tensor whose data follow in binary form."""
        size = len(self.raw() if raw is None else raw)
        return {
            "name": self.name,
            "shape": self.shape,
            "datatype": self.datatype,
            "parameters": {"binary_data_size": size},
        }


def length_prefixed(item: bytes) -> bytes:
    return len(item).to_bytes(4, "little") + item


def as_text(data: Any) -> Any:
    """JSON has no bytes: text stands for them."""
    if isinstance(data, list):
        return [as_text(item) for item in data]
    return data.decode() if isinstance(data, bytes) else data


def flattened(data: Any) -> list[Any]:
    """The elements of nested lists, in row-major order."""
    if not isinstance(data, list):
        return [data]
    return [element for item in data for element in flattened(item)]


def array_of(elements: Sequence[Any], datatype: str, shape: Iterable[int]) -> Array:
    if datatype != "BYTES":
        return np.array(elements, dtype=DTYPES[datatype]).reshape(tuple(shape))
    array = np.empty(len(elements), dtype=object)
    for index, element in enumerate(elements):
        array[index] = element.encode() if isinstance(element, str) else element
    return array.reshape(tuple(shape))


def from_raw(raw: bytes, datatype: str, shape: Iterable[int]) -> Array:
    """The array in a binary tensor; an error where the bytes do not fit the shape."""
    if datatype != "BYTES":
        return np.frombuffer(raw, dtype=DTYPES[datatype]).reshape(tuple(shape))
    elements, position = [], 0
    while position < len(raw):
        start = position + 4
        position = start + int.from_bytes(raw[position:start], "little")
        if position > len(raw):
            raise ValueError("a BYTES tensor ends inside an element")
        elements.append(raw[start:position])
    return array_of(elements, datatype, shape)


def example(datatype: str, shape: Sequence[int], seed: int) -> Array:
    """Small different values, exact in every type, that most models accept."""
    numbers = [(index * 5 + seed * 3) % 16 + 1 for index in range(prod(shape))]
    if datatype == "BYTES":
        # Not ASCII: lengths count bytes, not characters.
        return array_of([f"wörd {number}" for number in numbers], datatype, shape)
    if datatype == "BOOL":
        return array_of([number % 2 == 0 for number in numbers], datatype, shape)
    if datatype.startswith("FP"):
        return array_of([number * 0.5 for number in numbers], datatype, shape)
    return array_of(numbers, datatype, shape)


def binary_body(tensors: Sequence[RequestTensor], in_json: Iterable[str] = (), **members: Any) -> tuple[bytes, Json]:
    """A body with binary tensors and its headers; tensors named in `in_json` stay JSON."""
    names = set(in_json)
    entries = [tensor.entry() if tensor.name in names else tensor.binary_entry() for tensor in tensors]
    return joined({"inputs": entries, **members}, [t.raw() for t in tensors if t.name not in names])


def joined(head: Json, chunks: Iterable[bytes]) -> tuple[bytes, Json]:
    text = json.dumps(head).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    return b"".join([text, *chunks]), headers


def json_body(tensors: Sequence[RequestTensor], *, nested: bool = False, **members: Any) -> Json:
    return {"inputs": [tensor.entry(nested=nested) for tensor in tensors], **members}


class ConformancePayloads:
    """Makes valid inputs of any number of rows for one model."""

    def __init__(self, metadata: Mapping[str, Any], sample: Mapping[str, Any] | None) -> None:
        self.specs: list[Json] = copy.deepcopy(metadata.get("inputs") or [])
        self.sample = [tensor_of(entry) for entry in sample["inputs"]] if sample else []
        shapes = [spec["shape"] for spec in self.specs]
        if shapes:
            self.batchable = all(shape and shape[0] == -1 for shape in shapes)
        else:
            firsts = {tuple(tensor.shape[:1]) for tensor in self.sample}
            self.batchable = len(firsts) == 1 and () not in firsts

    @property
    def named(self) -> bool:
        """Whether the model has names for its inputs: a lone `input-0` stands for the lack of one."""
        names = [spec["name"] for spec in self.specs]
        return bool(names) and not (len(names) == 1 and re.fullmatch(r"input-\d+", names[0]))

    @property
    def described(self) -> bool:
        return bool(self.specs or self.sample)

    def rows(self, count: int) -> list[RequestTensor]:
        """All inputs, with `count` rows where the model takes batches, in the shape it wants where not."""
        if not self.sample:
            return [self.generated(spec, seed, count) for seed, spec in enumerate(self.specs)]
        if not self.batchable:
            return list(self.sample)
        return [replace(t, array=np.resize(t.array, (count, *t.shape[1:]))) for t in self.sample]

    def generated(self, spec: Json, seed: int, count: int) -> RequestTensor:
        first, *rest = spec["shape"] or [None]
        shape = [] if first is None else [count if self.batchable or first == -1 else first]
        shape += [VARIABLE if size == -1 else size for size in rest]
        return RequestTensor(spec["name"], spec["datatype"], example(spec["datatype"], shape, seed))


def tensor_of(entry: Mapping[str, Any]) -> RequestTensor:
    array = array_of(flattened(entry["data"]), entry["datatype"], entry["shape"])
    return RequestTensor(entry["name"], entry["datatype"], array)


def row(tensors: Sequence[RequestTensor], index: int) -> list[RequestTensor]:
    """One row of a batch, as a batch of its own."""
    return [replace(tensor, array=tensor.array[index : index + 1]) for tensor in tensors]
