"""Large gRPC messages, whose numbers numpy reads and writes: they mean what protobuf makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from predictors.protocol import casting, grpc_contents
from predictors.protocol import grpc as codec
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.errors import InvalidInput

INTEGERS = {
    "BOOL": st.booleans(),
    "INT8": st.integers(-200, 200),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300),
    "UINT32": st.integers(0, 2**32 - 1),
    "UINT64": st.integers(0, 2**64 - 1),
    "FP32": st.floats(width=32, allow_nan=False),
    "FP64": st.floats(allow_nan=False),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_contents, "LONG", 8)
    monkeypatch.setattr(grpc_contents, "BLOCK", 32)
    monkeypatch.setattr(casting, "BLOCK", 10)


def outcome(decode: Any) -> Any:
    """What a message means, or that it is no message, or why it is refused."""
    try:
        batch = decode()
    except DecodeError:
        return "no message"
    except InvalidInput as error:
        return str(error)
    columns = {name: (values.dtype, values.shape, values.tolist()) for name, values in batch.columns.items()}
    return columns, batch.id, batch.params, batch.outputs, batch.binary_output


def as_large(message: bytes) -> Batch:
    large = grpc_contents.lifted(message)
    return codec.decode(pb.ModelInferRequest.FromString(large.rest), large)


def check_same(message: bytes) -> Any:
    whole = outcome(lambda: codec.decode(pb.ModelInferRequest.FromString(message)))
    # A NaN that damage has made is compared by its text.
    assert repr(outcome(lambda: as_large(message))) == repr(whole)
    return whole


@st.composite
def requests(draw: st.DrawFn) -> Any:
    request = pb.ModelInferRequest(model_name="model", id=draw(st.sampled_from(["", "a"])))
    for index in range(draw(st.integers(1, 3))):
        datatype = draw(st.sampled_from([*INTEGERS]))
        values = draw(st.lists(INTEGERS[datatype], min_size=1, max_size=50))
        tensor = request.inputs.add(name=f"x{index}", datatype=datatype, shape=[len(values)])
        getattr(tensor.contents, codec.CONTENTS[datatype]).extend(values)
    return request


@given(request_=requests(), damage=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=2))
def test_numbers_are_those_of_protobuf(request_: Any, damage: list[tuple[int, int]]) -> None:
    message = bytearray(request_.SerializeToString())
    for place, byte in damage:
        message[place % len(message)] = byte
    check_same(bytes(message))


def one(datatype: str, contents: bytes, shape: int) -> bytes:
    """A request of one tensor whose contents are these bytes."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=[shape]).SerializeToString()
    whole: bytes = pb.ModelInferRequest(model_name="model").SerializeToString()
    return whole + packed(grpc_contents.INPUTS, tensor + packed(grpc_contents.CONTENTS, contents))


def packed(number: int, encoded: bytes) -> bytes:
    return grpc_contents.length_field(number, encoded)


OVERLONG = b"\x81" + b"\x80" * 8 + b"\x00"  # the number 1 in ten bytes
NEGATIVE = b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    ("message", "lifts"),
    [
        (one("INT64", packed(3, OVERLONG * 3 + NEGATIVE), 4), True),
        (one("INT8", packed(2, NEGATIVE * 2), 2), True),
        (one("UINT32", packed(4, NEGATIVE * 2), 2), True),
        (one("BOOL", packed(1, b"\x80\x02" * 8), 8), True),
        (one("INT64", packed(3, b"\xff" * 9 + b"\x7f"), 1), False),  # more than 64 bits
        (one("INT64", packed(3, b"\x80" * 10 + b"\x01"), 1), False),
        (one("INT64", packed(3, b"\x01" * 9 + b"\x80"), 10), False),  # cut off
        (one("INT64", packed(3, b"\x80" * 40), 1), False),
        (one("FP64", packed(7, bytes(25)), 3), False),
        (one("FP64", packed(7, bytes(24)), 4), True),  # of another shape
        (one("INT64", packed(7, bytes(24)), 3), True),  # in the wrong field
        (one("INT64", packed(3, b"\x01" * 9) + packed(3, b"\x02" * 9), 18), False),  # merged
        (one("INT64", packed(3, b"\x01" * 9) + b"\x18\x02", 10), False),  # one of them by itself
        (one("INT64", packed(3, b"\x01" * 9) + packed(2, b"\x02" * 9), 18), False),
        (one("INT64", b"\x18\x01" * 9, 9), False),
        (one("INT64", packed(3, b"\x01" * 9), 9) + packed(7, b"\x01"), True),  # raw contents beside it
        (one("INT64", packed(3, b"\x01" * 9), 9)[:-1], False),
    ],
)
def test_messages_at_their_edges(message: bytes, lifts: bool) -> None:
    assert bool(grpc_contents.lifted(message).contents) == lifts
    check_same(message)


def test_contents_in_two_parts_are_merged() -> None:
    half = packed(grpc_contents.CONTENTS, packed(3, b"\x01" * 9))
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="INT64", shape=[18]).SerializeToString()
    message = packed(grpc_contents.INPUTS, tensor + half + half)
    assert not grpc_contents.lifted(message).contents
    assert check_same(message)[0]["x"][2] == [1] * 18


def test_raw_contents() -> None:
    request = pb.ModelInferRequest(model_name="model")
    request.inputs.add(name="x", datatype="FP64", shape=[3])
    request.inputs.add(name="y", datatype="UINT8", shape=[2])
    request.raw_input_contents.extend([np.arange(3.0).tobytes(), b"\x01\x02"])
    message = request.SerializeToString()
    assert [*grpc_contents.lifted(message).raw] == [0]
    assert check_same(message)[0]["x"][2] == [0, 1, 2]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", "u4", "i8", "u8", "f4", "f8", "bool"])
def test_replies_are_those_of_protobuf(dtype: str) -> None:
    random = np.random.default_rng(1)
    large = np.concatenate([np.arange(20), random.integers(-(2**63), 2**63 - 1, 30), [0, -1]]).astype(dtype)
    outputs = {"a": np.arange(2), "large": large, "b": np.arange(3.0), "large too": large[::2]}
    encoded = codec.encode(Prediction(outputs, "predict", "model", "1"), Batch(id="an id"))
    reply = pb.ModelInferResponse.FromString(encoded)
    assert (reply.model_name, reply.model_version, reply.id) == ("model", "1", "an id")
    assert [output.name for output in reply.outputs] == [*outputs]
    for output in reply.outputs:
        field = codec.CONTENTS[output.datatype]
        assert [*getattr(output.contents, field)] == outputs[output.name].tolist()
        assert list(output.shape) == [len(outputs[output.name])]
