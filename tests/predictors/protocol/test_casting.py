"""Values into exactly the type of a column, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.protocol import casting, tensors
from predictors.protocol.errors import InvalidInput
from predictors.signature.plan import compile_plan

SECRET = "s3cret-value"


def field(kind: str, *, required: bool = True) -> Any:
    return compile_plan({"inputs": [{"type": kind, "name": "x", "required": required}]}).inputs[0]


def cells(array: Any) -> list[Any]:
    return [None if isinstance(item, float) and np.isnan(item) else item for item in np.asarray(array).tolist()]


@pytest.mark.parametrize(
    ("kind", "values", "expected", "dtype"),
    [
        ("double", [1, 2.5, -3], [1.0, 2.5, -3.0], "float64"),
        ("double", [None, 1], [None, 1.0], "float64"),
        ("double", np.array([1, 2], np.int32), [1.0, 2.0], "float64"),
        ("double", np.array([1.5], np.float16), [1.5], "float64"),
        ("double", np.array([2**53], np.int64), [2.0**53], "float64"),
        ("float", [1, 0.5], [1.0, 0.5], "float32"),
        ("float", np.array([0.5], np.float64), [0.5], "float32"),
        ("long", [1, 2.0, -(2**63), 2**63 - 1], [1, 2, -(2**63), 2**63 - 1], "int64"),
        ("long", [1, 2.0], [1, 2], "int64"),
        ("long", [2**63 - 1], [2**63 - 1], "int64"),
        ("long", [-(2**63)], [-(2**63)], "int64"),
        ("long", np.array([7], np.uint64), [7], "int64"),
        ("integer", [2**31 - 1, -(2**31)], [2**31 - 1, -(2**31)], "int32"),
        ("integer", np.array([[1], [2]], np.int8), [1, 2], "int32"),
        ("boolean", [True, False], [True, False], "bool"),
        ("boolean", [0, 1, True], [False, True, True], "bool"),
        ("boolean", np.array([0.0, 1.0]), [False, True], "bool"),
        ("string", ["a", "", "007", None], ["a", "", "007", None], "object"),
        ("string", np.array([b"K\xc3\xb6ln"], object), ["Köln"], "object"),
        ("binary", ["AAE=", None], [b"\x00\x01", None], "object"),
        ("binary", np.array([b"\xff"], object), [b"\xff"], "object"),
    ],
)  # fmt: skip
def test_what_is_taken(kind: str, values: Any, expected: Any, dtype: str) -> None:
    column = field(kind).column(values)
    assert (cells(column), str(column.dtype)) == (expected, dtype)


@pytest.mark.parametrize(
    ("kind", "values", "row"),
    [
        ("double", [1.0, "1.5"], 1),
        ("double", [1.5, True], 1),
        ("double", [True, True], 0),
        ("double", [[1.0]], 0),
        ("double", [SECRET], 0),
        ("double", np.array([2**53 + 1], np.int64), 0),
        ("double", np.array([2**64 - 1], np.uint64), 0),
        ("float", [1e39], 0),
        ("float", np.array([-1e39]), 0),
        ("long", [1.5], 0),
        ("long", [1, None], 1),
        ("long", ["1"], 0),
        ("long", [True], 0),
        ("long", [2**63], 0),
        ("long", [-(2**63) - 1], 0),
        ("long", [10**40], 0),
        ("long", np.array([np.nan]), 0),
        ("long", np.array([np.inf]), 0),
        ("long", np.array([2.0**63]), 0),
        ("long", np.array([2**63], np.uint64), 0),
        ("integer", [2**31], 0),
        ("integer", np.array([0, -(2**31) - 1], np.int64), 1),
        ("boolean", [2], 0),
        ("boolean", ["true"], 0),
        ("boolean", [True, None], 1),
        ("boolean", np.array([0, 2]), 1),
        ("string", ["a", 1], 1),
        ("string", [True], 0),
        ("string", np.array([b"\xff"], object), 0),
        ("binary", ["no base64!"], 0),
        ("binary", [7], 0),
    ],
)  # fmt: skip
def test_what_is_refused(kind: str, values: Any, row: int) -> None:
    with pytest.raises(InvalidInput) as error:
        field(kind).column(values)
    assert f"input 'x', row {row}: expected" in str(error.value)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [("long", [1, None], [1.0, None]), ("boolean", [True, None], [True, None]), ("integer", [None], [None])],
)
def test_nulls_in_optional_columns(kind: str, values: Any, expected: Any) -> None:
    assert cells(field(kind, required=False).column(values)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-06-01", "2024-06-01T00:00:00"),
        ("2024-06-01T14:00:00+02:00", "2024-06-01T12:00:00"),
        ("2024-06-01 12:00:00.123456789Z", "2024-06-01T12:00:00.123456789"),
        ("20240601T1200", "2024-06-01T12:00:00"),
    ],
)
def test_datetimes(text: str, expected: str) -> None:
    column = field("datetime").column([text, None])
    assert column[0] == np.datetime64(expected, "ns")
    assert np.isnat(column[1])


@pytest.mark.parametrize(
    "value", ["now", "today", "12", "soon", "9999-12-31T00:00:00", "0001-01-01", 17, 1.5, True, ["2024"]]
)
def test_no_datetimes(value: Any) -> None:
    with pytest.raises(InvalidInput, match="input 'x', row 0: expected an ISO 8601"):
        field("datetime").column([value])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53), min_size=1))
def test_json_numbers_are_what_python_says(values: list[float]) -> None:
    assert field("double").column(values).tolist() == [float(value) for value in values]


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1))
def test_integers_are_exact_or_refused(values: list[int]) -> None:
    try:
        assert field("long").column(values).tolist() == values
    except InvalidInput:
        assert any(not -(2**63) <= value < 2**63 for value in values)


ARRAYS = st.sampled_from([name for name in tensors.DTYPES if name != "BYTES"]).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple),
        st.integers(0, 2**32),
    )
)


@given(ARRAYS)
def test_tensors_round_trip(drawn: tuple[str, tuple[int, ...], int]) -> None:
    name, shape, seed = drawn
    raw = np.random.default_rng(seed).bytes(int(np.prod(shape)) * tensors.DTYPES[name].itemsize)
    array = (
        np.frombuffer(raw, tensors.DTYPES[name]).reshape(shape)
        if name != "BOOL"
        else np.frombuffer(raw, "u1").reshape(shape) > 127
    )
    assert tensors.datatype_of(array.dtype) == name
    back = tensors.from_raw(tensors.to_raw(array), name, shape, "x")
    assert back.tobytes() == array.tobytes()
    if np.isfinite(array).all() and array.size:
        for data in (array.tolist(), array.reshape(-1).tolist()):
            assert tensors.from_json(data, name, shape, "x").tobytes() == array.tobytes()


@given(st.lists(st.binary(max_size=9)))
def test_bytes_round_trip(values: list[bytes]) -> None:
    array = casting.object_array(list(values))
    assert tensors.from_raw(tensors.to_raw(array), "BYTES", (len(values),), "x").tolist() == values


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_bytes_that_end_too_early(cut: int) -> None:
    with pytest.raises(InvalidInput, match="ends inside element 0"):
        tensors.from_raw(tensors.to_raw(casting.object_array([b"abc"]))[:-cut], "BYTES", (1,), "x")


def test_pandas_timestamps() -> None:
    zoned = pd.Series(pd.to_datetime(["2024-06-01T14:00:00+02:00"])).astype(object).tolist()
    assert field("datetime").column(zoned)[0] == np.datetime64("2024-06-01T12:00:00", "ns")


def test_null_beside_numbers_in_an_optional_boolean_column() -> None:
    values = casting.booleans([1, None, False, 0.0], "b", "a boolean", nullable=True)
    assert values.tolist() == [True, None, False, False]
    with pytest.raises(InvalidInput, match="row 1: expected a boolean, got null"):
        casting.booleans([1, None], "b", "a boolean", nullable=False)
    with pytest.raises(InvalidInput, match="row 2"):
        casting.booleans([1, None, 2], "b", "a boolean", nullable=True)


def test_an_integer_below_64_bits_that_became_a_float() -> None:
    """The parser makes -2**63 - 1 the float -2**63."""
    long = np.dtype(np.int64)
    for values in ([-(2.0**63)], [1, -(2.0**63)]):
        with pytest.raises(InvalidInput, match="a number out of its range"):
            casting.numbers(values, long, "n", "an integer", nullable=False)
    assert casting.numbers([-(2**63)], long, "n", "an integer", nullable=False)[0] == -(2**63)
