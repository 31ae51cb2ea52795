"""What MLServer's mlflow runtime takes and gives in V2."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, Map, Object, Property

from tests.compat.echo import save_echo
from tests.serving import Running, in_thread
from tests.zoo.python import model, save

COLUMNS: dict[str, tuple[Any, str, list[Any], list[Any]]] = {
    "flag": (DataType.boolean, "BOOL", [True, False], [True, False]),
    "small": (DataType.integer, "INT32", [1, 2], [1, 2]),
    "large": (DataType.long, "INT64", [1, 2], [1, 2]),
    "single": (DataType.float, "FP32", [1.5, 2.5], [1.5, 2.5]),
    "double": (DataType.double, "FP64", [1.5, 2.5], [1.5, 2.5]),
    "text": (DataType.string, "BYTES", ["a", "ü"], ["a", "ü"]),
    "data": (DataType.binary, "BYTES", ["AP8=", "AAE="], [b"\0\xff", b"\0\1"]),
    "list": (Array(DataType.double), "BYTES", ["[1.5]", "[]"], [[1.5], []]),
    "texts": (Array(DataType.string), "BYTES", ['["a"]', '["b", "c"]'], [["a"], ["b", "c"]]),
    "object": (Object([Property("a", DataType.long)]), "BYTES", ['{"a": 1}', '{"a": 2}'], [{"a": 1}, {"a": 2}]),
    "map": (Map(DataType.long), "BYTES", ['{"k": 1}', "{}"], [{"k": 1}, {}]),
    "any": (AnyType(), "BYTES", ['{"x": [1]}', '"y"'], [{"x": [1]}, "y"]),
    "any number": (AnyType(), "FP64", [1.5, 2.5], [1.5, 2.5]),
}
GIVEN: dict[str, tuple[str, dict[str, Any]]] = {
    "bytes": ("[b'\\x00\\xff', b'text']", {"datatype": "BYTES", "data": ["AP8=", "dGV4dA=="], "parameters": {"content_type": "base64"}}),
    "text": ("['a', 'b']", {"datatype": "BYTES", "data": ["a", "b"]}),
    "byte strings of numpy": ("np.array([b'a', b'b'])", {"datatype": "BYTES", "data": ["a", "b"]}),
    "missing integers": ("pd.Series([1, pd.NA], dtype='Int64')", {"datatype": "FP64", "data": [1.0, None]}),
    "missing texts": ("pd.Series(['a', pd.NA], dtype='string')", {"datatype": "BYTES", "data": ["a", "null"]}),
    "large integers": ("np.array([2**70, 1], dtype=object)", {"datatype": "BYTES", "data": [str(2**70), "1"]}),
}  # fmt: skip


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A model with optional columns of every type, and params."""
    inputs = Schema([ColSpec(kind, name, required=False) for name, (kind, *_) in COLUMNS.items()])
    params = ParamSchema([ParamSpec("t", "double", 1.0), ParamSpec("many", "long", [1], shape=(-1,))])
    folder = tmp_path_factory.mktemp("echo") / "model"
    save_echo(folder, inputs, params)
    with in_thread(folder) as server:
        yield server


