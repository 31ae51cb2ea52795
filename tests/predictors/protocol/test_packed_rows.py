"""Lists of numbers in large JSON, which are packed while they are read: nothing but their memory differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.protocol import invocations, json_pieces, jsontext, v1, v2
from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput
from predictors.protocol.ignored import Ignored
from predictors.protocol.packed_rows import PackedRows
from predictors.signature.matrix import MatrixPlan, compile_column_matrix

NAMES = ("a", "b")
WHOLE = 2**40  # bytes: no text is large
NUMBERS = st.integers(-100, 100) | st.floats(allow_nan=False, allow_infinity=False) | st.just(-0.0)
RARE = st.none() | st.booleans() | st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, -(2**63), 2**70, 10**30, "1", [1]])
ROWS = st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=8, max_size=60)


@contextmanager
def read_in_pieces(large: int = 64) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "PIECE", 24)
        patch.setattr(json_pieces, "MIN_PACKED", 4)
        patch.setattr(jsontext, "LARGE", large)
        yield


def unpacked(value: Any) -> Any:
    if isinstance(value, PackedRows):
        return value.tolist()
    if isinstance(value, dict):
        return {key: unpacked(item) for key, item in value.items()}
    return [unpacked(item) for item in value] if isinstance(value, list) else value


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Rows, records, columns or numbers, some of which are not quite like the others, as any value of an object."""
    rows: list[Any] = draw(ROWS)
    form = draw(st.sampled_from(["rows", "records", "numbers"]))
    if form == "numbers":
        rows = [number for row in rows for number in row]
    for place, value in draw(st.lists(st.tuples(st.integers(0), RARE), max_size=2)):
        at = place % len(rows)
        rows[at] = value if form == "numbers" else [*rows[at][1:], value]
    if form == "records":
        rows = [dict(zip(NAMES, row, strict=False)) for row in rows]
    text = json.dumps({"x": rows, "y": draw(st.sampled_from([1, rows, {"x": rows}, [rows], [[rows]]]))})
    return draw(st.sampled_from([text, text.replace('"y"', '"x"')])).encode()


@given(text=texts())
def test_what_was_packed_is_what_was_sent(text: bytes) -> None:
    with read_in_pieces():
        packed, _ = json_pieces.parse_and_pack(text, orjson.loads)
    assert repr(unpacked(packed)) == repr(orjson.loads(text))  # 1 is not 1.0, and -0.0 not 0


def v1_rows(rows: Any) -> Any:
    return {"instances": rows}


def records(rows: Any) -> list[dict[str, Any]]:
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def columns(rows: Any) -> dict[str, list[Any]]:
    return {name: [row[i] for row in rows] for i, name in enumerate(NAMES)}


def tensor(datatype: str, *, flat: bool) -> Callable[[Any], Any]:
    def payload(rows: Any) -> Any:
        data = [number for row in rows for number in row] if flat else rows
        return {"inputs": [{"name": "x", "datatype": datatype, "shape": [len(rows), 2], "data": data}]}

    return payload


def any_invocation(body: bytes) -> Batch:
    return invocations.decode_json(body, Ignored())


FORMS: dict[str, tuple[Callable[[bytes], Batch], Callable[[Any], Any]]] = {
    "instances": (v1.decode, v1_rows),
    "records": (v1.decode, lambda rows: {"instances": records(rows)}),
    "records in another order": (
        v1.decode,
        lambda rows: {"instances": [dict(reversed(row.items())) for row in records(rows)]},
    ),
    "inputs": (v1.decode, lambda rows: {"inputs": rows}),
    "columns": (v1.decode, lambda rows: {"inputs": columns(rows)}),
    "parameters": (v1.decode, lambda rows: {"instances": [[1, 2]], "parameters": {"x": [1, 2] * 20}}),
    "parameters that are a list": (v1.decode, lambda rows: {"instances": [[1, 2]], "parameters": [1, 2] * 20}),
    "a column that is no column": (v1.decode, lambda rows: {"instances": [{"a": [1] * 40, "b": 1}]}),
    **{
        f"{datatype}, {'flat' if flat else 'nested'}": (v2.decode, tensor(datatype, flat=flat))
        for datatype in ("FP64", "FP32", "INT64", "INT8", "UINT64", "BOOL", "BYTES")
        for flat in (True, False)
    },
    "split": (
        any_invocation,
        lambda rows: {"dataframe_split": {"columns": NAMES, "data": rows, "index": [*range(len(rows))]}},
    ),
    "split without names": (any_invocation, lambda rows: {"dataframe_split": {"data": rows}}),
    "split into one": (
        any_invocation,
        lambda rows: {"dataframe_split": {"columns": ["a"], "data": [row[0] for row in rows]}},
    ),
    "dataframe records": (any_invocation, lambda rows: {"dataframe_records": records(rows)}),
    "rows that are no records": (any_invocation, lambda rows: {"dataframe_records": rows}),
    "MLflow's instances": (any_invocation, v1_rows),
    "MLflow's inputs": (any_invocation, lambda rows: {"inputs": rows}),
    "MLflow's columns": (any_invocation, lambda rows: {"inputs": {"a": [row[0] for row in rows], "b": 1}}),
    "params": (any_invocation, lambda rows: {"instances": rows, "params": {"x": [1, 2] * 20}}),
}
PLANS = {
    "doubles": compile_column_matrix(NAMES, [np.dtype("f8")] * 2),
    "singles": compile_column_matrix(NAMES, [np.dtype("f4")] * 2),
    "integers": compile_column_matrix(NAMES, [np.dtype("i8"), np.dtype("f8")]),
    "mixed": compile_column_matrix(NAMES, [np.dtype("f4"), np.dtype("f8")]),
    "without names": compile_column_matrix((), [np.dtype("f8")] * 2),
    "a tensor": MatrixPlan((), 2, np.dtype("f4")),
    "untyped": MatrixPlan(NAMES, 2, np.dtype("f8"), untyped=True),
}


def values_of(batch: Batch) -> str:
    columns: dict[str, Any] = dict(batch.columns or {})
    arrays = {
        name: (values.dtype, values.tolist()) if isinstance(values, np.ndarray) else values
        for name, values in columns.items()
    }
    return repr((arrays, batch.rows, batch.params, batch.frame, batch.source))


def outcome(decode: Callable[[bytes], Batch], body: bytes) -> Any:
    """What a request means to plans of each kind, and what is decoded; or why it is refused."""
    try:
        batch = decode(body)
    except InvalidInput as error:
        return str(error)
    matrices = {name: plan.conform(batch) for name, plan in PLANS.items()}
    shown = {
        name: None if rows is None else (rows.dtype, rows.tolist(), rows.flags.c_contiguous)
        for name, rows in matrices.items()
    }
    return repr(shown), values_of(batch.unpacked())


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20)
@given(rows=ROWS, rare=st.lists(st.tuples(st.integers(0), RARE), max_size=1))
def test_requests_mean_the_same(form: str, rows: list[Any], rare: list[tuple[int, Any]]) -> None:
    decode, payload = FORMS[form]
    for place, value in rare:
        rows[place % len(rows)] = [value, 1]
    body = json.dumps(payload(rows)).encode()
    with read_in_pieces(WHOLE):
        whole = outcome(decode, body)
    with read_in_pieces():
        assert outcome(decode, body) == whole


def test_large_rows_are_packed() -> None:
    body = orjson.dumps({"instances": [[1, 2.5]] * 40_000})
    batch = v1.decode(body)
    assert isinstance(batch.rows, PackedRows)
    assert len(batch.rows) == 40_000
    assert batch.unpacked().rows == [[1, 2.5]] * 40_000
