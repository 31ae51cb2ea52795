"""The signature as a plan: every form of the same rows conforms to the same input, and to MLflow's own."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.models import infer_signature
from mlflow.models.utils import _enforce_params_schema, _enforce_schema
from mlflow.types import ParamSchema, ParamSpec, Schema
from mlflow.types.schema import ColSpec, TensorSpec

from predictors.flavor import FlavorError, MLmodel
from predictors.protocol import invocations, v1, v2
from predictors.protocol.batch import Batch
from predictors.protocol.csv_table import decode_csv
from predictors.protocol.errors import InvalidInput
from predictors.protocol.parquet_table import decode_parquet
from predictors.protocol.tables import TableColumns
from predictors.signature.example import MAX_PLACEHOLDER, placeholder, read_example
from predictors.signature.plan import SignaturePlan, compile_plan, read_plan
from tests.predictors.parity import records
from tests.zoo.case import mixed


def plan_of(inputs: Any = None, params: Any = None) -> SignaturePlan:
    entry = {"inputs": inputs and json.dumps(inputs.to_dict()), "params": params and json.dumps(params.to_dict())}
    return compile_plan(entry)


@pytest.mark.parametrize(
    "signature", [1, [1], "text", {"inputs": 1}, {"inputs": "{"}, {"inputs": "[" * 20_000}, {"outputs": [1]}]
)
def test_a_signature_without_a_form_is_named(tmp_path: Path, signature: Any) -> None:
    with pytest.raises(FlavorError, match="the signature in .*MLmodel cannot be read") as refused:
        read_plan(MLmodel(tmp_path, {"signature": signature}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["[" * 20_000, "[" + "9" * 100_000 + "]", "{"], ids=["deep", "digits", "cut"])
def test_an_example_without_a_form_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "example.json").write_text(content)
    for key in ("artifact_path", "serving_input_path"):
        info = {key: "example.json", "type": "dataframe"}
        assert read_example(MLmodel(tmp_path, {"saved_input_example_info": info})) is None
    assert read_example(MLmodel(tmp_path, {"saved_input_example_info": 1})) is None


def test_no_placeholder_for_a_huge_tensor() -> None:
    for rows, expected in ((4, True), (MAX_PLACEHOLDER, False)):
        plan = plan_of(Schema([TensorSpec(np.dtype("float32"), (-1, rows, 2))]))
        assert (placeholder(plan) is not None) is expected


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def forms(frame: pd.DataFrame) -> dict[str, Batch]:
    rows = records(frame)
    names = [str(name) for name in frame]
    columns = {name: [row[name] for row in rows] for name in names}
    datatypes = {"float64": "FP64", "int64": "INT64", "bool": "BOOL"}
    inputs = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": datatypes.get(str(frame[name].dtype), "BYTES"),
            "data": columns[name],
        }
        for name in reversed(names)
    ]
    file = io.BytesIO()
    frame.to_parquet(file)
    split = {"columns": names, "data": [list(row.values()) for row in rows]}
    return {
        "rows": v1.decode(encoded({"instances": [list(row.values()) for row in rows]})),
        "records": v1.decode(encoded({"instances": [dict(reversed(row.items())) for row in rows]})),
        "columns": v1.decode(encoded({"inputs": columns})),
        "tensors": v2.decode(encoded({"inputs": inputs})),
        "split": invocations.decode_json(encoded({"dataframe_split": split})),
        "CSV": decode_csv(frame.to_csv(index=False).encode(), TableColumns(texts=["city"])),
        "Parquet": decode_parquet(file.getvalue()),
    }


def test_every_form_conforms_to_what_mlflow_would_make_of_it() -> None:
    frame = mixed(20)
    schema = infer_signature(frame).inputs
    expected = _enforce_schema(frame, schema)
    for form, batch in forms(frame).items():
        pd.testing.assert_frame_equal(plan_of(schema).conform(batch), expected, obj=form)


@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53)),
        min_size=1,
        max_size=5,
    )
)
def test_rows_of_any_numbers(rows: list[tuple[float, int]]) -> None:
    frame = pd.DataFrame(rows, columns=["x", "n"]).astype({"x": "float64", "n": "int64"})
    plan = plan_of(infer_signature(frame).inputs)
    for batch in (v1.decode(encoded({"instances": rows})), v1.decode(encoded({"instances": records(frame)}))):
        pd.testing.assert_frame_equal(plan.conform(batch), frame, check_exact=True)


def test_words_in_csv_are_not_nothing() -> None:
    plan = plan_of(Schema([ColSpec("string", "country"), ColSpec("double", "x"), ColSpec("long", "n")]))
    body = b"country,x,n\nNA,NA,1\nNone,,2\n,1.5,3\n"
    frame = plan.conform(decode_csv(body, TableColumns(texts=["country"])))
    assert frame["country"].tolist() == ["NA", "None", None]
    assert frame["x"].isna().tolist() == [True, True, False]
    assert frame["n"].tolist() == [1, 2, 3]


def test_one_matrix_for_named_columns() -> None:
    plan = plan_of(Schema([ColSpec("double", "a"), ColSpec("long", "b")]))
    tensor = {"name": "any", "shape": [2, 2], "datatype": "FP64", "data": [1.5, 2, 3.5, 4]}
    frame = plan.conform(v2.decode(encoded({"inputs": [tensor]})))
    pd.testing.assert_frame_equal(frame, pd.DataFrame({"a": [1.5, 3.5], "b": [2, 4]}))


def test_columns_without_names() -> None:
    plan = plan_of(Schema([ColSpec("double"), ColSpec("string")]))
    expected = pd.DataFrame({0: [1.0], 1: ["x"]})
    pd.testing.assert_frame_equal(plan.conform(v1.decode(encoded({"instances": [[1, "x"]]}))), expected)
    tensors = [
        {"name": "0", "shape": [1], "datatype": "FP64", "data": [1]},
        {"name": "1", "shape": [1], "datatype": "BYTES", "data": ["x"]},
    ]
    pd.testing.assert_frame_equal(plan.conform(v2.decode(encoded({"inputs": tensors[::-1]}))), expected)


@pytest.mark.parametrize(
    "inputs", [Schema([ColSpec("double"), ColSpec("double")]), Schema([TensorSpec(np.dtype("float64"), (-1, 2))])]
)
def test_names_mean_nothing_to_columns_without_names(inputs: Schema) -> None:
    plan, record = plan_of(inputs), {"x": 1.0, "y": 2.0}
    with pytest.raises(InvalidInput, match="columns have no names: send rows"):
        plan.conform(v1.decode(encoded({"instances": [record]})))
    table = invocations.decode_json(encoded({"dataframe_records": [record]}))
    assert np.asarray(plan.conform(table)).tolist() == [[1.0, 2.0]]


def test_missing_and_unknown_inputs_are_named_together() -> None:
    plan = plan_of(
        Schema([ColSpec("double", "age"), ColSpec("double", "income"), ColSpec("double", "maybe", required=False)])
    )
    with pytest.raises(InvalidInput) as error:
        plan.conform(Batch(columns={"aeg": [1], "extra": [2]}))
    assert str(error.value) == (
        "missing required inputs 'age', 'income'; unknown inputs 'aeg', 'extra' (did you mean 'age'?)"
    )
    frame = plan.conform(Batch(columns={"income": [2.0], "age": [1]}))
    assert list(frame) == ["age", "income"]


def test_optional_columns_in_some_records() -> None:
    plan = plan_of(Schema([ColSpec("double", "a"), ColSpec("long", "b", required=False)]))
    frame = plan.conform(v1.decode(encoded({"instances": [{"a": 1}, {"a": 2, "b": 7}]})))
    assert frame["b"].isna().tolist() == [True, False]
    with pytest.raises(InvalidInput, match="row 1: missing required input 'a'"):
        plan.conform(v1.decode(encoded({"instances": [{"a": 1}, {"b": 7}]})))


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        ([{"a": 1}, 2], "row 1: expected an object like row 0, got an integer"),
        ([[1], {"a": 1}], "row 1: expected a list of 1 values, got an object"),
        ([[[1]]], "input 'a', row 0: expected a number (double), got a list"),
    ],
)
def test_rows_of_different_kinds(instances: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        plan_of(Schema([ColSpec("double", "a")])).conform(v1.decode(encoded({"instances": instances})))
    assert words in str(error.value)


# -- tensors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "instances", "expected"),
    [
        ((-1, 2), [[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        ((-1, 1), [1, 2], [[1.0], [2.0]]),
        ((-1,), [1, 2], [1.0, 2.0]),
        ((2, 2), [[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_one_tensor(shape: tuple[int, ...], instances: Any, expected: Any) -> None:
    plan = plan_of(Schema([TensorSpec(np.dtype("float32"), shape)]))
    tensor = plan.conform(v1.decode(encoded({"instances": instances})))
    assert (tensor.tolist(), tensor.dtype) == (expected, np.float32)


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        ([[1, 2, 3]], "expected shape [-1, 2]"),
        ([[1, 2], [3]], "rows of different lengths: row 0 has 2 values, row 1 has 1"),
        ([[1, "x"]], "expected float32 of shape [-1, 2], got a string"),
        ([[1, None]], "expected float32"),
        ([[1, True]], "got a boolean"),
        ([1, 2], "expected shape [-1, 2] (-1 is any), got [2]"),
    ],
)
def test_no_tensor(instances: Any, words: str) -> None:
    plan = plan_of(Schema([TensorSpec(np.dtype("float32"), (-1, 2), "x")]))
    if words == "expected float32":  # null is NaN in floats
        inputs = plan.conform(v1.decode(encoded({"instances": instances})))
        assert np.isnan(inputs["x"][0, 1])
        return
    with pytest.raises(InvalidInput) as error:
        plan.conform(v1.decode(encoded({"instances": instances})))
    assert words in str(error.value)


def test_named_tensors() -> None:
    plan = plan_of(Schema([TensorSpec(np.dtype("int64"), (-1, 2), "x"), TensorSpec(np.dtype("str"), (-1,), "s")]))
    inputs = plan.conform(v1.decode(encoded({"instances": [{"s": "a", "x": [1, 2]}, {"x": [3, 4], "s": "b"}]})))
    assert inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert inputs["s"].tolist() == ["a", "b"]
    with pytest.raises(InvalidInput, match="the model takes named inputs: 'x', 's'"):
        plan.conform(v1.decode(encoded({"instances": [[1, 2]]})))


# -- no signature ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instances", "dtype", "expected"),
    [
        ([[1, 2], [3, 4]], "int64", [[1, 2], [3, 4]]),
        ([[1, 2.5]], "float64", [[1.0, 2.5]]),
        ([[1, "2"]], "object", [[1, "2"]]),
        (["a", "b"], "object", ["a", "b"]),
        ([[True, False]], "bool", [[True, False]]),
        ([[1, True]], "object", [[1, True]]),
    ],
)
def test_rows_go_in_as_a_matrix(instances: Any, dtype: str, expected: Any) -> None:
    matrix = compile_plan(None).conform(v1.decode(encoded({"instances": instances})))
    assert (str(matrix.dtype), matrix.tolist()) == (dtype, expected)


def test_records_go_in_as_a_frame_in_the_models_own_order() -> None:
    batch = v1.decode(encoded({"instances": [{"b": 1, "a": "x"}]}))
    pd.testing.assert_frame_equal(compile_plan(None).conform(batch), pd.DataFrame({"b": [1], "a": ["x"]}))
    known = SignaturePlan(width=2, names=("a", "b"))
    assert list(known.conform(batch)) == ["a", "b"]
    assert list(known.conform(Batch(rows=[[1, 2]]))) == ["a", "b"]
    for wrong in (Batch(rows=[[1, 2, 3]]), Batch(columns={"a": [1]})):
        with pytest.raises(InvalidInput):
            known.conform(wrong)


# -- params ---------------------------------------------------------------------------------------------------------

PARAMS = ParamSchema(
    [
        ParamSpec("t", "double", 1.0), ParamSpec("n", "long", 3), ParamSpec("s", "string", "x"), ParamSpec("b", "boolean", True),
        ParamSpec("many", "double", [1.0, 2.0], shape=(-1,)), ParamSpec("at", "datetime", np.datetime64("2024-01-01")),
        ParamSpec("nothing", "string", None),
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    "params",
    [{}, {"t": 2}, {"t": 0.5, "n": 7}, {"s": "y", "b": False}, {"many": [3, 4.5]}, {"many": []}, {"nothing": "z"}],
)
def test_params_as_mlflow_has_them(params: dict[str, Any]) -> None:
    conformed = plan_of(params=PARAMS).conform_params(params)
    expected = _enforce_params_schema(dict(params), PARAMS)
    del conformed["at"], expected["at"]
    assert conformed == expected
    assert {name: type(value) for name, value in conformed.items()} == {
        name: type(value) for name, value in expected.items()
    }


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"tt": 1}, "unknown parameter 'tt' (did you mean 't'?)"),
        ({"t": "1"}, "parameter 't': expected a number (double), got a string"),
        ({"n": 1.5}, "parameter 'n': expected an integer"),
        ({"n": None}, "parameter 'n'"),
        ({"many": 1}, "parameter 'many': expected a list"),
        ({"many": [1, "x"]}, "parameter 'many'[1]: expected a number"),
        ({"b": "yes"}, "parameter 'b': expected a boolean"),
    ],
)
def test_broken_params(given_: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        plan_of(params=PARAMS).conform_params(given_)
    assert words in str(error.value)


# -- nothing else escapes -------------------------------------------------------------------------------------------

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "x"]), inner, max_size=3),
    max_leaves=8,
)
PLANS = [
    compile_plan(None),
    SignaturePlan(width=2, names=("a", "b")),
    plan_of(Schema([ColSpec("double", "a"), ColSpec("string", "b")])),
    plan_of(
        Schema(
            [ColSpec("boolean", "a", required=False), ColSpec("datetime", "b"), ColSpec("binary", "x", required=False)]
        )
    ),
    plan_of(Schema([ColSpec("long", "a")])),
    plan_of(Schema([TensorSpec(np.dtype("float64"), (-1, 2))])),
    plan_of(Schema([TensorSpec(np.dtype("int8"), (-1,), "a"), TensorSpec(np.dtype("str"), (-1, 1), "b")])),
    compile_plan({"inputs": [{"type": "array", "items": {"type": "double"}, "name": "a", "required": True}]}),
    compile_plan({"inputs": [{"type": "map", "values": {"type": "any"}, "name": "a", "required": True}]}),
    compile_plan({"inputs": [{"type": "string"}]}, from_type_hints=True),
]


@settings(max_examples=400)
@given(
    plan=st.sampled_from(PLANS),
    payload=ANY,
    key=st.sampled_from(["instances", "inputs", "dataframe_split", "dataframe_records"]),
)
def test_anything_conforms_or_is_refused(plan: SignaturePlan, payload: Any, key: str) -> None:
    decoders = [invocations.decode_json] if key.startswith("dataframe") else [v1.decode, invocations.decode_json]
    for decode in decoders:
        with contextlib.suppress(InvalidInput):
            plan.conform(decode(encoded({key: payload})))
