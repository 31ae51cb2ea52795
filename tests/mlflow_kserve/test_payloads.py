"""Requests of V2 made of frames, arrays, records and rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlflow_kserve.sdk.payloads import UnusableInputs, infer_request


def tensors(inputs: Any) -> list[tuple[str, list[int], str, list[Any]]]:
    return [(each["name"], each["shape"], each["datatype"], each["data"]) for each in infer_request(inputs)["inputs"]]


def test_a_frame_is_a_tensor_for_each_column_with_its_type() -> None:
    frame = pd.DataFrame(
        {
            "i": np.array([1, 2], "int32"),
            "f": [0.5, float("nan")],
            "b": [True, False],
            "s": ["a", None],
            "n": pd.array([1, None], "Int64"),
            "d": pd.to_datetime(["2024-06-01", "2024-06-02"]),
            "c": pd.Categorical(["x", "y"]),
        }
    )
    assert tensors(frame) == [
        ("i", [2], "INT32", [1, 2]),
        ("f", [2], "FP64", [0.5, None]),
        ("b", [2], "BOOL", [True, False]),
        ("s", [2], "BYTES", ["a", None]),
        ("n", [2], "FP64", [1, None]),
        ("d", [2], "BYTES", ["2024-06-01T00:00:00", "2024-06-02T00:00:00"]),
        ("c", [2], "BYTES", ["x", "y"]),
    ]


def test_an_array_keeps_its_shape_and_type() -> None:
    assert tensors(np.array([[1.5, 2.5]], "float32")) == [("input-0", [1, 2], "FP32", [1.5, 2.5])]
    assert tensors(np.zeros((1, 2, 1), "uint8")) == [("input-0", [1, 2, 1], "UINT8", [0, 0])]
    assert tensors(np.array(["a", "b"])) == [("input-0", [2], "BYTES", ["a", "b"])]


@pytest.mark.parametrize("inputs", [[{"a": 1, "b": "x"}, {"a": 2.5}], {"a": [1, 2.5], "b": ["x", None]}])
def test_records_and_columns_are_the_same(inputs: Any) -> None:
    assert tensors(inputs) == [("a", [2], "FP64", [1, 2.5]), ("b", [2], "BYTES", ["x", None])]


def test_whole_numbers_stay_whole() -> None:
    assert tensors([{"a": 2**53 + 1}]) == [("a", [1], "INT64", [2**53 + 1])]
    assert tensors([{"a": 2**63}]) == [("a", [1], "UINT64", [2**63])]


def test_rows_and_other_values() -> None:
    assert tensors([[1, 2], [3, 4]]) == [("input-0", [2, 2], "INT64", [1, 2, 3, 4])]
    assert tensors(["a", "b"]) == [("input-0", [2], "BYTES", ["a", "b"])]
    assert tensors([{"a": {"b": [1]}}]) == [("a", [1], "BYTES", ['{"b": [1]}'])]
    assert tensors([{"a": datetime(2024, 6, 1)}]) == [("a", [1], "BYTES", ["2024-06-01T00:00:00"])]
    [tensor] = infer_request([{"a": b"\xff"}])["inputs"]
    assert (tensor["data"], tensor["parameters"]) == (["/w=="], {"content_type": "base64"})


def test_a_body_stays_as_it_is() -> None:
    body = {"id": "7", "inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1.0]}]}
    assert infer_request(body) == body


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (7, "inputs are int: expected a DataFrame"),
        ([], "inputs are list"),
        ([[1, 2], [3]], r"the rows have \[1, 2\] values"),
        ({"a": [1], "b": [1, 2]}, r"the columns have \[1, 2\] values"),
        ({"a": 1}, "a column is int"),
    ],
)
def test_what_is_no_input_is_refused(inputs: Any, reason: str) -> None:
    with pytest.raises(UnusableInputs, match=reason):
        infer_request(inputs)
