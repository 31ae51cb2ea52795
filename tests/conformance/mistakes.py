"""Requests with one thing wrong each. All are the caller's fault: every answer is a 4xx with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from .payloads import Json, RequestTensor, joined, json_body, length_prefixed

JSON_TYPE = {"content-type": "application/json"}
GOOD = {"BYTES": "text", "BOOL": True}


@dataclass(frozen=True)
class MistakenCall:
    """An HTTP request below the model's path (or below the server's where `path` starts with a slash)."""

    content: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON_TYPE))
    method: str = "POST"
    path: str = "infer"


@dataclass(frozen=True)
class Mistake:
    label: str
    make: Callable[[Sequence[RequestTensor]], MistakenCall]
    statuses: tuple[int, ...] = (400,)
    needs_names: bool = False


def changed(change: Callable[[Json], Any]) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    """A valid JSON request with a change: in place, or whatever `change` returns instead."""

    def make(tensors: Sequence[RequestTensor]) -> MistakenCall:
        body = json_body(tensors)
        result = change(body)
        return MistakenCall(json.dumps(body if result is None else result).encode())

    return make


def first(**members: Any) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    """A valid request whose first input has these members."""
    return changed(lambda body: body["inputs"][0].update(members))


def without(member: str) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    def change(body: Json) -> None:
        del body["inputs"][0][member]

    return changed(change)


def holding(datatype: str, element: Any) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    """A first input of this datatype, with right elements up to the last one, which is `element`."""

    def change(body: Json) -> None:
        entry = body["inputs"][0]
        good = [GOOD.get(datatype, 1)] * (len(entry["data"]) - 1)
        entry.update(datatype=datatype, data=[*good, element])

    return changed(change)


def dimension(size: Any) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    """A valid request whose first input's first dimension is this."""
    return changed(lambda body: body["inputs"][0].update(shape=[size, *body["inputs"][0]["shape"][1:]]))


def ragged(body: Json) -> None:
    """As many elements as the shape asks for, in rows of different lengths."""
    entry = body["inputs"][0]
    entry.update(shape=[2, 2], data=[[entry["data"][0]], [entry["data"][0]] * 3])


def fewer(body: Json) -> None:
    body["inputs"][0]["data"].pop()


def more(body: Json) -> None:
    body["inputs"][0]["data"] += body["inputs"][0]["data"][:1]


def duplicated(body: Json) -> None:
    body["inputs"].append(body["inputs"][0])


def extra(body: Json) -> None:
    body["inputs"].append({**body["inputs"][0], "name": "no_such_input"})


def deep(body: Json) -> None:
    data: Any = body["inputs"][0]["data"]
    for _ in range(200):
        data = [data]
    body["inputs"][0]["data"] = data


def literally(content: bytes) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    return lambda _: MistakenCall(content)


def cut_short(tensors: Sequence[RequestTensor]) -> MistakenCall:
    return MistakenCall(json.dumps(json_body(tensors)).encode()[:-2])


def not_text(tensors: Sequence[RequestTensor]) -> MistakenCall:
    return MistakenCall(json.dumps(json_body(tensors, id="?")).encode().replace(b"?", b"\xff\xfe"))


BODIES = [
    Mistake("empty body", literally(b"")),
    Mistake("no JSON", literally(b"hello")),
    Mistake("JSON cut short", cut_short),
    Mistake("JSON that is not UTF-8", not_text),
    Mistake("JSON nested without end", literally(b'{"inputs":' + b"[" * 100_000)),
    Mistake("a list", literally(b"[]")),
    Mistake("a string", literally(b'"text"')),
    Mistake("a number", literally(b"1")),
    Mistake("null", literally(b"null")),
    Mistake("no inputs", literally(b"{}")),
    Mistake("inputs is null", changed(lambda body: body.update(inputs=None))),
    Mistake("inputs is an object", changed(lambda body: body.update(inputs=body["inputs"][0]))),
    Mistake("inputs is a string", changed(lambda body: body.update(inputs="text"))),
    Mistake("inputs is empty", changed(lambda body: body.update(inputs=[]))),
    Mistake("an input is no object", changed(lambda body: body["inputs"].append(1))),
    Mistake("parameters is a list", changed(lambda body: body.update(parameters=[1]))),
    Mistake("parameters of an input is a string", first(parameters="text")),
    Mistake("outputs is an object", changed(lambda body: body.update(outputs={"name": "any"}))),
    Mistake("outputs is a string", changed(lambda body: body.update(outputs="any"))),
    Mistake("outputs of strings", changed(lambda body: body.update(outputs=["any"]))),
    Mistake("an output without name", changed(lambda body: body.update(outputs=[{}]))),
    Mistake("unknown output", changed(lambda body: body.update(outputs=[{"name": "no_such_output"}]))),
]

