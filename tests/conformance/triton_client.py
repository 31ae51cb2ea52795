"""Asks a server with NVIDIA's client.

It runs in a process of its own, because this client and kserve define the same protobuf messages. The
question comes as JSON on stdin: transport, address, model, inputs, outputs, binary_in, binary_out. The answer
goes to stdout.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from tritonclient.utils import InferenceServerException, triton_to_np_dtype


def client_of(question: dict[str, Any], module: Any) -> Any:
    if question["transport"] == "grpc":
        return module.InferenceServerClient(question["address"])
    url = urlsplit(question["address"])
    return module.InferenceServerClient(f"{url.netloc}{url.path}", ssl=url.scheme == "https")


def input_of(entry: dict[str, Any], module: Any, options: dict[str, Any]) -> Any:
    tensor = module.InferInput(entry["name"], entry["shape"], entry["datatype"])
    array = np.array(entry["data"], dtype=triton_to_np_dtype(entry["datatype"])).reshape(entry["shape"])
    tensor.set_data_from_numpy(array, **options)
    return tensor


def answer(question: dict[str, Any]) -> dict[str, Any]:
    transport, model = question["transport"], question["model"]
    module = import_module(f"tritonclient.{transport}")
    # gRPC tensors are always binary there.
    in_options = {"binary_data": question["binary_in"]} if transport == "http" else {}
    out_options = {"binary_data": question["binary_out"]} if transport == "http" else {}
    as_json = {"as_json": True} if transport == "grpc" else {}
    client = client_of(question, module)
    inputs = [input_of(entry, module, in_options) for entry in question["inputs"]]
    wanted = [module.InferRequestedOutput(name, **out_options) for name in question["outputs"]]
    result = client.infer(model, inputs, request_id="42", outputs=wanted or None)
    try:
        client.infer("no-such-model", inputs)
        refusal = None
    except InferenceServerException as error:
        refusal = {"status": str(error.status()), "message": error.message()}
    reply = result.get_response(**as_json)
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model),
        "unknown_model_ready": unknown_is_ready(client),
        "server_metadata": client.get_server_metadata(**as_json),
        "metadata": client.get_model_metadata(model, **as_json),
        "id": reply.get("id"),
        "outputs": [output_of(entry, result) for entry in reply["outputs"]],
        "refusal": refusal,
    }


def unknown_is_ready(client: Any) -> bool:
    try:
        return bool(client.is_model_ready("no-such-model"))
    except InferenceServerException:  # gRPC says so with a status
        return False


def output_of(entry: dict[str, Any], result: Any) -> dict[str, Any]:
    array = result.as_numpy(entry["name"])
    data = [item.decode() if isinstance(item, bytes) else item for item in array.reshape(-1).tolist()]
    return {"name": entry["name"], "datatype": entry["datatype"], "shape": list(array.shape), "data": data}


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
