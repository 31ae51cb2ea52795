"""The clients that people use: NVIDIA's tritonclient and kserve's own, over REST and gRPC."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .conftest import TIMEOUT, ServerUnderTest
from .payloads import ConformancePayloads, Json, RequestTensor, array_of
from .replies import HttpReply, OutputTensor, same_numbers

Load = Callable[[str], Any]
SCRIPT = Path(__file__).with_name("triton_client.py")


def ask_triton(transport: str, address: str, model: str, tensors: list[RequestTensor], **options: Any) -> Json:
    if find_spec("tritonclient") is None:
        pytest.skip("needs tritonclient: pip install 'tritonclient[http,grpc]'")
    question = {
        "transport": transport,
        "address": address,
        "model": model,
        "inputs": [tensor.entry() for tensor in tensors],
        "binary_in": True,
        "binary_out": True,
        "outputs": [],
        **options,
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer: Json = json.loads(done.stdout)
    return answer


def outputs_of(answer: Json) -> dict[str, OutputTensor]:
    return {one["name"]: output_of(one["datatype"], one["shape"], one["data"]) for one in answer["outputs"]}


def output_of(datatype: str, shape: list[int], data: list[Any]) -> OutputTensor:
    return OutputTensor(datatype, array_of(data, datatype, shape), binary=False)


def names(metadata: Json, side: str) -> list[str]:
    return [tensor["name"] for tensor in metadata.get(side) or []]


def check_triton(answer: Json, target: ServerUnderTest, metadata: Json, expected: HttpReply) -> None:
    same_numbers(outputs_of(answer), expected.outputs)
    assert answer["id"] == "42"
    assert (answer["live"], answer["ready"], answer["model_ready"]) == (True, True, True)
    assert answer["unknown_model_ready"] is False
    assert answer["server_metadata"]["name"]
    assert answer["metadata"]["name"] == target.model
    for side in ("inputs", "outputs"):
        assert names(answer["metadata"], side) == names(metadata, side)
    assert answer["refusal"], "inference with an unknown model succeeded"
    assert "404" in answer["refusal"]["status"] or "NOT_FOUND" in answer["refusal"]["status"]
    # The client says this where it cannot read the server's reply.
    assert "exception occurred in the client" not in answer["refusal"]["message"]


@pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in"])
def test_triton_http(
    target: ServerUnderTest,
    payloads: ConformancePayloads,
    metadata: Json,
    expected: HttpReply,
    binary_in: bool,
    binary_out: bool,
) -> None:
    options = {"binary_in": binary_in, "binary_out": binary_out, "outputs": list(expected.outputs)}
    answer = ask_triton("http", target.url, target.model, payloads.rows(1), **options)
    check_triton(answer, target, metadata, expected)


def test_triton_http_all_outputs(
    target: ServerUnderTest, payloads: ConformancePayloads, metadata: Json, expected: HttpReply
) -> None:
    """The client then asks for binary data for the request as a whole."""
    answer = ask_triton("http", target.url, target.model, payloads.rows(1))
    check_triton(answer, target, metadata, expected)


@pytest.mark.parametrize("named", [True, False], ids=["outputs named", "all outputs"])
def test_triton_grpc(
    grpc_address: str,
    target: ServerUnderTest,
    payloads: ConformancePayloads,
    metadata: Json,
    expected: HttpReply,
    named: bool,
) -> None:
    wanted = list(expected.outputs) if named else []
    answer = ask_triton("grpc", grpc_address, target.model, payloads.rows(1), outputs=wanted)
    check_triton(answer, target, metadata, expected)


def kserve_request(kserve: Any, model: str, tensors: list[RequestTensor], *, binary: bool) -> Any:
    inputs = []
    for tensor in tensors:
        infer_input = kserve.InferInput(tensor.name, tensor.shape, tensor.datatype)
        infer_input.set_data_from_numpy(tensor.array, binary_data=binary)
        inputs.append(infer_input)
    return kserve.InferRequest(model_name=model, infer_inputs=inputs, request_id="42")


def kserve_outputs(response: Any) -> dict[str, OutputTensor]:
    return {
        output.name: output_of(output.datatype, output.shape, output.as_numpy().reshape(-1).tolist())
        for output in response.outputs
    }


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_kserve_rest(
    load: Load, target: ServerUnderTest, payloads: ConformancePayloads, expected: HttpReply, binary: bool
) -> None:
    kserve = load("kserve")
    request = kserve_request(kserve, target.model, payloads.rows(1), binary=binary)

    async def ask() -> tuple[bool, bool, bool, bool, Any]:
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", timeout=TIMEOUT)) as client:
            return (
                await client.is_server_live(target.url),
                await client.is_server_ready(target.url),
                await client.is_model_ready(target.url, target.model),
                await client.is_model_ready(target.url, "no-such-model"),
                await client.infer(target.url, request, model_name=target.model),
            )

    *states, response = asyncio.run(ask())
    assert states == [True, True, True, False]
    assert response.model_name == target.model
    assert response.id == "42"
    same_numbers(kserve_outputs(response), expected.outputs)


@pytest.mark.parametrize("binary", [True, False], ids=["raw", "typed"])
def test_kserve_grpc(
    load: Load,
    grpc_address: str,
    target: ServerUnderTest,
    payloads: ConformancePayloads,
    expected: HttpReply,
    binary: bool,
) -> None:
    kserve = load("kserve")
    if not binary and any(tensor.datatype == "FP16" for tensor in payloads.rows(1)):
        pytest.skip("FP16 has no typed contents")
    request = kserve_request(kserve, target.model, payloads.rows(1), binary=binary)

    async def ask() -> tuple[bool, bool, bool, Any]:
        options = [("grpc.enable_http_proxy", 0)]
        async with kserve.InferenceGRPCClient(grpc_address, timeout=TIMEOUT, channel_args=options) as client:
            return (
                await client.is_server_live(),
                await client.is_server_ready(),
                await client.is_model_ready(target.model),
                await client.infer(request),
            )

    *states, response = asyncio.run(ask())
    assert states == [True, True, True]
    assert response.model_name == target.model
    same_numbers(kserve_outputs(response), expected.outputs)
