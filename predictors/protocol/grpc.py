"""The Open Inference Protocol over gRPC: messages to `Batch` and `Prediction` to messages."""

from __future__ import annotations

from math import prod
from typing import Any

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from predictors.protocol import casting, grpc_contents, tensors
from predictors.protocol.batch import Batch, OutputRequest, Prediction
from predictors.protocol.errors import InvalidInput
from predictors.protocol.grpc_contents import LargeMessage
from predictors.protocol.options import read_options
from predictors.protocol.v2 import PROTOCOL_PARAMETERS, different, is_base64, select

CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def decode(request: Any, large: LargeMessage | None = None) -> Batch:
    """`large`: what was lifted out of the message before it was parsed."""
    raw: Any = request.raw_input_contents
    contents = large.contents if large else {}
    if large and large.raw:
        raw = [large.raw.get(index, value) for index, value in enumerate(raw)]
    if not request.inputs:
        raise InvalidInput("'inputs' must hold at least one tensor")
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(f"{len(request.inputs)} inputs but {len(raw)} raw_input_contents: expected one each")
    columns: dict[str, Any] = {}
    for index, tensor in enumerate(request.inputs):
        if not tensor.name:
            raise InvalidInput(f"inputs[{index}]: 'name' must be a non-empty string")
        if tensor.name in columns:
            raise InvalidInput(f"input '{tensor.name}' is given twice")
        values = decode_input(tensor, raw[index] if raw else None, contents.get(index))
        if tensor.parameters and is_base64(parameters_of(tensor.parameters).get("content_type"), tensor.datatype):
            values = tensors.from_base64(values, tensor.name)
        columns[tensor.name] = values
    options = read_options(parameters_of(request.parameters), "parameters", PROTOCOL_PARAMETERS)
    return Batch(
        columns=columns,
        method=options.method,
        probabilities=options.probabilities,
        params=options.params,
        id=request.id or None,
        outputs=different([OutputRequest(output.name) for output in request.outputs]) if request.outputs else None,
        # The reply has the form of the request: raw or typed contents.
        binary_output=bool(raw),
        tensors=True,
    )


def parameters_of(parameters: Any) -> dict[str, Any]:
    return {name: getattr(value, str(value.WhichOneof("parameter_choice")), None) for name, value in parameters.items()}


def decode_input(
    tensor: Any, raw: bytes | memoryview | None, lifted: tuple[str, tensors.Array] | None = None
) -> tensors.Array:
    name, datatype = tensor.name, tensor.datatype
    dtype = tensors.dtype_of(datatype, name)
    shape = tensors.parse_shape(list(tensor.shape), name)
    if raw is not None:
        if tensor.HasField("contents"):
            raise InvalidInput(f"input '{name}': 'contents' and 'raw_input_contents' exclude each other")
        return tensors.from_raw(raw, datatype, shape, name)
    field = CONTENTS.get(datatype)
    if field is None:
        raise InvalidInput(f"input '{name}': {datatype} has no typed contents; send raw_input_contents")
    sent = [lifted[0]] if lifted else [other.name for other, _ in tensor.contents.ListFields()]
    others = [other for other in sent if other != field]
    if others:
        raise InvalidInput(f"input '{name}': {datatype} goes into {field}, got {others[0]}")
    values = lifted[1] if lifted else getattr(tensor.contents, field)
    if len(values) != prod(shape):
        raise InvalidInput(f"input '{name}': shape {list(shape)} does not agree with {len(values)} values")
    if datatype == "BYTES":
        return casting.object_array(list(values)).reshape(shape)
    if lifted is None:
        values = casting.array_of(values, grpc_contents.TYPES[field])
    return casting.cast_exact(values, dtype, name, f"{datatype} values", typed=True).reshape(shape)


def encode(prediction: Prediction, batch: Batch) -> bytes:
    selected = select(prediction, batch)
    # Typed contents cannot carry half precision.
    raw = batch.binary_output or any(tensors.datatype_of(tensor.dtype) == "FP16" for _, tensor in selected)
    response = pb.ModelInferResponse(
        model_name=prediction.model_name, model_version=prediction.model_version, id=batch.id or ""
    )
    parts: list[bytes] = []
    for output, tensor in selected:
        datatype = tensors.datatype_of(tensor.dtype)
        if not raw and tensor.size > casting.BLOCK and datatype != "BYTES":
            message = pb.ModelInferResponse.InferOutputTensor(name=output.name, datatype=datatype, shape=tensor.shape)
            field = grpc_contents.output_with(message.SerializeToString(), CONTENTS[datatype], tensor.reshape(-1))
            parts += [response.SerializeToString(), *field]
            response = pb.ModelInferResponse()
            continue
        message = response.outputs.add(name=output.name, datatype=datatype, shape=tensor.shape)
        if raw:
            response.raw_output_contents.append(tensors.to_raw(tensor))
        elif datatype == "BYTES":
            message.contents.bytes_contents.extend(map(tensors.as_bytes, tensor.reshape(-1)))
        else:
            getattr(message.contents, CONTENTS[datatype]).extend(tensor.reshape(-1).tolist())
    serialized: bytes = response.SerializeToString()
    return b"".join((*parts, serialized)) if parts else serialized
