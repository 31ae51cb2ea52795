"""The shapes of the payloads that KServe's own end-to-end tests send to its scikit-learn, XGBoost and LightGBM servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from predictors.protocol.batch import Batch
from predictors.signature.plan import compile_plan
from tests.serving import Running, in_thread

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
def lightgbm(zoo: Callable[[str], Path]) -> Iterator[Running]:
    with in_thread(zoo("lightgbm-booster")) as server:
        yield server


def test_a_frame_for_a_booster(lightgbm: Running) -> None:
    row = {"a": 0.5, "b": 1.0, "c": 1.5, "d": 2.0}
    expected = lightgbm.predict({"instances": [row]}).json()["predictions"]
    assert (
        lightgbm.predict({"inputs": [{name: {"0": cell} for name, cell in row.items()}]}).json()["predictions"]
        == expected
    )


def test_a_map_stays_a_map() -> None:
    spec = [{"type": "map", "values": {"type": "double"}, "name": "m", "required": True}]
    frame = compile_plan({"inputs": spec}).conform(Batch(rows=[{"m": {"0": 1.5}}]))
    assert frame["m"].tolist() == [{"0": 1.5}]


def test_an_object_is_no_frame(demo: Running) -> None:
    for cell in ({"0": 1, "x": 2}, {"1": 1}, {}):
        assert demo.predict({"instances": [{"temperature": cell}]}).status_code == 400
