"""The fast path through columns of several types: exactly what the signature plan makes of a request, or nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.protocol import invocations, v1
from predictors.protocol.batch import Batch
from predictors.protocol.casting import object_array
from predictors.protocol.errors import InvalidInput
from predictors.protocol.ignored import Ignored
from predictors.signature.columns import ColumnPlan, compile_columns
from predictors.signature.plan import SignaturePlan, compile_plan

TYPES = {"city": "string", "n": "long", "i": "integer", "d": "double", "f": "float", "b": "boolean", "t": "datetime"}
PLAIN = {"city": "Ulm", "n": 7, "i": -3, "d": 0.1, "f": 0.1, "b": True, "t": "2024-02-29T12:30:00"}


def plan_of(types: dict[str, str] = TYPES, optional: tuple[str, ...] = ("n",)) -> SignaturePlan:
    inputs = [{"name": name, "type": kind, "required": name not in optional} for name, kind in types.items()]
    return compile_plan({"inputs": json.dumps(inputs)})


PLAN = plan_of()


def columns_of(plan: SignaturePlan) -> ColumnPlan:
    columns = compile_columns(plan)
    assert columns is not None
    return columns


COLUMNS = columns_of(PLAN)


def taken(batch: Batch, plan: SignaturePlan = PLAN) -> bool:
    """Whether the fast path takes the batch; if so, the model gets what it would get on the slow path."""
    columns = columns_of(plan)
    rows = columns.conform(batch)
    if rows is None:
        return False
    pd.testing.assert_frame_equal(plan.conform(columns.batch_of(rows)), plan.conform(batch), check_exact=True)
    for name, values in plan.conform(batch).items():  # -0.0 is equal to 0.0
        mine = plan.conform(columns.batch_of(rows))[name].to_numpy()
        if values.dtype.kind == "f":
            assert mine.tobytes() == values.to_numpy().tobytes(), name
    return True


def record(**changes: Any) -> dict[str, Any]:
    return {**PLAIN, **changes}


def by_v1(*records: dict[str, Any]) -> Batch:
    return v1.decode(json.dumps({"instances": records}).encode())


def by_invocations(*records: dict[str, Any], ignored: Ignored | None = None) -> Batch:
    split = {"columns": [*records[0]], "data": [[*one.values()] for one in records]}
    return invocations.decode_json(json.dumps({"dataframe_split": split}).encode(), ignored)


@pytest.mark.parametrize("send", [by_v1, by_invocations], ids=["v1", "invocations"])
@pytest.mark.parametrize(
    "changes",
    [
        {}, {"city": ""}, {"city": None}, {"city": "日本" * 5000}, {"city": "true"}, {"n": None}, {"n": 0}, {"n": -0.0},
        {"n": 3.0}, {"n": 2**53 - 2}, {"i": 2**31 - 2}, {"d": None}, {"d": -0.0}, {"d": 2**60 + 1}, {"d": 1e308},
        {"d": 5e-324}, {"f": None}, {"f": 1}, {"f": 1e-50}, {"f": -0.0}, {"b": False}, {"t": None}, {"t": "2024-02-29"},
        {"t": "1700-01-01 00:00"}, {"t": "2199-12-31T23:59:59.999999999"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_taken_is_what_the_model_gets(changes: dict[str, Any], send: Any) -> None:
    assert taken(send(record(**changes)))
    assert taken(send(record(), record(**changes), record()))


@pytest.mark.parametrize(
    "changes",
    [
        {"city": 7}, {"city": True}, {"city": ["Ulm"]}, {"n": True}, {"n": 1.5}, {"n": 2**53 + 1}, {"n": 2**70},
        {"n": "7"}, {"i": None}, {"i": 2**31}, {"i": 1e300}, {"d": True}, {"d": "0.1"}, {"d": [1]},
        {"f": 2**60 + 1}, {"f": True}, {"b": None}, {"b": 1}, {"b": "true"}, {"t": "now"}, {"t": "2024-02-30"},
        {"t": "2024-02-29T12:00:00+01:00"}, {"t": "1500-01-01"}, {"t": 5}, {"more": 1},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_unusual_is_left_to_the_signature_plan(changes: dict[str, Any]) -> None:
    assert not taken(by_v1(record(**changes)))
    assert not taken(by_v1(record(), record(**changes)))
    assert not taken(by_invocations(record(**changes), ignored=Ignored()))


def test_what_is_missing_is_left_to_the_signature_plan() -> None:
    few = record()
    del few["n"]
    assert not taken(by_v1(few))
    assert not taken(by_v1(record(), few))
    assert not taken(Batch(rows=[]))
    assert not taken(Batch(rows=[{**few, "other": 1}]))
    assert not taken(Batch(columns={name: [] for name in TYPES}))
    assert not taken(Batch(columns={**{name: [value] for name, value in PLAIN.items()}, "d": [1.0, 2.0]}))


def test_rows_without_names_are_in_the_order_of_the_signature() -> None:
    assert taken(Batch(rows=[[*PLAIN.values()], [*PLAIN.values()]]))
    one = plan_of({"city": "string"})
    assert taken(Batch(rows=[["ab"], ["c"]]), one)
    assert not taken(Batch(rows=["a", "b"]), one), "each text has the length of a row"
    assert taken(Batch(rows=[{"city": "a"}, {"city": None}]), one)


def tensors(**changes: Any) -> Batch:
    columns: dict[str, Any] = {
        "city": object_array([b"Ulm", "Köln".encode()]), "n": np.array([1, 2]), "i": np.array([1, 2], np.int32),
        "d": np.array([0.1, -0.0]), "f": np.array([0.1, 0.2], np.float32), "b": np.array([True, False]),
        "t": object_array([b"2024-02-29", b"2024-02-29T12:00:00"]),
    }  # fmt: skip
    return Batch(columns={**columns, **changes}, tensors=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"city": object_array(["Ulm", "Köln"])}, True),
        ({"city": object_array([b"Ulm", b"K\xf6ln"])}, False),
        ({"city": np.array([[b"Ulm"], [b"x"]], dtype=object)}, True),
        ({"d": np.array([[0.1], [0.2]])}, True),
        ({"d": np.array([[0.1, 0.2]])}, False),
        ({"d": np.array([1, 2**53 + 1])}, False),
        ({"d": np.array([1, 2], np.uint8)}, True),
        ({"d": np.array([np.nan, np.inf])}, True),
        ({"n": np.array([1.0, np.nan])}, False),
        ({"n": np.array([1.0, 2.0])}, True),
        ({"f": np.array([0.1, 0.2])}, True),
        ({"b": np.array([0, 1])}, False),
        ({"n": np.array([True, False])}, False),
    ],
)
def test_tensors(changes: dict[str, Any], expected: bool) -> None:
    assert taken(tensors(**changes)) is expected


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.text(max_size=5), st.just("2024-02-29"),
    st.sampled_from([-0.0, 1e39, 2.0**53, 16777217, 0.1]),
)  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.fixed_dictionaries({name: st.one_of(st.just(PLAIN[name]), CELLS) for name in TYPES}), min_size=1))
def test_no_request_is_taken_that_the_signature_refuses(records: list[dict[str, Any]]) -> None:
    try:
        taken(Batch(rows=records))
    except InvalidInput as error:
        raise AssertionError("the fast path takes what the signature refuses") from error


def test_signatures_that_are_not_taken() -> None:
    assert compile_columns(plan_of({"a": "string", "raw": "binary"})) is None
    assert compile_columns(compile_plan({"inputs": json.dumps([{"type": "string"}, {"type": "double"}])})) is None
    assert compile_columns(compile_plan(None)) is None