TENSORS = [
    Mistake("an input without name", without("name")),
    Mistake("an input without shape", without("shape")),
    Mistake("an input without datatype", without("datatype")),
    Mistake("an input without data", without("data")),
    Mistake("a name that is a number", first(name=5)),
    Mistake("unknown datatype", first(datatype="FLOAT")),
    Mistake("a datatype that is a number", first(datatype=64)),
    Mistake("data is null", first(data=None)),
    Mistake("data is a number", first(data=1)),
    Mistake("data is an object", first(data={"0": 1})),
    Mistake("too few elements", changed(fewer)),
    Mistake("too many elements", changed(more)),
    Mistake("ragged data", changed(ragged)),
    Mistake("data nested 200 deep", changed(deep)),
    Mistake("shape is a number", first(shape=1)),
    Mistake("negative shape", dimension(-1)),
    Mistake("fractional shape", dimension(1.5)),
    Mistake("a string in the shape", dimension("1")),
    Mistake("a shape of more than all memory", first(shape=[2**40])),
    # Its product is 0 in 64-bit arithmetic: it seems to agree with no data.
    Mistake("a shape that overflows", first(shape=[2**32, 2**32], data=[])),
    Mistake("unknown input name", first(name="no_such_input"), needs_names=True),
    Mistake("one input too many", changed(extra)),
    Mistake("duplicate input names", changed(duplicated)),
]

# Each is wrong for the datatype it declares, whatever the model wants.
ELEMENTS = [
    Mistake(f"{json.dumps(element)} in {datatype}", holding(datatype, element))
    for datatype, element in [
        ("FP64", "abc"), ("FP32", "abc"), ("INT64", "abc"), ("UINT8", "abc"), ("BOOL", "abc"),
        ("FP64", {}), ("BYTES", 5), ("BYTES", 1.5), ("BYTES", True), ("BOOL", 2),
        ("INT64", 1.5), ("INT32", 1.5), ("UINT8", 0.5),
        ("INT8", 300), ("INT8", -129), ("INT16", 2**15), ("INT32", 2**40), ("INT64", 2**63),
        ("UINT8", -1), ("UINT8", 256), ("UINT16", 2**16), ("UINT32", -1), ("UINT64", -1), ("UINT64", 2**64),
        ("INT64", None), ("INT8", None), ("UINT64", None), ("BOOL", None),
    ]
]  # fmt: skip


def of_type(content_type: str) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    return lambda tensors: MistakenCall(json.dumps(json_body(tensors)).encode(), {"content-type": content_type})


def call(method: str, path: str) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    return lambda _: MistakenCall(b"", {}, method, path)


def elsewhere(path: str) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    return lambda tensors: MistakenCall(json.dumps(json_body(tensors)).encode(), path=path)


REQUESTS = [
    Mistake("text/csv", of_type("text/csv"), (415,)),
    Mistake("application/xml", of_type("application/xml"), (415,)),
    Mistake("GET on infer", call("GET", "infer"), (405,)),
    Mistake("PUT on infer", call("PUT", "infer"), (405,)),
    Mistake("POST on model metadata", call("POST", ""), (405,)),
    Mistake("POST on readiness", call("POST", "ready"), (405,)),
    Mistake("unknown model", elsewhere("/v2/models/no-such-model/infer"), (404,)),
    Mistake("unknown version", elsewhere("versions/no-such-version/infer"), (404,)),
    Mistake("unknown path", call("GET", "/v2/no-such-path"), (404,)),
]


