"""The Open Inference Protocol over REST, with tensors in JSON or in binary form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from predictors.protocol import jsontext, results, tensors
from predictors.protocol.batch import Batch, OutputRequest, Prediction
from predictors.protocol.casting import json_type
from predictors.protocol.errors import InvalidInput
from predictors.protocol.options import read_options

# Dictionaries: their keys compare fast with those of a request, and messages list them in order.
REQUEST_KEYS = dict.fromkeys(("id", "parameters", "inputs", "outputs", "model_name", "model_version"))
INPUT_KEYS = dict.fromkeys(("name", "shape", "datatype", "parameters", "data"))
# Parameters of the protocol and of well-known clients, which are not for the model.
BASE64 = "base64"  # the content type, of MLServer, of bytes in JSON
FIRST_OUTPUT_ALIASES = ("output-0", "output_0", "output-1", "predict")  # MLServer counts from 1
PROBABILITIES_ALIAS = "predict_proba"
PROTOCOL_PARAMETERS = frozenset(
    {"binary_data_output", "content_type", "headers", "priority", "timeout"}
    | {"sequence_id", "sequence_start", "sequence_end"}
)


def decode(body: bytes, header_length: str | None = None) -> Batch:
    """A request; `header_length` is the Inference-Header-Content-Length if binary tensors follow the JSON."""
    if header_length is None:
        payload = jsontext.parse_packed(body, holds_values)
        return decode_object(payload, memoryview(b""), jsontext.may_hold_literals(body))
    readable = header_length.isascii() and header_length.isdigit() and len(header_length) < 20
    split = int(header_length) if readable else -1
    if not 0 <= split <= len(body):
        raise InvalidInput(f"Inference-Header-Content-Length must be a number of bytes of the body (0 to {len(body)})")
    view = memoryview(body)
    return decode_object(jsontext.parse_object(bytes(view[:split])), view[split:])


def holds_values(payload: dict[str, Any], parent: dict[str, Any], key: str) -> bool:
    """Whether a list is the data of a tensor."""
    inputs = payload.get("inputs")
    return key == "data" and isinstance(inputs, list) and any(tensor is parent for tensor in inputs)


def decode_object(payload: Mapping[str, Any], binary: memoryview, literals: bool = True) -> Batch:
    if not payload.keys() <= REQUEST_KEYS.keys():
        unknown = [key for key in payload if key not in REQUEST_KEYS]
        raise InvalidInput(f"unknown key '{unknown[0]}'; expected {', '.join([*REQUEST_KEYS][:4])}")
    inputs = payload.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        actual = "nothing" if inputs is None else "an empty list" if inputs == [] else json_type(inputs)
        raise InvalidInput(f"'inputs' must be a list of at least one tensor, got {actual}")
    columns: dict[str, tensors.Array] = {}
    for index, tensor in enumerate(inputs):
        name, values, binary = decode_input(tensor, index, binary, literals)
        if name in columns:
            raise InvalidInput(f"input '{name}' is given twice")
        columns[name] = values
    if len(binary):
        raise InvalidInput(f"{len(binary)} bytes of binary data belong to no input")
    request_id = payload.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput(f"'id' must be a string, got {json_type(request_id)}")
    parameters = payload.get("parameters")
    options = read_options(parameters, "parameters", PROTOCOL_PARAMETERS)
    return Batch(
        columns=columns,  # type: ignore[arg-type]  # a dictionary of arrays is one of values
        method=options.method,
        probabilities=options.probabilities,
        params=options.params,
        id=request_id,
        outputs=decode_outputs(payload.get("outputs")),
        binary_output=parameters is not None and (read_flag(parameters, "binary_data_output", "parameters") or False),
        tensors=True,
    )


def decode_input(tensor: Any, index: int, binary: memoryview, literals: bool) -> tuple[str, tensors.Array, memoryview]:
    """The name and values of one input, and the binary data that is left after it."""
    if not isinstance(tensor, dict):
        raise InvalidInput(f"inputs[{index}] must be an object, got {json_type(tensor)}")
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"inputs[{index}]: 'name' must be a non-empty string")
    if not tensor.keys() <= INPUT_KEYS.keys():
        unknown = [key for key in tensor if key not in INPUT_KEYS]
        raise InvalidInput(f"input '{name}': unknown key '{unknown[0]}'; expected {', '.join(INPUT_KEYS)}")
    datatype = tensor.get("datatype")
    shape = tensors.parse_shape(tensor.get("shape"), name)
    size = kind = None
    if (parameters := tensor.get("parameters")) is not None:
        if not isinstance(parameters, dict):
            raise InvalidInput(f"input '{name}': 'parameters' must be an object, got {json_type(parameters)}")
        size, kind = parameters.get("binary_data_size"), parameters.get("content_type")
    if size is None:
        if "data" not in tensor:
            raise InvalidInput(f"input '{name}': missing 'data'")
        values = tensors.from_json(tensor["data"], datatype, shape, name, literals)
        return name, tensors.from_base64(values, name) if kind and is_base64(kind, datatype) else values, binary
    if "data" in tensor:
        raise InvalidInput(f"input '{name}': 'data' and 'binary_data_size' exclude each other")
    if type(size) is not int or not 0 <= size <= len(binary):
        raise InvalidInput(f"input '{name}': binary_data_size must be 0 to {len(binary)}, the bytes that are left")
    values = tensors.from_raw(binary[:size], datatype, shape, name)
    return name, tensors.from_base64(values, name) if kind and is_base64(kind, datatype) else values, binary[size:]


def is_base64(content_type: object, datatype: object) -> bool:
    return content_type == BASE64 and datatype == "BYTES"


def decode_outputs(outputs: Any) -> list[OutputRequest] | None:
    if outputs is None:
        return None
    if not isinstance(outputs, list):
        raise InvalidInput(f"'outputs' must be a list, got {json_type(outputs)}")
    requests: list[OutputRequest] = []
    for index, output in enumerate(outputs):
        if not isinstance(output, dict) or not isinstance(output.get("name"), str):
            raise InvalidInput(f"outputs[{index}] must be an object with a 'name'")
        parameters = output.get("parameters")
        if parameters is None:
            parameters = {}
        if not isinstance(parameters, dict):
            raise InvalidInput(f"outputs[{index}]: 'parameters' must be an object, got {json_type(parameters)}")
        requests.append(
            OutputRequest(output["name"], read_flag(parameters, "binary_data", f"outputs[{index}].parameters"))
        )
    return different(requests)


def different(outputs: list[OutputRequest]) -> list[OutputRequest] | None:
    """The outputs that the caller asks for, or None for all; each can be asked for once."""
    names: set[str] = set()
    for output in outputs:
        if output.name in names:
            raise InvalidInput(f"output '{output.name}' is asked for twice")
        names.add(output.name)
    return outputs or None


def read_flag(parameters: Mapping[str, Any], name: str, where: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(f"'{where}.{name}' must be true or false, got {json_type(value)}")
    return value


default_output = lru_cache(maxsize=1000)(OutputRequest)


def select(prediction: Prediction, batch: Batch) -> list[tuple[OutputRequest, tensors.Array]]:
    """The outputs that the caller asks for, in the caller's order; all of them if the caller names none."""
    named = results.named_tensors(prediction)
    if batch.outputs is None:
        return [(default_output(name), tensor) for name, tensor in named.items()]
    return [(output, named[known_name(output.name, named)]) for output in batch.outputs]


