"""The fast path and the slow path share what has been done for a request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.protocol import grpc as grpc_codec
from predictors.protocol import v1
from tests.serving import Running

ROW = [91.5, 1.05, 41.0, 0.9]
UNUSUAL = {"method": "predict_proba"}  # no engine computes it


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The module of each decoding that begins."""
    seen: list[str] = []

    def counting(module: Any) -> Callable[..., Any]:
        decode = module.decode

        def decode_and_count(*arguments: Any) -> Any:
            seen.append(module.__name__.rpartition(".")[2])
            return decode(*arguments)

        return decode_and_count

    for module in (v1, grpc_codec):
        monkeypatch.setattr(module, "decode", counting(module))
    return seen


def infer_request(**changes: Any) -> Any:
    message = pb.ModelInferRequest(model_name="model", **changes)
    message.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(ROW)
    return message


def test_what_leaves_the_fast_path_over_http_is_decoded_once(demo: Running, decodings: list[str]) -> None:
    response = demo.predict({"instances": [ROW], "parameters": UNUSUAL})
    assert (response.status_code, decodings) == (200, ["v1"])


def test_what_leaves_the_fast_path_over_grpc_is_decoded_once(demo: Running, decodings: list[str]) -> None:
    message = infer_request()
    message.parameters["method"].string_param = UNUSUAL["method"]
    with grpc.insecure_channel(demo.grpc) as channel:
        response = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=20)
    assert (response.outputs[0].shape[0], decodings) == (1, ["grpc"])


def test_what_cannot_be_decoded_gets_its_error_from_the_slow_path(demo: Running, decodings: list[str]) -> None:
    response = demo.predict({"instances": 1})
    assert (response.status_code, decodings) == (400, ["v1", "v1"])


def requests_counted(server: Running, protocol: str) -> dict[str, float]:
    lines = re.findall(r"^model_requests_total\{(.*)\} (\S+)$", server.get("/metrics").text, re.MULTILINE)
    labels = [(dict(re.findall(r'(\w+)="([^"]*)"', text)), float(value)) for text, value in lines]
    return {
        one["status"]: value for one, value in labels if (one["model_name"], one["protocol"]) == (server.name, protocol)
    }


@pytest.mark.parametrize("protocol", ["v1", "grpc"])
def test_every_request_is_counted_once(demo: Running, protocol: str) -> None:
    """On the fast path, on the slow path, and where both are refused."""

    def ask(parameters: dict[str, str], name: str) -> None:
        if protocol == "v1":
            demo.post(f"/v1/models/{name}:predict", {"instances": [ROW], "parameters": parameters})
            return
        message = infer_request()
        message.model_name = name
        for key, value in parameters.items():
            message.parameters[key].string_param = value
        with grpc.insecure_channel(demo.grpc) as channel:
            stub = pb_grpc.GRPCInferenceServiceStub(channel)
            try:
                stub.ModelInfer(message, timeout=20)
            except grpc.RpcError:
                pass

    before = requests_counted(demo, protocol)
    asked = [({}, "model"), (UNUSUAL, "model"), ({"method": "none"}, "model"), ({}, "other")]
    for parameters, name in asked:
        ask(parameters, name)
    after = requests_counted(demo, protocol)
    counted = {status: value - before.get(status, 0) for status, value in after.items()}
    good, bad, unknown = ("200", "400", "404") if protocol == "v1" else ("OK", "INVALID_ARGUMENT", "NOT_FOUND")
    assert {status: value for status, value in counted.items() if value} == {good: 2, bad: 1, unknown: 1}
