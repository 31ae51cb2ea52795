"""Names that callers send are repeated in messages, but not whole."""

from __future__ import annotations

import pytest
from kserve import InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from predictors.model.kserve_types import decode_payload
from predictors.protocol import grpc, v1, v2
from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput, NotFound
from predictors.protocol.names import MAX_MESSAGE, closest, suggestion
from predictors.signature.fields import Field, check_names


def test_a_message_keeps_its_beginning_and_its_end() -> None:
    text = str(NotFound(f"unknown model '{'m' * 60_000}'; this server has 'model'"))
    assert len(text) < MAX_MESSAGE + 50
    assert text.startswith("unknown model 'mmm")
    assert text.endswith("mmm'; this server has 'model'")
    assert "59041 characters" in text
    assert str(NotFound("short")) == "short"


def test_many_names_and_a_long_one() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_names({"n" * 4_000_000: 1, **{f"k{i}": 1 for i in range(500)}}, ["a", "b"], ["a"], "", "input", "inputs")
    assert str(caught.value).startswith("missing required input 'a'; unknown inputs 'nnn")
    assert str(caught.value).endswith("'k7', 'k8' and 491 more (expected 'a', 'b')")
    assert closest("temperatur", ["load", "temperature"]) == "temperature"
    assert suggestion(["t" * 4_000_000], ["load"]) == " (expected 'load')"


def test_a_long_key_of_a_map() -> None:
    spec = {"type": "map", "values": {"type": "array", "items": {"type": "long"}}}
    with pytest.raises(InvalidInput, match=r"input 'x', row 0\.k{100}\[1\]: expected an integer"):
        Field("x", "map", spec).column([{"k" * 5000: [1, "no"]}])


def test_an_output_can_be_asked_for_once() -> None:
    tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}
    message = pb.ModelInferRequest(outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="a")] * 2)
    message.inputs.add(name="x", shape=[1], datatype="FP64").contents.fp64_contents.append(1.0)

    def over_rest() -> Batch:
        return v2.decode_object({"inputs": [tensor], "outputs": [{"name": "a"}, {"name": "a"}]}, memoryview(b""))

    for decode in (over_rest, lambda: grpc.decode(message)):
        with pytest.raises(InvalidInput, match="output 'a' is asked for twice"):
            decode()


def test_an_input_of_kserves_own_server_can_be_given_once() -> None:
    inputs = [InferInput("x", [1], "FP64", [value]) for value in (1.0, 2.0)]
    with pytest.raises(InvalidInput, match="input 'x' is given twice"):
        decode_payload(InferRequest("model", inputs))


def test_an_unknown_key_far_from_all() -> None:
    with pytest.raises(InvalidInput, match="missing 'instances'"):
        v1.decode_object({"k" * 4_000_000: 1})
