"""KServe's V1 protocol over HTTP."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tests.serving import Running, in_thread
from tests.zoo.case import PIP, numbers

ROW = [91.5, 1.05, 41, 0.9]
RECORD = {"temperature": 91.5, "vibration": 1.05, "months_since_service": 41, "load": 0.9}


@pytest.fixture(scope="module")
def one_column(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    import mlflow.sklearn
    from mlflow.models import infer_signature

    folder = tmp_path_factory.mktemp("models") / "doubler"
    data = numbers()[["a"]]
    mlflow.sklearn.save_model(LinearRegression().fit(data, data.a * 2), folder, signature=infer_signature(data), **PIP)
    with in_thread(folder) as server:
        yield server


@pytest.mark.parametrize(
    "payload",
    [
        {"instances": [ROW]},
        {"instances": [RECORD]},
        {"instances": [dict(reversed(RECORD.items()))]},
        {"inputs": {name: [value] for name, value in RECORD.items()}},
        {"inputs": [ROW]},
        {"instances": [[91.5, 1.05, 41.0, 0.9]]},
        {"instances": [ROW], "signature_name": "serving_default"},
        {"instances": [ROW], "parameters": None},
    ],
)
def test_every_form_gives_the_same_answer(demo: Running, payload: Any) -> None:
    response = demo.predict(payload)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "predictions": [1],
        "model_name": "model",
        "model_version": "1",
        "probabilities": [[pytest.approx(0.0165476, abs=1e-6), pytest.approx(0.9834524, abs=1e-6)]],
    }


def test_scalars_for_a_model_with_one_column(one_column: Running) -> None:
    for instances in ([1.0, 2.0], [[1.0], [2.0]], [{"a": 1.0}, {"a": 2.0}]):
        assert one_column.predict({"instances": instances}).json()["predictions"] == pytest.approx([2, 4])
    assert one_column.predict({"instances": [{"b": 1.0}]}).status_code == 400


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_any_method_of_the_model(demo: Running, method: str) -> None:
    reply = demo.predict({"instances": [ROW], "parameters": {"method": method}}).json()
    import mlflow.sklearn
    import pandas as pd

    from predictors.storage.source import DEMO

    native = getattr(mlflow.sklearn.load_model(str(DEMO)), method)(pd.DataFrame([RECORD]))
    assert np.array(reply["predictions"]).tolist() == native.tolist()
    assert ("probabilities" in reply) == (method == "predict")


def test_probabilities_can_be_turned_off_by_a_request(demo: Running) -> None:
    assert "probabilities" not in demo.predict({"instances": [ROW], "parameters": {"probabilities": False}}).json()


def test_probabilities_can_be_turned_off_by_a_setting() -> None:
    with in_thread(None, probabilities=False) as server:
        assert "probabilities" not in server.predict({"instances": [ROW]}).json()
        assert "probabilities" in server.predict({"instances": [ROW], "parameters": {"probabilities": True}}).json()


def test_text_stays_text(mixed: Running) -> None:
    record = {"amount": 0.5, "count": 1, "member": True, "city": "007"}
    as_text = mixed.predict({"instances": [record]})
    assert as_text.status_code == 200
    assert mixed.predict({"instances": [record | {"city": 7}]}).status_code == 400


def test_nullable_and_zoned_columns(moments: Running) -> None:
    rows = [
        {"at": "2024-06-01T14:00:00+02:00", "data": "AP8=", "maybe": None},
        {"at": "2024-06-01 12:00:00.5", "data": "", "maybe": 2},
        {"at": "2024-06-01T12:00:00Z", "data": "AA=="},
    ]
    assert moments.predict({"instances": rows}).json()["predictions"] == [
        {"at": "2024-06-01T12:00:00.000000", "size": 2, "maybe": None},
        {"at": "2024-06-01T12:00:00.500000", "size": 0, "maybe": 2.0},
        {"at": "2024-06-01T12:00:00.000000", "size": 1, "maybe": None},
    ]
    without = [{"at": "2024-06-01", "data": "AA=="}]
    assert moments.predict({"instances": without}).json()["predictions"][0]["maybe"] == -1


def test_params_of_the_signature(zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo("pyfunc-params")) as server:
        row = {"instances": [[1.5, 0, 0, 0]]}
        assert server.predict(row).json()["predictions"] == [1.5 * 2.0 + 2]
        changed = {"factor": 3, "times": 2, "names": ["one"]}
        assert server.predict({**row, "parameters": changed}).json()["predictions"] == [1.5 * 3 * 2 + 1]
        for wrong, words in (
            ({"factor": "x"}, "parameter 'factor'"),
            ({"names": "x"}, "parameter 'names'"),
            ({"fctor": 1}, "'factor'"),
        ):
            response = server.predict({**row, "parameters": wrong})
            assert (response.status_code, words in response.text) == (400, True), response.text


def test_nan_policy(zoo: Callable[[str], Path]) -> None:
    rows = {"instances": [[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]}
    with in_thread(zoo("pyfunc-nan-and-infinity")) as server:
        response = server.predict(rows)
        assert response.json()["predictions"] == [None, None]
        assert "NaN" not in response.text
    with in_thread(zoo("pyfunc-nan-and-infinity"), nan="error") as server:
        response = server.predict(rows)
        assert (response.status_code, "NaN or infinity" in response.text) == (500, True)
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 0, 0, 0]}
        assert server.infer({"inputs": [tensor]}).status_code == 500
        assert server.post("/invocations", rows).status_code == 500
        binary = server.infer({"inputs": [tensor], "parameters": {"binary_data_output": True}})
        assert np.isnan(np.frombuffer(binary.content[-8:])).all()  # binary tensors hold it as it is


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "application/vnd.api+json"])
def test_content_types(demo: Running, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    path = "/v1/models/model:predict"
    assert demo.post(path, content=json.dumps({"instances": [ROW]}).encode(), headers=headers).status_code == 200


def test_a_first_curl(demo: Running) -> None:
    """`curl -d` calls its body a form, and people leave the header out."""
    body = json.dumps({"instances": [ROW]}).encode()
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        for path in ("/v1/models/model:predict", "/v1/models/model:predict/"):
            assert demo.post(path, content=body, headers={"Content-Type": kind}).json()["predictions"] == [1]


def test_bytes_as_in_tensorflow_serving(moments: Running) -> None:
    at = "2024-01-01T00:00:00"
    records = [{"at": at, "data": {"b64": "AP9h"}}, {"at": {"b64": "MjAyNC0wMS0wMQ=="}, "data": "AAE="}]
    reply = moments.predict({"instances": records}).json()["predictions"]
    assert [row["size"] for row in reply] == [3, 2]
    assert moments.predict({"inputs": {"at": [at], "data": [{"b64": "AP9h"}]}}).json()["predictions"][0]["size"] == 3
    refused = moments.predict({"instances": [{"at": at, "data": {"b64": "?"}}]})
    assert (refused.status_code, refused.json()["error"]) == (400, "'b64': expected bytes as base64")
    deep = b'{"instances": [' + b"[" * 900 + b'{"b64": "AP9h"}' + b"]" * 900 + b"]}"
    assert moments.post("/v1/models/moments:predict", content=deep).status_code == 400


def test_compressed_bodies(demo: Running) -> None:
    body = gzip.compress(json.dumps({"instances": [ROW]}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert demo.post("/v1/models/model:predict", content=body, headers=headers).json()["predictions"] == [1]


def test_metadata(demo: Running) -> None:
    assert demo.get("/v1/models").json() == {"models": ["model"]}
    about = {"name": "model", "platform": "mlflow", "version": "1", "ready": True}
    assert demo.get("/v1/models/model").json() == about


def test_explain_without_an_explainer(demo: Running) -> None:
    assert demo.post("/v1/models/model:explain", {"instances": [ROW]}).status_code == 501


class Prices(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Answers as databases do; an object of nobody's knowledge for what is less than nothing."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        return [Decimal(int(a)) / 10 if a >= 0 else threading.Lock() for a in model_input["a"]]


def test_what_a_model_answers_that_json_does_not_know(tmp_path: Path) -> None:
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Prices(), pip_requirements=[])
    with in_thread(tmp_path / "m") as server:
        exact = server.predict({"instances": [{"a": 11}, {"a": 10**18 + 1}]})
        assert exact.text.startswith('{"predictions":[1.1,100000000000000000.1]'), exact.text
        failed = server.predict({"instances": [{"a": -1}]})
        assert failed.status_code == 500
        assert "cannot be written as JSON: a value of type lock" in failed.json()["error"]


class EchoOfValues(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Answers what it was asked."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        return list(model_input["a"])


def test_values_that_are_nested_too_deeply(tmp_path: Path) -> None:
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=EchoOfValues(), pip_requirements=[])
    with in_thread(tmp_path / "m") as server:
        for depth, status in ((50, 200), (800, 400)):
            body = '{"instances":[{"a":' + "[" * depth + "]" * depth + "}]}"
            response = server.post(
                "/v1/models/model:predict", content=body.encode(), headers={"Content-Type": "application/json"}
            )
            assert response.status_code == status, response.text
    assert response.json() == {"error": "the request is nested too deeply"}