def binary(
    change: Callable[[Json, list[bytes]], None] = lambda _head, _chunks: None, **headers: str | None
) -> Callable[[Sequence[RequestTensor]], MistakenCall]:
    """A valid binary request but for a change to its JSON or data, and headers set or (None) left out."""

    def make(tensors: Sequence[RequestTensor]) -> MistakenCall:
        head: Json = {"inputs": [tensor.binary_entry() for tensor in tensors]}
        chunks = [tensor.raw() for tensor in tensors]
        change(head, chunks)
        content, defaults = joined(head, chunks)
        changes = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {**defaults, **changes}
        return MistakenCall(content, {name: value for name, value in merged.items() if value is not None})

    return make


def truncated(head: Json, chunks: list[bytes]) -> None:
    chunks[-1] = chunks[-1][:-1]


def sized(size: Any) -> Callable[[Json, list[bytes]], None]:
    return lambda head, _chunks: head["inputs"][0]["parameters"].update(binary_data_size=size)


def resized(length: int) -> Callable[[Json, list[bytes]], None]:
    """The first input's size and bytes agree with each other, but not with its shape."""

    def change(head: Json, chunks: list[bytes]) -> None:
        count = prod(head["inputs"][0]["shape"])
        head["inputs"][0]["datatype"] = "FP64"
        chunks[0] = bytes(8 * count + length)
        head["inputs"][0]["parameters"]["binary_data_size"] = len(chunks[0])

    return change


def shaped(*shape: int) -> Callable[[Json, list[bytes]], None]:
    def change(head: Json, chunks: list[bytes]) -> None:
        head["inputs"][0].update(shape=list(shape), parameters={"binary_data_size": 0})
        chunks[0] = b""

    return change


def strings(more: int, end: bytes = b"") -> Callable[[Json, list[bytes]], None]:
    """The first input as BYTES with so many elements more than its shape asks for, and an end."""

    def change(head: Json, chunks: list[bytes]) -> None:
        chunks[0] = length_prefixed(b"a") * (prod(head["inputs"][0]["shape"]) + more) + end
        head["inputs"][0].update(datatype="BYTES", parameters={"binary_data_size": len(chunks[0])})

    return change


def halfway(tensors: Sequence[RequestTensor]) -> MistakenCall:
    right = binary()(tensors)
    length = int(right.headers["inference-header-content-length"]) // 2
    return MistakenCall(right.content, {**right.headers, "inference-header-content-length": str(length)})


BINARY = [
    Mistake("binary data cut short", binary(truncated)),
    Mistake("binary data left over", binary(lambda _head, chunks: chunks.append(b"\0" * 8))),
    Mistake("binary data too short for the shape", binary(resized(-8))),
    Mistake("binary data too long for the shape", binary(resized(8))),
    Mistake("binary data that are no whole elements", binary(resized(-1))),
    Mistake("binary_data_size is negative", binary(sized(-1))),
    Mistake("binary_data_size is a string", binary(sized("text"))),
    Mistake("binary_data_size beyond the body", binary(sized(2**40))),
    Mistake("a binary shape that overflows", binary(shaped(2**32, 2**32))),
    Mistake("a negative binary shape", binary(shaped(-1))),
    Mistake("BYTES that end in a length", binary(strings(-1, b"\1\0"))),
    Mistake("BYTES that end in an element", binary(strings(-1, b"\7\0\0\0a"))),
    Mistake("BYTES with an element too many", binary(strings(1))),
    Mistake("header length that is no number", binary(inference_header_content_length="text")),
    Mistake("negative header length", binary(inference_header_content_length="-1")),
    Mistake("header length beyond the body", binary(inference_header_content_length="1000000")),
    Mistake("header length inside the JSON", halfway),
    Mistake("no header length", binary(inference_header_content_length=None), (400, 415)),
    Mistake(
        "no header length, said to be JSON",
        binary(inference_header_content_length=None, content_type="application/json"),
    ),
]

ALL = [*BODIES, *TENSORS, *ELEMENTS, *REQUESTS, *BINARY]
