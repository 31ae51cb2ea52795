"""What every reply must look like. Each helper fails with the reason and the start of the reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import httpx
import numpy as np

from .payloads import DTYPES, Array, Json, array_of, flattened, from_raw

HEADER_LENGTH = "inference-header-content-length"
LEAKS = ("Traceback (most recent call last)", 'File "', "site-packages")
# Doubles survive JSON whole; a looser bound would hide a detour through singles.
SAME = {"FP64": 1e-12, "FP32": 1e-6, "FP16": 1e-3}
# Other batch sizes take other paths through the arithmetic.
CLOSE = {"FP64": 1e-6, "FP32": 1e-5, "FP16": 1e-2}


@dataclass(frozen=True)
class OutputTensor:
    datatype: str
    array: Array
    binary: bool


@dataclass(frozen=True)
class HttpReply:
    body: Json
    outputs: dict[str, OutputTensor]


def excerpt(response: httpx.Response) -> str:
    return f"{response.status_code} {response.headers.get('content-type')} {response.content[:300]!r}"


def strict_json(content: bytes) -> Any:
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(token: str) -> None:
        raise AssertionError(f"the reply holds {token}, which is not JSON")

    try:
        return json.loads(content, parse_constant=refuse)
    except ValueError as error:
        raise AssertionError(f"the reply is not JSON ({error}): {content[:300]!r}") from None


def json_object(response: httpx.Response, status: int = 200) -> Json:
    assert response.status_code == status, f"expected {status}: {excerpt(response)}"
    content_type = response.headers.get("content-type", "")
    assert content_type.startswith("application/json"), f"not declared as JSON: {excerpt(response)}"
    body = strict_json(response.content)
    assert isinstance(body, dict), f"expected a JSON object: {excerpt(response)}"
    return body


def refusal(response: httpx.Response, *statuses: int) -> str:
    """The message of a proper error reply with one of these statuses (400 where none is given)."""
    expected = statuses or (400,)
    assert response.status_code in expected, f"expected {expected}: {excerpt(response)}"
    message = json_object(response, response.status_code).get("error")
    assert isinstance(message, str), f"expected {{'error': string}}: {excerpt(response)}"
    assert message.strip(), f"the error says nothing: {excerpt(response)}"
    for leak in LEAKS:
        assert leak not in response.text, f"the error shows the server's inside: {excerpt(response)}"
    return message


def inference(response: httpx.Response) -> HttpReply:
    """A successful inference reply, JSON or binary, every tensor checked."""
    assert response.status_code == 200, f"expected 200: {excerpt(response)}"
    head, binary = split(response)
    body = strict_json(head)
    assert isinstance(body, dict), f"expected a JSON object: {excerpt(response)}"
    entries = body.get("outputs")
    assert isinstance(entries, list), f"outputs must be a list: {excerpt(response)}"
    outputs: dict[str, OutputTensor] = {}
    for entry in entries:
        assert entry.get("name") not in outputs, f"output {entry.get('name')!r} comes twice"
        outputs[entry["name"]], binary = output_of(entry, binary)
    assert not binary, f"{len(binary)} bytes of binary data belong to no output"
    return HttpReply(body, outputs)


def split(response: httpx.Response) -> tuple[bytes, bytes]:
    length = response.headers.get(HEADER_LENGTH)
    content_type = response.headers.get("content-type", "")
    if length is None:
        assert content_type.startswith("application/json"), f"not declared as JSON: {excerpt(response)}"
        return response.content, b""
    assert content_type == "application/octet-stream", f"not declared as binary: {excerpt(response)}"
    assert 0 < int(length) <= len(response.content), f"{HEADER_LENGTH} is {length}: {excerpt(response)}"
    return response.content[: int(length)], response.content[int(length) :]


def output_of(entry: Json, binary: bytes) -> tuple[OutputTensor, bytes]:
    """One output and the binary data left after it."""
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    assert isinstance(name, str), f"an output without a name: {entry}"
    assert name, f"an output with an empty name: {entry}"
    assert datatype in DTYPES, f"output {name!r}: unknown datatype {datatype!r}"
    assert isinstance(shape, list), f"output {name!r}: shape {shape!r}"
    assert all(type(size) is int and size >= 0 for size in shape), f"output {name!r}: shape {shape!r}"
    size = (entry.get("parameters") or {}).get("binary_data_size")
    if size is None:
        return OutputTensor(datatype, data_of(entry), False), binary
    assert "data" not in entry, f"output {name!r} has both data and binary_data_size"
    assert type(size) is int, f"output {name!r}: binary_data_size {size!r}"
    assert 0 <= size <= len(binary), f"output {name!r}: binary_data_size {size} of {len(binary)} bytes"
    try:
        array = from_raw(binary[:size], datatype, shape)
    except ValueError as error:
        told = f"output {name!r}: {size} bytes are no {datatype} of shape {shape}: {error}"
        raise AssertionError(told) from None
    return OutputTensor(datatype, array, True), binary[size:]


def data_of(entry: Json) -> Array:
    name, datatype, shape, data = entry["name"], entry["datatype"], entry["shape"], entry.get("data")
    assert isinstance(data, list), f"output {name!r}: data must be a list, got {data!r}"
    elements = flattened(data)
    assert len(elements) == prod(shape), f"output {name!r}: {len(elements)} elements in shape {shape}"
    wrong = [element for element in elements if not fits(element, datatype)]
    assert not wrong, f"output {name!r}: {wrong[:3]} in a tensor of {datatype}"
    return array_of(elements, datatype, shape)


def fits(element: Any, datatype: str) -> bool:
    """Whether a JSON value belongs in a tensor; null is all that JSON has for a NaN."""
    if datatype == "BYTES":
        return isinstance(element, str)
    if datatype == "BOOL":
        return isinstance(element, bool)
    if datatype.startswith("FP"):
        return element is None or type(element) in (int, float)
    limits = np.iinfo(DTYPES[datatype])
    return type(element) is int and limits.min <= element <= limits.max


Outputs: TypeAlias = Mapping[str, OutputTensor]


def same_numbers(left: Outputs, right: Outputs, bounds: Mapping[str, float] = SAME) -> None:
    """The same outputs in the same order: floats within rounding, all else exactly."""
    assert list(left) == list(right)
    for name, output in left.items():
        other = right[name]
        assert output.datatype == other.datatype, f"output {name!r}"
        assert output.array.shape == other.array.shape, f"output {name!r}"
        bound = bounds.get(output.datatype)
        if bound is None:
            assert output.array.tolist() == other.array.tolist(), f"output {name!r}"
        else:
            # Next to zero single precision has a noise that no relative bound holds.
            noise = 1e-12 if output.datatype == "FP64" else bound
            np.testing.assert_allclose(output.array, other.array, bound, noise, err_msg=f"output {name!r}")
