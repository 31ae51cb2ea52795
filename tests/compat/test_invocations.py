"""/invocations beside MLflow's own scoring application: the same requests, to models that tell what they were handed."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow.exceptions import RestException
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Map, Object, Property
from starlette.testclient import TestClient

from tests.compat.echo import save_echo
from tests.serving import Running, in_thread
from tests.zoo.python import model, save

TABLE = Schema(
    [ColSpec("double", "x"), ColSpec("long", "n"), ColSpec("string", "s"), ColSpec("boolean", "b", required=False)]
)
MODELS: dict[str, tuple[Any, Any]] = {
    "table": (TABLE, None),
    "params": (
        Schema([ColSpec("double", "x")]),
        ParamSchema([ParamSpec("temperature", "double", 0.5), ParamSpec("stop", "string", ["a"], shape=(-1,))]),
    ),
    "unsigned": (None, None),
    "chat": (
        Schema(
            [
                ColSpec(
                    Array(Object([Property("role", DataType.string), Property("content", DataType.string)])), "messages"
                )
            ]
        ),
        ParamSchema([ParamSpec("temperature", "double", 1.0), ParamSpec("max_tokens", "long", None)]),
    ),
    "texts": (Schema([ColSpec("string", "input")]), None),
    "labels": (Schema([ColSpec("string", "sequences"), ColSpec("string", "candidate_labels")]), None),
    "unnamed": (Schema([ColSpec("double"), ColSpec("string")]), None),
    "moments": (Schema([ColSpec("datetime", "at"), ColSpec("binary", "data", required=False)]), None),
    "nested": (Schema([ColSpec(Map(AnyType()), "m"), ColSpec(Array(DataType.double), "a")]), None),
    "whole": (Schema([ColSpec("long", "n"), ColSpec("boolean", "b")]), None),
    "tensor": (Schema([TensorSpec(np.dtype("float64"), (-1, 2))]), None),
    "tensors": (
        Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2), "t"), TensorSpec(np.dtype("str"), (-1,), "u")]),
        None,
    ),
}


class Both:
    """Our server and MLflow's application with the same model."""

    def __init__(self, ours: Running, theirs: TestClient) -> None:
        self.ours, self.theirs = ours, theirs

    def ask(self, body: Any, kind: str = "application/json") -> tuple[Any, Any]:
        content = body if isinstance(body, (bytes, str)) else json.dumps(body)
        headers = {"Content-Type": kind}
        ours = self.ours.client.post("/invocations", content=content, headers=headers)
        return ours, self.theirs.post("/invocations", content=content, headers=headers)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Both]]:
    """Servers start when a test first asks for their model."""
    before = os.environ.get("MLFLOW_IS_IN_SERVING_ENVIRONMENT")
    folder = tmp_path_factory.mktemp("models")
    with ExitStack() as stack:

        class Served(dict[str, Both]):
            def __missing__(self, name: str) -> Both:
                save_echo(folder / name, *MODELS[name])
                ours = stack.enter_context(in_thread(folder / name))
                app = scoring_server.init(mlflow.pyfunc.load_model(str(folder / name)))
                self[name] = Both(ours, stack.enter_context(TestClient(app)))
                return self[name]

        yield Served()
    if before is None:
        os.environ.pop("MLFLOW_IS_IN_SERVING_ENVIRONMENT", None)


