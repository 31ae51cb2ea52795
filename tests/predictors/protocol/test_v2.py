"""The Open Inference Protocol over REST: what is ours beyond the conformance suite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving import Running, in_thread

COLUMNS = {"temperature": [91.5], "vibration": [1.05], "months_since_service": [41], "load": [0.9]}


def column(name: str, datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": datatype, "data": COLUMNS[name]}


def matrix(datatype: str, rows: Any, name: str = "input-0") -> dict[str, Any]:
    array = np.array(rows)
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.reshape(-1).tolist()}


def outputs(reply: dict[str, Any]) -> dict[str, Any]:
    return {output["name"]: output["data"] for output in reply["outputs"]}


def test_a_tensor_per_column_in_any_order_and_of_any_number_type(demo: Running) -> None:
    for types in (["FP64"] * 4, ["FP64", "FP64", "INT64", "FP64"], ["FP32", "FP16", "UINT8", "FP64"]):
        inputs = [column(name, kind) for name, kind in zip(COLUMNS, types, strict=True)]
        response = demo.infer({"inputs": inputs[::-1]})
        assert outputs(response.json())["predictions"] == [1], response.text


def test_one_matrix(demo: Running) -> None:
    reply = demo.infer({"inputs": [matrix("FP64", [[91.5, 1.05, 41, 0.9]])]}).json()
    assert outputs(reply)["predictions"] == [1]


def test_the_metadata_is_what_is_answered(demo: Running) -> None:
    about = demo.get("/v2/models/model").json()
    reply = demo.infer({"inputs": [column(name) for name in COLUMNS]}).json()
    assert [(one["name"], one["datatype"]) for one in reply["outputs"]] == [
        (one["name"], one["datatype"]) for one in about["outputs"]
    ]
    assert about["platform"] == "mlflow_sklearn"
    assert about["versions"] == ["1"]
    assert about["properties"]["methods"] == "decision_function,predict,predict_log_proba,predict_proba"
    assert {one["name"]: one["datatype"] for one in about["inputs"]} == {
        "temperature": "FP64", "vibration": "FP64", "months_since_service": "INT64", "load": "FP64",
    }  # fmt: skip


def test_methods_and_outputs(demo: Running) -> None:
    inputs = [column(name) for name in COLUMNS]
    asked = demo.infer({"inputs": inputs, "outputs": [{"name": "probabilities"}]}).json()
    assert list(outputs(asked)) == ["probabilities"]
    proba = demo.infer({"inputs": inputs, "parameters": {"method": "predict_proba"}}).json()
    assert outputs(proba) == {"predict_proba": outputs(asked)["probabilities"]}
    without = demo.infer({"inputs": inputs, "parameters": {"probabilities": False}}).json()
    assert list(outputs(without)) == ["predictions"]


def test_the_served_version_and_no_other(demo: Running) -> None:
    body = {"inputs": [column(name) for name in COLUMNS], "id": "42"}
    reply = demo.post("/v2/models/model/versions/1/infer", body).json()
    assert (reply["model_version"], reply["id"]) == ("1", "42")
    assert demo.post("/v2/models/model/versions/2/infer", body).status_code == 404
    assert demo.get("/v2/models/model/versions/1/ready").json() == {"name": "model", "ready": True}


@pytest.mark.parametrize(
    "datatype",
    ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"],
)
def test_every_datatype_reaches_a_model_without_a_signature(zoo: Callable[[str], Path], datatype: str) -> None:
    with in_thread(zoo("pyfunc-no-signature")) as server:
        reply = server.infer({"inputs": [matrix(datatype, [[0, 1], [1, 1]])]}).json()
        assert outputs(reply)["predictions"] == [0, 2, 2, 2]
        wanted = "INT64" if datatype == "BOOL" else datatype  # Python's True * 2 is a number
        assert reply["outputs"][0]["datatype"] == wanted


def test_text_and_json_in_tensors(zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo("pyfunc-nested-types")) as server:
        cells = {"scores": [1.5, 2], "home": {"city": "Köln"}, "counts": {"a": 1}, "extra": [None, "x"]}
        inputs = [
            {"name": name, "shape": [1], "datatype": "BYTES", "data": [json.dumps(cell)]}
            for name, cell in cells.items()
        ]
        reply = server.infer({"inputs": inputs}).json()
        assert json.loads(outputs(reply)["predictions"][0]) == {
            "sum": 3.5,
            "city": "Köln",
            "counted": 1,
            "extra": [None, "x"],
        }
        broken = server.infer({"inputs": [inputs[0] | {"data": ["[1, 'x']"]}, *inputs[1:]]})
        assert (broken.status_code, "input 'scores', row 0" in broken.text) == (400, True)


def test_repository() -> None:
    with in_thread(None) as server:
        body = {"inputs": [column(name) for name in COLUMNS]}
        index = server.post("/v2/repository/index").json()
        assert index == [{"name": "model", "version": "1", "state": "READY", "reason": ""}]
        assert server.post("/v2/repository/models/model/unload").json() == {"name": "model", "unload": True}
        assert server.infer(body).status_code == 503
        assert server.infer(body).headers["retry-after"] == "1"
        assert server.get("/ready").json() == {"ready": False, "error": "not ready: unloaded"}
        assert server.get("/health/live").status_code == 200
        assert server.post("/v2/repository/index").json()[0]["state"] == "UNAVAILABLE"
        assert server.post("/v2/repository/models/model/load").json() == {"name": "model", "load": True, "version": "1"}
        assert server.infer(body).status_code == 200
        assert server.post("/v2/repository/models/other/load").status_code == 404


def test_server_metadata(demo: Running) -> None:
    about = demo.get("/v2").json()
    assert about["name"] == "mlflow-kserve"
    assert set(about["extensions"]) == {"model_repository", "binary_tensor_data"}
    assert demo.get("/v2/health/live").json()["live"] is True
    assert demo.get("/v2/health/ready").json() == {"ready": True}
