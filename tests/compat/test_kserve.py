"""The shapes of the payloads that KServe's own end-to-end tests send, with values of ours.

Left out are those for what this server has not: the routes of OpenAI's API (chat, completions, embeddings, reranking) of its
language model runtimes, which send them to `/openai/v1/…`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import mlflow.lightgbm
import numpy as np
import pandas as pd
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from mlflow.types import ColSpec, Schema, TensorSpec

from predictors.protocol.batch import Batch
from predictors.signature.plan import compile_plan
from tests.compat.echo import save_echo
from tests.serving import Running, in_thread
from tests.zoo.case import PIP

NAMES = ["temperature", "vibration", "months_since_service", "load"]
ROWS = [[64.2, 0.21, 3, 0.4], [91.5, 1.05, 41, 0.9]]
PREDICTIONS = [0, 1]


def tensor(name: str, datatype: str, shape: list[int], data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def columns(datatype: str, shape: list[int], **more: Any) -> list[dict[str, Any]]:
    return [
        tensor(name, datatype, shape, list(cells), **more)
        for name, cells in zip(NAMES, zip(*ROWS, strict=True), strict=True)
    ]


V1: dict[str, Any] = {
    "rows": {"instances": ROWS},
    "rows as inputs": {"inputs": ROWS},
    "records": {"instances": [dict(zip(NAMES, row, strict=True)) for row in ROWS]},
    "a frame of one row each": {"inputs": [{name: {"0": cell} for name, cell in zip(NAMES, row, strict=True)} for row in ROWS]},
    "a frame of two rows": {
        "inputs": [{name: {"0": a, "1": b} for name, a, b in zip(NAMES, *ROWS, strict=True)}]
    },
    "columns": {"inputs": {name: list(cells) for name, cells in zip(NAMES, zip(*ROWS, strict=True), strict=True)}},
}  # fmt: skip
V2: dict[str, Any] = {
    "a nested matrix": {"inputs": [tensor("input-0", "FP32", [2, 4], ROWS)]},
    "a flat matrix": {"inputs": [tensor("input-0", "FP64", [2, 4], [cell for row in ROWS for cell in row])]},
    "another name": {"inputs": [tensor("predict", "FP32", [2, 4], ROWS)], "id": "1", "model_name": "model"},
    "columns of a frame": {"parameters": {"content_type": "pd"}, "inputs": columns("FP64", [2])},
    "columns with a second axis": {"parameters": {"content_type": "pd"}, "inputs": columns("FP64", [2, 1])},
    "single precision": {"inputs": columns("FP32", [2])},
    "parameters of tensors": {"inputs": columns("FP64", [2], parameters={"content_type": "np"})},
}


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("case", V1)
def test_v1(demo: Running, case: str, kind: str) -> None:
    response = demo.post(
        "/v1/models/model:predict", content=json.dumps(V1[case]).encode(), headers={"Content-Type": kind}
    )
    assert response.json()["predictions"] == PREDICTIONS, response.text


@pytest.mark.parametrize("case", V2)
def test_v2(demo: Running, case: str) -> None:
    response = demo.infer(V2[case])
    assert response.json()["outputs"][0]["data"] == PREDICTIONS, response.text


@pytest.fixture(scope="module")
def lightgbm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A booster without a signature, as KServe's server has it; it has learnt what a missing value means."""
    import lightgbm as lgb

    random = np.random.default_rng(0)
    data = pd.DataFrame(random.normal(size=(400, 4)), columns=["a_(cm)", "b_(cm)", "c_(cm)", "d_(cm)"])
    data.loc[::3, "d_(cm)"] = np.nan
    label = (data["a_(cm)"] + data["d_(cm)"].fillna(3) > 0).astype(int)
    booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, lgb.Dataset(data, label), 10)
    folder = tmp_path_factory.mktemp("lightgbm") / "model"
    mlflow.lightgbm.save_model(booster, folder, **PIP)
    with in_thread(folder) as server:
        yield server


ROW = {"a_(cm)": 0.5, "b_(cm)": 1.0, "c_(cm)": 1.5, "d_(cm)": 2.0}
WITHOUT_D = {name: value for name, value in ROW.items() if name != "d_(cm)"}