@pytest.fixture(scope="module")
def giver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A model that answers with the Python expression that it gets."""
    folder = tmp_path_factory.mktemp("giver") / "model"
    save(
        folder,
        model("return eval(model_input['x'][0])"),
        signature=ModelSignature(inputs=Schema([ColSpec("string", "x")])),
    )
    with in_thread(folder) as server:
        yield server


def seen(reply: dict[str, Any]) -> str:
    assert "outputs" in reply, reply
    return str(reply["outputs"][0]["data"][0])


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("shape", [[2], [2, 1]], ids=["N", "N-1"])
def test_every_type_of_column(echo: Running, name: str, shape: list[int]) -> None:
    """The model gets what it gets from V1, which has the values as they are."""
    _, datatype, data, cells = COLUMNS[name]
    reply = echo.infer({"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}).json()
    values = data if name == "data" else cells
    assert seen(reply) == echo.predict({"instances": [{name: value} for value in values]}).json()["predictions"][0]


def test_rows_of_a_list_column_are_a_tensor(echo: Running) -> None:
    for shape, data in (([2, 2], [1, 2, 3, 4]), ([2, 1], [1, 2])):
        reply = echo.infer({"inputs": [{"name": "list", "shape": shape, "datatype": "FP64", "data": data}]}).json()
        assert f"'list': {[[f'float {float(x)}' for x in row] for row in np.reshape(data, shape)]}" in seen(reply)


@pytest.mark.parametrize("case", GIVEN)
def test_every_type_of_answer(giver: Running, case: str) -> None:
    expression, expected = GIVEN[case]
    ask = {"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": [expression]}
    (output,) = giver.infer({"inputs": [ask]}).json()["outputs"]
    assert {key: output[key] for key in expected} == expected
    assert giver.predict({"instances": [expression]}).status_code == 200


def test_large_integers_in_v1_keep_their_digits(giver: Running) -> None:
    assert giver.predict({"instances": ["[2**70, {'a': -2**64}]"]}).json()["predictions"] == [2**70, {"a": -(2**64)}]
    assert giver.predict({"instances": ["pd.array([1, pd.NA]).tolist()"]}).json()["predictions"] == [1, None]


def test_bytes_as_base64(echo: Running) -> None:
    for name, seen_as, shown in (("data", b"\0\xff", "x00\\\\xff"), ("text", "ab", "str 'ab'")):
        text = base64.b64encode(seen_as if isinstance(seen_as, bytes) else seen_as.encode()).decode()
        tensor = {
            "name": name,
            "shape": [1, 1],
            "datatype": "BYTES",
            "data": [text],
            "parameters": {"content_type": "base64"},
        }
        assert shown in seen(echo.infer({"inputs": [tensor]}).json())
        request = pb.ModelInferRequest(model_name="model")
        grpc_tensor = request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        grpc_tensor.contents.bytes_contents.append(text.encode())
        grpc_tensor.parameters["content_type"].string_param = "base64"
        with grpc.insecure_channel(echo.grpc) as channel:
            reply = GRPCInferenceServiceStub(channel).ModelInfer(request)
        assert shown in reply.outputs[0].contents.bytes_contents[0].decode()
    refused = echo.infer({"inputs": [{**tensor, "data": ["?"]}]})
    assert (refused.status_code, "base64 (its content_type)" in refused.text) == (400, True)


def test_params_of_every_type_over_grpc(echo: Running) -> None:
    request = pb.ModelInferRequest(model_name="model")
    request.inputs.add(name="double", datatype="FP64", shape=[1]).contents.fp64_contents.append(1)
    request.parameters["t"].string_param = "0.25"
    request.parameters["many"].string_param = "[1, 2]"
    with grpc.insecure_channel(echo.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert "'t': 0.25, 'many': [1, 2]" in stub.ModelInfer(request).outputs[0].contents.bytes_contents[0].decode()
        request.parameters["t"].string_param = "warm"
        with pytest.raises(grpc.RpcError) as error:
            stub.ModelInfer(request)
    assert "parameter 't': expected a number (double), got a string" in str(error.value)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("output-0", "predictions"),
        ("output-1", "predictions"),
        ("predict", "predictions"),
        ("predict_proba", "probabilities"),
    ],
)
def test_outputs_by_the_names_of_other_servers(demo: Running, asked: str, named: str) -> None:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [91.5, 1.05, 41, 0.9]}
    theirs = demo.infer({"inputs": [tensor], "outputs": [{"name": asked}]}).json()["outputs"]
    (ours,) = demo.infer({"inputs": [tensor], "outputs": [{"name": named}]}).json()["outputs"]
    assert theirs == [{**ours, "name": asked}]


def test_no_rows(demo: Running) -> None:
    """A tensor of shape [0, 4] goes to the model: some take no rows."""
    response = demo.infer({"inputs": [{"name": "x", "shape": [0], "datatype": "FP64", "data": []}]})
    assert (response.status_code, "input 'x' is empty" in response.json()["error"]) == (400, True)


def test_a_table_of_pandas_as_mlserver_sends_it(demo: Running) -> None:
    frame = pd.DataFrame({"temperature": [91.5], "vibration": [1.05], "months_since_service": [41], "load": [0.9]})
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": "INT64" if frame[name].dtype == "int64" else "FP64",
         "data": frame[name].tolist(), "parameters": {"content_type": "np"}}
        for name in frame
    ]  # fmt: skip
    body = {"parameters": {"content_type": "pd"}, "inputs": inputs}
    assert demo.infer(body).json()["outputs"][0]["data"] == [1]
