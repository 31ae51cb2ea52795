"""ModelInfer requests from tensors, and the tensors in replies, raw or typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from .payloads import Array, RequestTensor, array_of, from_raw
from .replies import OutputTensor

CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


class Requests:
    """Makes ModelInfer requests."""

    def __init__(self, pb: Any, model: str) -> None:
        self.pb = pb
        self.model = model

    def raw(self, tensors: Sequence[RequestTensor], **members: Any) -> Any:
        request = self.empty(tensors, **members)
        request.raw_input_contents.extend(tensor.raw() for tensor in tensors)
        return request

    def typed(self, tensors: Sequence[RequestTensor], **members: Any) -> Any:
        if any(tensor.datatype == "FP16" for tensor in tensors):
            pytest.skip("FP16 has no typed contents")
        request = self.empty(tensors, **members)
        for message, tensor in zip(request.inputs, tensors, strict=True):
            self.fill(message, tensor)
        return request

    def empty(self, tensors: Sequence[RequestTensor], **members: Any) -> Any:
        request = self.pb.ModelInferRequest(**{"model_name": self.model, **members})
        for tensor in tensors:
            request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return request

    def fill(self, message: Any, tensor: RequestTensor) -> None:
        getattr(message.contents, CONTENTS[tensor.datatype]).extend(tensor.array.reshape(-1).tolist())


def outputs_of(response: Any) -> dict[str, OutputTensor]:
    """The outputs of a reply, raw or typed, each checked."""
    raw = response.raw_output_contents
    named = len(response.outputs)
    assert len(raw) in (0, named), f"{named} outputs but {len(raw)} raw_output_contents"
    outputs: dict[str, OutputTensor] = {}
    for index, message in enumerate(response.outputs):
        assert message.name not in outputs, f"output {message.name!r} comes twice"
        assert not (raw and message.HasField("contents")), f"output {message.name!r} is both raw and typed"
        array = read(message, raw[index] if raw else None)
        outputs[message.name] = OutputTensor(message.datatype, array, bool(raw))
    return outputs


def read(message: Any, raw: bytes | None) -> Array:
    if raw is not None:
        return from_raw(raw, message.datatype, message.shape)
    field = CONTENTS[message.datatype]
    filled = [one.name for one, _ in message.contents.ListFields()]
    assert filled in ([], [field]), f"{message.datatype} belongs in {field}, not in {filled}"
    return array_of(list(getattr(message.contents, field)), message.datatype, message.shape)