def split(columns: list[str], *rows: list[Any], **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": list(rows), **more}}


NAMES = ["x", "n", "s"]
RECORD = {"x": 1.5, "n": 2, "s": "t"}
CHAT = [{"role": "user", "content": "hello"}]

SAME: list[tuple[str, str, Any]] = [
    ("table", "records", {"dataframe_records": [RECORD]}),
    ("table", "split", split(NAMES, [1.5, 2, "t"], [2.5, 3, "u"])),
    ("table", "columns in another order", split(["s", "n", "x"], ["t", 2, 1.5])),
    ("table", "an index", split(NAMES, [1.5, 2, "t"], index=[7])),
    ("table", "instances", {"instances": [RECORD, RECORD]}),
    ("table", "inputs", {"inputs": {"x": [1.5], "n": [2], "s": ["t"]}}),
    ("table", "inputs of scalars", {"inputs": RECORD}),
    ("table", "an optional column", {"dataframe_records": [{**RECORD, "b": True}]}),
    ("table", "NaN", '{"dataframe_records": [{"x": NaN, "n": 2, "s": "t"}]}'),
    ("table", "infinity", '{"dataframe_split": {"columns": ["x", "n", "s"], "data": [[-Infinity, 2, "ü"]]}}'),
    ("table", "null in a double", {"dataframe_records": [{**RECORD, "x": None}, RECORD]}),
    ("table", "another column", {"dataframe_records": [{**RECORD, "extra": 1}]}),
    ("table", "another column in split", split([*NAMES, "e"], [1.5, 2, "t", None])),
    ("table", "another column in inputs", {"inputs": {"x": [1.5], "n": [2], "s": ["t"], "e": [1]}}),
    ("table", "another key", {"dataframe_records": [RECORD], "id": "7", "model": "m"}),
    ("table", "params where there are none", {"dataframe_records": [RECORD], "params": {"a": 1}}),
    ("table", "no params", {"dataframe_records": [RECORD], "params": {}}),
    ("table", "a number for a text", {"dataframe_records": [{**RECORD, "s": 5}]}),
    ("table", "a number for a text in inputs", {"inputs": {"x": [1.5], "n": [2], "s": [5]}}),
    ("table", "a number for a text in instances", {"instances": [{**RECORD, "s": 2.5}]}),
    ("table", "texts for numbers", {"dataframe_records": [{"x": "1.5", "n": "2", "s": "t"}]}),
    ("table", "texts for numbers in inputs", {"inputs": {"x": ["1.5"], "n": ["2"], "s": ["t"]}}),
    ("table", "a boolean for a number", {"dataframe_records": [{**RECORD, "x": True, "n": False}]}),
    ("table", "a list for a text", {"dataframe_records": [{**RECORD, "s": ["a", "b"]}]}),
    ("params", "one column of scalars", split(["x"], 1.0, 2.0)),  # type: ignore[arg-type]
    ("params", "params", {"inputs": {"x": [1.0]}, "params": {"temperature": 0.1}}),
    ("params", "a whole number for a param", {"inputs": {"x": [1.0]}, "params": {"temperature": 1}}),
    ("params", "an unknown param", {"inputs": {"x": [1.0]}, "params": {"top_k": 1}}),
    ("params", "one column as a list", {"inputs": [1.0, 2.0]}),
    ("unsigned", "chat", {"messages": CHAT, "temperature": 0.2}),
    ("unsigned", "prompt", {"prompt": "hello", "max_tokens": 5}),
    ("unsigned", "inputs as an object", {"inputs": {"question": "why?"}}),
    ("unsigned", "inputs as an object of lists", {"inputs": {"a": [1, 2], "b": ["x", "y"]}}),
    ("unsigned", "inputs of several tensors", {"inputs": {"a": [[1, 2], [3, 4]], "b": [[0.5], [1.5]]}}),
    ("unsigned", "inputs as records", {"inputs": [{"a": 1, "b": "x"}]}),
    ("unsigned", "inputs as a matrix", {"inputs": [[1, 2], [3, 4]]}),
    ("unsigned", "inputs as texts", {"inputs": ["a", "bc"]}),
    ("unsigned", "inputs as a text", {"inputs": "a"}),
    ("unsigned", "instances as records", {"instances": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}),
    ("unsigned", "instances as an object", {"instances": {"a": [1, 2]}}),
    ("unsigned", "a table", split(["a", "b"], [1, "x"], [2, None])),
    ("unsigned", "no params", {"inputs": [[1]], "params": {}}),
    ("unsigned", "params", {"inputs": [[1]], "params": {"a": 1}}),
    ("chat", "messages", {"messages": CHAT}),
    ("chat", "params beside the messages", {"messages": CHAT, "temperature": 0.2, "max_tokens": 5}),
    ("chat", "what the model does not take", {"messages": CHAT, "model": "m", "seed": 7, "stop": ["a"]}),
    ("chat", "in a table", {"dataframe_split": {"columns": ["messages"], "data": [[CHAT]]}}),
    ("texts", "a text to embed", {"input": "hello"}),
    ("texts", "texts to embed", {"input": ["hello", "you"]}),
    ("texts", "texts in inputs", {"inputs": ["hello", "you"]}),
    ("labels", "labels in a record", {"dataframe_records": [{"sequences": "a", "candidate_labels": ["b", "c"]}]}),
    ("labels", "labels in inputs", {"inputs": {"sequences": "a", "candidate_labels": ["b", "c"]}}),
    ("unnamed", "columns by position", split(["p", "q"], [1.5, "t"])),
    ("unnamed", "more columns than the model takes", split(["p", "q", "r"], [1.5, "t", 2])),
    ("moments", "a date", {"dataframe_records": [{"at": "2024-06-01T12:00:00"}]}),
    ("moments", "nanoseconds", {"dataframe_records": [{"at": 1717243200000000000}]}),
    (
        "moments",
        "base64 in lines",
        {"dataframe_records": [{"at": "2024-06-01", "data": base64.encodebytes(b"x" * 90).decode()}]},
    ),
    ("nested", "maps and lists", {"dataframe_records": [{"m": {"a": 1, "b": "x"}, "a": [1.5, 2.5]}]}),
    ("tensor", "a matrix", {"inputs": [[1.5, 2], [3, 4]]}),
    ("tensor", "instances", {"instances": [[1.5, 2], [3, 4]]}),
    ("tensor", "texts for numbers", {"inputs": [["1.5", "2"]]}),
    ("tensor", "a table", split(["p", "q"], [1.5, 2.0])),
    ("tensors", "by name", {"inputs": {"t": [[[1, 2], [3, 4]]], "u": ["a"]}}),
    ("tensors", "numbers for texts", {"inputs": {"t": [[[1, 2], [3, 4]]], "u": [5]}}),
    ("tensors", "records", {"instances": [{"t": [[1, 2], [3, 4]], "u": "a"}]}),
    ("tensors", "another input", {"inputs": {"t": [[[1, 2], [3, 4]]], "u": ["a"], "v": [1]}}),
    ("tensors", "flat cells of a table", {"dataframe_records": [{"t": [1, 2, 3, 4], "u": "a"}]}),
]
REFUSED: list[tuple[str, str, Any]] = [
    ("table", "no form", {"rows": []}),
    ("table", "two forms", {"instances": [RECORD], "inputs": {}}),
    ("table", "a list", "[1]"),
    ("table", "malformed", "{"),
    ("table", "not UTF-8", b'{"inputs": "\xff"}'),
    ("table", "a missing column", {"dataframe_records": [{"x": 1.5, "s": "t"}]}),
    ("table", "records as an object", {"dataframe_records": {"x": 1}}),
    ("table", "split as a list", {"dataframe_split": [[1]]}),
    ("table", "split without data", {"dataframe_split": {"columns": ["x"]}}),
    ("table", "an unknown key in split", split(NAMES, [1.5, 2, "t"], rows=1)),
    ("table", "rows of another length", split(NAMES, [1.5, 2])),
    ("table", "an index of another length", split(NAMES, [1.5, 2, "t"], [1.5, 2, "t"], index=[1])),
    ("table", "text in a number", {"dataframe_records": [{**RECORD, "x": "much"}]}),
    ("table", "null in an integer", {"dataframe_records": [{**RECORD, "n": None}]}),
    ("table", "columns of different lengths", {"inputs": {"x": [1.5, 2], "n": [2], "s": ["t"]}}),
    ("params", "a param of the wrong type", {"inputs": {"x": [1.0]}, "params": {"temperature": "hot"}}),
    ("params", "a scalar for a list", {"inputs": {"x": [1.0]}, "params": {"stop": "a"}}),
    ("chat", "a message without content", {"messages": [{"role": "user"}]}),
    ("chat", "messages as a text", {"messages": "hello"}),
    ("moments", "no date", {"dataframe_records": [{"at": "soon"}]}),
    ("nested", "a list for a map", {"dataframe_records": [{"m": [1], "a": [1.5]}]}),
    ("tensor", "another width", {"inputs": [[1.0, 2.0, 3.0]]}),
    ("tensor", "ragged", {"inputs": [[1.0, 2.0], [3.0]]}),
]

CHANGED, TEXTS, EMPTY = "becomes 41", "becomes the text", "no rows"
DELIBERATE: list[tuple[str, str, Any, str]] = [
    ("whole", "a fraction in an integer", {"dataframe_records": [{"n": 41.7, "b": True}]}, CHANGED),
    ("whole", "a fraction in an integer of inputs", {"inputs": {"n": [41.7], "b": [True]}}, CHANGED),
    ("whole", "2 for a boolean", {"dataframe_records": [{"n": 1, "b": 2}]}, CHANGED),
    ("whole", "a text for a boolean", {"dataframe_records": [{"n": 1, "b": "false"}]}, CHANGED),
    ("moments", "a date that could be two", {"dataframe_records": [{"at": "01/02/2024"}]}, CHANGED),
    ("moments", "no base64", {"dataframe_records": [{"at": "2024-01-01", "data": "AA!AA"}]}, CHANGED),
    ("table", "null for a text in inputs", {"inputs": {"x": [1.5], "n": [2], "s": [None]}}, TEXTS),
    ("texts", "null beside a text", {"inputs": ["a", None]}, TEXTS),
    ("unsigned", "a number beside a text", {"inputs": [1, "a"]}, TEXTS),
    ("table", "a table without rows", split(NAMES), EMPTY),
    ("unsigned", "no records", {"dataframe_records": []}, EMPTY),
    ("unsigned", "no inputs", {"inputs": []}, EMPTY),
]
"""Requests that MLflow answers, and the row of docs/migrate-mlflow-serve.md that says why the answer differs here."""
TROUBLED = """
if model_input["x"][0] > 0:
    raise RuntimeError("broken")
return [float("nan")]
"""


def differences() -> list[str]:
    """The rows of the page's table of differences."""
    text = (Path(__file__).parents[2] / "docs" / "migrate-mlflow-serve.md").read_text()
    table = text[text.index("## What differs") :]
    return [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| MLflow |")]


def name_of(case: tuple[Any, ...]) -> str:
    return f"{case[0]}: {case[1]}"


@pytest.mark.parametrize("case", SAME, ids=name_of)
def test_the_model_gets_what_mlflow_hands_it(models: dict[str, Both], case: tuple[str, str, Any]) -> None:
    ours, theirs = models[case[0]].ask(case[2])
    assert theirs.status_code == 200, theirs.text
    assert ours.status_code == 200, ours.text
    assert ours.json() == theirs.json()


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_both_refuse(models: dict[str, Both], case: tuple[str, str, Any]) -> None:
    ours, theirs = models[case[0]].ask(case[2])
    assert (ours.status_code, theirs.status_code) == (400, 400), (ours.text, theirs.text)
    assert set(ours.json()) == {"error_code", "message"}
    if case[1] != "messages as a text":  # MLflow has the code of params for it
        assert ours.json()["error_code"] == theirs.json()["error_code"]
    assert RestException(ours.json()).error_code == ours.json()["error_code"]


def test_the_page_lists_every_difference() -> None:
    rows = differences()
    assert len(rows) == 5
    for part in (CHANGED, TEXTS, EMPTY, "NaN and infinity in replies", "the model's own code"):
        assert len([row for row in rows if part in row]) == 1, part


@pytest.mark.parametrize("case", DELIBERATE, ids=name_of)
def test_what_differs_is_deliberate(models: dict[str, Both], case: tuple[str, str, Any, str]) -> None:
    ours, theirs = models[case[0]].ask(case[2])
    assert theirs.status_code == 200, theirs.text
    if case[3] != TEXTS:
        assert ours.status_code == 400, ours.text
        return
    assert ours.status_code == 200, ours.text
    assert ("None" if "null" in case[1] else "int 1") in ours.text
    assert ("str 'None'" if "null" in case[1] else "str '1'") in theirs.text.replace('\\"', "")


def test_replies_that_are_json_and_failures_of_the_model(tmp_path: Path) -> None:
    signature = ModelSignature(inputs=Schema([ColSpec("double", "x")]))
    save(tmp_path / "model", model(TROUBLED), signature=signature)
    app = scoring_server.init(mlflow.pyfunc.load_model(str(tmp_path / "model")))
    with in_thread(tmp_path / "model") as server, TestClient(app) as client:
        both = Both(server, client)
        ours, theirs = both.ask({"inputs": {"x": [0.0]}})
        assert (ours.text, "NaN" in theirs.text) == ('{"predictions":[null]}', True)
        ours, theirs = both.ask({"inputs": {"x": [1.0]}})
        assert (ours.status_code, theirs.status_code) == (500, 400)
        assert "Traceback" not in ours.text


def test_what_curl_calls_a_form(models: dict[str, Both]) -> None:
    """MLflow's server refuses it, too; the reply says how it is sent."""
    ours, theirs = models["params"].ask({"inputs": {"x": [1.0]}}, "application/x-www-form-urlencoded")
    assert (ours.status_code, theirs.status_code) == (415, 415)
    assert "curl calls it a form without -H 'Content-Type: application/json'" in ours.json()["message"]


def test_every_flag_is_on_the_page() -> None:
    from mlflow.models.cli import commands

    page = (Path(__file__).parents[2] / "docs" / "migrate-mlflow-serve.md").read_text()
    flags = [flag for option in commands.commands["serve"].params for flag in option.opts]
    assert [flag for flag in flags if f"`{flag}`" not in page] == []