@pytest.mark.parametrize(
    "inputs",
    [
        [{name: {"0": value} for name, value in ROW.items()}],
        [{name: [value] for name, value in ROW.items()}],
        [[{name: value} for name, value in ROW.items()]],
        [[ROW]],
    ],
    ids=["labels", "lists", "a name each", "a list of records"],
)
def test_a_frame_for_a_booster(lightgbm: Running, inputs: Any) -> None:
    expected = lightgbm.predict({"instances": [ROW]}).json()["predictions"]
    assert lightgbm.predict({"inputs": inputs}).json()["predictions"] == expected
    assert len(expected) == 1


def test_frames_of_several_rows(lightgbm: Running) -> None:
    expected = lightgbm.predict({"instances": [ROW, ROW]}).json()["predictions"]
    for inputs in ([{name: [value, value] for name, value in ROW.items()}], [[ROW, ROW]]):
        assert lightgbm.predict({"inputs": inputs}).json()["predictions"] == expected


def test_a_column_that_a_booster_does_without(lightgbm: Running) -> None:
    """LightGBM has an answer for a missing value, and KServe's server asks for it where a column is missing."""
    expected = lightgbm.predict({"instances": [{**WITHOUT_D, "d_(cm)": None}]}).json()["predictions"]
    assert expected != lightgbm.predict({"instances": [ROW]}).json()["predictions"]
    for inputs in ([[{name: value} for name, value in WITHOUT_D.items()]], [WITHOUT_D]):
        response = lightgbm.predict({"inputs": inputs})
        assert response.json().get("predictions") == expected, response.text
    misspelt = lightgbm.predict({"instances": [{**WITHOUT_D, "D_(cm)": 2.0}]})
    assert (misspelt.status_code, "unknown input 'D_(cm)'" in misspelt.text) == (400, True)
    assert lightgbm.predict({"instances": [{}]}).status_code == 400


MODELS: dict[str, Schema | None] = {
    "text": Schema([ColSpec("string", "text")]),
    "image": Schema([TensorSpec(np.dtype("float64"), (-1, 3, 4, 4))]),
    "picture": Schema([ColSpec("binary", "image"), ColSpec("long", "target", required=False)]),
    "mixed": Schema([ColSpec("string", "zone"), ColSpec("long", "area"), ColSpec("double", "price", required=False)]),
    "series": Schema([ColSpec("string", "item"), ColSpec("datetime", "at"), ColSpec("double", "target")]),
    "free": None,
}
TEXTS = ["the capital of [MASK]", "größer"]
PIXELS = np.linspace(-1, 1, 48).reshape(1, 3, 4, 4)
PICTURE = base64.b64encode(bytes(range(256))).decode()
MIXED = [
    tensor("zone", "BYTES", [2], ["RL", ""]),
    tensor("area", "INT32", [2], [8450, 1]),
    tensor("price", "FP64", [2], [7.25, 71.5]),
]
# What the model sees, by its kind, protocol and payload.
SEEN: dict[str, tuple[str, str, Any, str]] = {
    "texts in V1": ("text", "v1", {"instances": TEXTS}, "'text': [\"str 'the capital of [MASK]'\", \"str 'größer'\"]"),
    "a text as inputs": ("text", "v1", {"inputs": TEXTS[:1]}, "'text': [\"str 'the capital of [MASK]'\"]"),
    "a text of no shape": ("text", "v2", {"inputs": [tensor("input-0", "BYTES", [], TEXTS[:1])]}, "'text': [\"str 'the capital of [MASK]'\"]"),
    "texts without a signature": ("free", "v1", {"inputs": TEXTS[:1]}, "[MASK]"),
    "a text of no shape without a signature": ("free", "v2", {"inputs": [tensor("input-0", "BYTES", [], TEXTS[:1])]}, "[MASK]"),
    "an image in V1": ("image", "v1", {"instances": PIXELS.tolist()}, "'shape': [1, 3, 4, 4]"),
    "an image in V2": ("image", "v2", {"inputs": [tensor("input-0", "FP64", [1, 3, 4, 4], PIXELS.tolist())]}, "'shape': [1, 3, 4, 4]"),
    "a flat image of single precision": ("image", "v2", {"inputs": [tensor("INPUT__0", "FP32", [1, 3, 4, 4], PIXELS.reshape(-1).tolist())]}, "'shape': [1, 3, 4, 4]"),
    "a picture": ("picture", "v1", {"instances": [{"image": {"b64": PICTURE}}]}, "bytes b"),
    "a picture with a target": ("picture", "v1", {"instances": [{"image": PICTURE, "target": 0}] * 2}, "'target': ['int 0', 'int 0']"),
    "a picture in V2": ("picture", "v2", {"inputs": [tensor("image", "BYTES", [1], [PICTURE])]}, "bytes b"),
    "mixed columns": ("mixed", "v2", {"parameters": {"content_type": "pd"}, "inputs": MIXED[:2]}, "'area': ['int 8450', 'int 1']"),
    "mixed columns without a content type": ("mixed", "v2", {"inputs": MIXED}, "'price': ['float 7.25', 'float 71.5']"),
    "rows of mixed values": ("mixed", "v1", {"instances": [["RL", 3, 22.0], ["", 1, None]]}, "'price': ['float 22.0', 'float nan']"),
    "a series": ("series", "v1", {"instances": [{"item": "0", "at": "2020-01-01", "target": 100.0}, {"item": "0", "at": "2020-01-02 01:00:00", "target": 102.0}]}, "'target': ['float 100.0', 'float 102.0']"),
}  # fmt: skip


