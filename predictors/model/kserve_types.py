"""KServe's own requests and responses, as its hooks and people's subclasses have them, to and from our types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse
from kserve.protocol.infer_type import RequestedOutput

from predictors.protocol import tensors, v1
from predictors.protocol.batch import Batch, OutputRequest, Prediction, Values
from predictors.protocol.errors import InvalidInput
from predictors.protocol.options import read_options
from predictors.protocol.v2 import PROTOCOL_PARAMETERS, different, read_flag, select


def decode_payload(payload: Any) -> Batch:
    """The payload of a `kserve.Model`: a V1 object or an `InferRequest`."""
    if isinstance(payload, Mapping):
        return v1.decode_object(payload)
    if isinstance(payload, InferRequest):
        return batch_of(payload)
    raise InvalidInput(f"expected a V1 object or an InferRequest, got {type(payload).__name__}")


def encode_reply(payload: Any, prediction: Prediction, batch: Batch) -> dict[str, Any] | InferResponse:
    """The reply in the form of the payload."""
    return v1.encode_object(prediction) if isinstance(payload, Mapping) else response_of(prediction, batch)


def batch_of(request: InferRequest) -> Batch:
    """A request that KServe has decoded, as our codecs would have decoded it."""
    parameters = plain_parameters(request.parameters)
    options = read_options(parameters, "parameters", PROTOCOL_PARAMETERS)
    outputs = [
        OutputRequest(
            output.name, read_flag(plain_parameters(output.parameters), "binary_data", f"outputs.{output.name}")
        )
        for output in request.request_outputs or []
    ]
    columns: dict[str, Values] = {}
    for tensor in request.inputs:
        if tensor.name in columns:
            raise InvalidInput(f"input '{tensor.name}' is given twice")
        columns[tensor.name] = array_of(tensor)
    return Batch(
        columns=columns,
        method=options.method,
        probabilities=options.probabilities,
        params=options.params,
        id=request.id,
        outputs=different(outputs),
        binary_output=read_flag(parameters, "binary_data_output", "parameters") or bool(request.use_binary_outputs),
        tensors=True,
    )


def plain_parameters(parameters: Any) -> dict[str, Any]:
    """Parameters as plain values; those of gRPC are messages."""
    plain = {}
    for name, value in (parameters or {}).items():
        which = getattr(value, "WhichOneof", None)
        plain[name] = getattr(value, str(which("parameter_choice")), None) if which else value
    return plain


def array_of(tensor: InferInput) -> tensors.Array:
    shape = tensors.parse_shape(list(tensor.shape), tensor.name)
    if tensor._raw_data is not None:
        return tensors.from_raw(tensor._raw_data, tensor.datatype, shape, tensor.name)
    data = tensor.data.tolist() if isinstance(tensor.data, np.ndarray) else list(tensor.data)
    if tensor.datatype == "BYTES":
        data = [item.decode() if isinstance(item, bytes) else item for item in data]
    return tensors.from_json(data, tensor.datatype, shape, tensor.name)


def request_of(batch: Batch, model_name: str) -> InferRequest:
    """A decoded V2 request as KServe's hooks expect it."""
    inputs = []
    for name, values in (batch.columns or {}).items():
        array = np.asarray(values)
        datatype = tensors.datatype_of(array.dtype)
        tensor = InferInput(name=name, shape=list(array.shape), datatype=datatype)
        if datatype == "BYTES":
            tensor.data = array.reshape(-1).tolist()
        else:
            tensor.set_data_from_numpy(array, binary_data=True)
        inputs.append(tensor)
    parameters: dict[str, Any] = dict(batch.params)
    if batch.method is not None:
        parameters["method"] = batch.method
    if batch.probabilities is not None:
        parameters["probabilities"] = batch.probabilities
    outputs = [RequestedOutput(output.name) for output in batch.outputs or []]
    return InferRequest(
        model_name=model_name, infer_inputs=inputs, request_id=batch.id, parameters=parameters,
        request_outputs=outputs or None,
    )  # fmt: skip


def response_of(prediction: Prediction, batch: Batch) -> InferResponse:
    outputs = []
    for output, tensor in select(prediction, batch):
        infer_output = InferOutput(
            name=output.name, shape=list(tensor.shape), datatype=tensors.datatype_of(tensor.dtype)
        )
        binary = batch.binary_output if output.binary is None else output.binary
        if tensor.dtype.kind == "O":
            tensor = np.array([tensors.as_bytes(item) for item in tensor.reshape(-1)], dtype=object).reshape(
                tensor.shape
            )
        infer_output.set_data_from_numpy(tensor, binary_data=binary)
        outputs.append(infer_output)
    return InferResponse(
        response_id=batch.id,
        model_name=prediction.model_name,
        model_version=prediction.model_version,
        infer_outputs=outputs,
    )


def prediction_of(response: InferResponse, version: str) -> Prediction:
    """The response of a hook, as our codecs encode it."""
    named = {output.name: output.as_numpy() for output in response.outputs}
    return Prediction(named, "predict", response.model_name, response.model_version or version)
