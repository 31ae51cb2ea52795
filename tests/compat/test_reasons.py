"""Refusals of models say what was wrong and where, and repeat nothing of the data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.sklearn
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput
from predictors.signature.plan import compile_plan
from tests.predictors.protocol.test_chat import CHAT
from tests.serving import Running, in_thread
from tests.zoo.case import PIP
from tests.zoo.python import save

SECRET = "s3cret"
TYPED = """
import mlflow
import pydantic

class Person(pydantic.BaseModel):
    name: str
    age: int

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[Person]) -> list[int]:
        return [person.age for person in model_input]

mlflow.models.set_model(Model())
"""


@pytest.fixture(scope="module")
def categories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "city": list("abab"), "kind": list("ccdd")})
    encoder = make_column_transformer((OrdinalEncoder(), ["city", "kind"]), remainder="passthrough")
    fitted = make_pipeline(encoder, LogisticRegression()).fit(data, [0, 1, 0, 1])
    folder = tmp_path_factory.mktemp("categories") / "model"
    mlflow.sklearn.save_model(
        fitted, folder, signature=infer_signature(data), serialization_format="cloudpickle", **PIP
    )
    with in_thread(folder) as server:
        yield server


def refusal(server: Running, path: str, body: Any) -> str:
    response = server.post(path, body)
    assert response.status_code == 400, response.text
    reply = response.json()
    message = str(reply.get("error") or reply.get("message"))
    assert SECRET not in message
    return message


def test_an_unseen_category(categories: Running, caplog: pytest.LogCaptureFixture) -> None:
    rows = [[1.0, "a", "c"], [1.0, "b", SECRET]]
    words = "the model refused the input: input 'kind', row 1: the model was not trained with this category"
    with caplog.at_level(logging.WARNING, "predictors"):
        for _ in range(3):
            assert refusal(categories, "/v1/models/model:predict", {"instances": rows}) == words
    # one line a minute, however many are refused
    assert [record.getMessage() for record in caplog.records] == [words]


@pytest.mark.parametrize(("encoder", "signed"), [(OneHotEncoder, True), (OrdinalEncoder, True), (OneHotEncoder, False)])
def test_an_unseen_category_that_is_a_number(encoder: Any, signed: bool, tmp_path: Path) -> None:
    data = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "kind": [10, 20, 10, 20]})
    columns = make_column_transformer((encoder(handle_unknown="error"), ["kind"]), remainder="passthrough")
    fitted = make_pipeline(columns, LogisticRegression()).fit(data, [0, 1, 0, 1])
    signature = infer_signature(data) if signed else None
    mlflow.sklearn.save_model(
        fitted, tmp_path / "model", signature=signature, serialization_format="cloudpickle", **PIP
    )
    with in_thread(tmp_path / "model") as server:
        said = "the model refused the input: {}: the model was not trained with this category"
        rows = [{"x": 1.0, "kind": 20}, {"x": 1.0, "kind": 77}]
        asked = {"instances": rows}
        assert refusal(server, "/v1/models/model:predict", asked) == said.format("input 'kind', row 1")
        rows[0]["x"] = 77.0
        both = said.format("input 'x', row 0 or input 'kind', row 1")
        assert refusal(server, "/v1/models/model:predict", asked) == both


def test_a_wrong_number_of_columns(tmp_path: Path) -> None:
    fitted = LogisticRegression().fit([[1.0, 2.0], [2.0, 1.0]], [0, 1])
    mlflow.sklearn.save_model(fitted, tmp_path / "model", serialization_format="cloudpickle", **PIP)
    with in_thread(tmp_path / "model") as server:
        message = refusal(server, "/v1/models/model:predict", {"instances": [[1.0, 2.0, 3.0]]})
        assert message == "the model takes rows of 2 columns, got 3 columns"


def test_a_type_hint(tmp_path: Path) -> None:
    save(tmp_path / "typed", TYPED)
    with in_thread(tmp_path / "typed") as server:
        people = [{"name": "a", "age": 5}, {"name": SECRET, "age": SECRET}]
        message = refusal(server, "/invocations", {"inputs": people})
        assert message == "the model refused the input: row 1: 'age': Input should be a valid integer"


def test_a_type_hint_of_plain_values(zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo("pyfunc-type-hints")) as server:
        message = refusal(server, "/invocations", {"inputs": ["a", 5]})
        assert message == "the model refused the input: row 1: expected str, got int"


def test_a_message_class(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CHAT)
    mlflow.pyfunc.save_model(tmp_path / "chat", python_model=str(tmp_path / "code.py"), **PIP)
    with in_thread(tmp_path / "chat") as server:
        body = {"messages": [{"role": "user", "content": SECRET}, {"role": "user"}]}
        assert refusal(server, "/invocations", body) == "the model refused the input: 'content' is required"


def test_a_model_that_breaks_mlflows_classes_is_to_blame(tmp_path: Path) -> None:
    (tmp_path / "loose.py").write_text(
        "import mlflow\nfrom mlflow.types.llm import ChatMessage\n\nclass Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input):\n        return ChatMessage(role=5, content='x')\n\n"
        "mlflow.models.set_model(Model())\n"
    )
    signature = infer_signature(pd.DataFrame({"x": [1.0]}))
    mlflow.pyfunc.save_model(tmp_path / "loose", python_model=str(tmp_path / "loose.py"), signature=signature, **PIP)
    with in_thread(tmp_path / "loose") as server:
        assert server.predict({"instances": [[1.0]]}).status_code == 500


def test_a_date_beyond_what_pandas_holds() -> None:
    signature = ModelSignature(inputs=Schema([ColSpec("datetime", "at")]))
    with pytest.raises(InvalidInput, match="input 'at', row 1: .*, got a date out of range"):
        compile_plan(signature.to_dict()).conform(Batch(columns={"at": ["2024-01-01", "9999-12-31"]}))