def known_name(name: str, named: Mapping[str, Any]) -> str:
    """The name of an output that a caller asks for under its name on KServe's or MLServer's servers."""
    if name in named:
        return name
    first = next(iter(named), name)
    aliases = {**dict.fromkeys(FIRST_OUTPUT_ALIASES, first), PROBABILITIES_ALIAS: results.PROBABILITIES}
    known = aliases.get(name)
    if known is None or known not in named:
        raise InvalidInput(f"unknown output '{name}'; the model has {', '.join(named)}")
    return known


def encode(prediction: Prediction, batch: Batch, *, strict: bool = False) -> tuple[bytes, int | None]:
    """The reply, and the length of its JSON if binary tensors follow it."""
    outputs: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for output, tensor in select(prediction, batch):
        entry: dict[str, Any] = {
            "name": output.name,
            "shape": list(tensor.shape),
            "datatype": tensors.datatype_of(tensor.dtype),
        }
        if batch.binary_output if output.binary is None else output.binary:
            chunks.append(tensors.to_raw(tensor))
            entry["parameters"] = {"binary_data_size": len(chunks[-1])}
        elif tensor.dtype.kind != "O":
            entry["data"] = results.json_array(tensor.reshape(-1))
        elif holds_bytes(tensor):
            entry["parameters"] = {"content_type": BASE64}
            entry["data"] = tensors.to_base64(tensor)
        else:
            entry["data"] = text_values(tensor)
        outputs.append(entry)
    reply: dict[str, Any] = {"model_name": prediction.model_name, "model_version": prediction.model_version}
    if batch.id is not None:
        reply["id"] = batch.id
    reply["outputs"] = outputs
    head = jsontext.dump(reply, strict=strict)
    return (head, None) if not chunks else (b"".join([head, *chunks]), len(head))


def holds_bytes(tensor: tensors.Array) -> bool:
    return bytes in set(map(type, tensor.reshape(-1)))


def text_values(tensor: tensors.Array) -> list[Any]:
    return [item if isinstance(item, str) or item is None else str(item) for item in tensor.reshape(-1)]