@pytest.fixture(scope="module")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Running]]:
    """Servers of models that answer with what they see; each starts when it is first asked for."""
    folder = tmp_path_factory.mktemp("echoes")
    with ExitStack() as stack:

        @cache
        def echo(kind: str) -> Running:
            save_echo(folder / kind, MODELS[kind])
            return stack.enter_context(in_thread(folder / kind))

        yield echo


@pytest.mark.parametrize("case", SEEN)
def test_what_the_model_sees(echoes: Callable[[str], Running], case: str) -> None:
    kind, protocol, body, expected = SEEN[case]
    server = echoes(kind)
    if protocol == "v1":
        seen = server.predict(body).json()["predictions"]
    else:
        seen = server.infer(body).json()["outputs"][0]["data"]
    assert expected in seen[0], seen


def test_columns_over_grpc(echoes: Callable[[str], Running]) -> None:
    request = pb.ModelInferRequest(model_name="model")
    request.parameters["content_type"].string_param = "pd"
    request.inputs.add(name="zone", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"RL")
    request.inputs.add(name="area", datatype="INT32", shape=[1]).contents.int_contents.append(8450)
    with grpc.insecure_channel(echoes("mixed").grpc) as channel:
        reply = GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert "'area': ['int 8450']" in reply.outputs[0].contents.bytes_contents[0].decode()


def test_a_matrix_over_grpc(demo: Running) -> None:
    request = pb.ModelInferRequest(model_name="model")
    matrix = request.inputs.add(name="input-0", datatype="FP32", shape=[2, 4])
    matrix.contents.fp32_contents.extend(cell for row in ROWS for cell in row)
    with grpc.insecure_channel(demo.grpc) as channel:
        reply = GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert list(reply.outputs[0].contents.int64_contents) == PREDICTIONS


@pytest.mark.parametrize(
    "wish",
    [{"parameters": {"binary_data_output": True}}, {"outputs": [{"name": "output-0", "parameters": {"binary_data": True}}]}],
    ids=["all", "one"],
)  # fmt: skip
def test_answers_in_binary_form(demo: Running, wish: dict[str, Any]) -> None:
    response = demo.infer({**V2["a nested matrix"], **wish})
    split = int(response.headers["inference-header-content-length"])
    size = json.loads(response.content[:split])["outputs"][0]["parameters"]["binary_data_size"]
    assert np.frombuffer(response.content[split : split + size], np.int64).tolist() == PREDICTIONS


def test_a_map_stays_a_map() -> None:
    spec = [{"type": "map", "values": {"type": "double"}, "name": "m", "required": True}]
    frame = compile_plan({"inputs": spec}).conform(Batch(rows=[{"m": {"0": 1.5}}]))
    assert frame["m"].tolist() == [{"0": 1.5}]


def test_an_object_is_no_frame(demo: Running) -> None:
    for cell in ({"0": 1, "x": 2}, {"1": 1}, {}):
        assert demo.predict({"instances": [{"temperature": cell}]}).status_code == 400


def test_every_flag_is_on_the_page() -> None:
    from kserve.model_server import parser

    page = (Path(__file__).parents[2] / "docs" / "migrate-kserve.md").read_text()
    flags = [flag for action in parser._actions for flag in action.option_strings if flag not in ("-h", "--help")]
    assert [flag for flag in flags if f"`{flag}`" not in page] == []
