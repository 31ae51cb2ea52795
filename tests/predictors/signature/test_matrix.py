"""The short way from a request to a matrix gives exactly the numbers of the plan, or leaves the request to it."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.protocol import invocations, tensors, v1, v2
from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput
from predictors.signature.matrix import MatrixPlan, compile_matrix
from predictors.signature.plan import SignaturePlan, compile_plan

NAMES = ["a", "b", "relative", "1"]


# -- plans --------------------------------------------------------------------------------------------------------


def columns_plan(types: list[str], *, named: bool = True, optional: int = 0) -> SignaturePlan:
    """`optional`: how many of the last columns are."""
    required = [index < len(types) - optional for index in range(len(types))]
    entries = [{"type": kind, "required": need} for kind, need in zip(types, required, strict=True)]
    if named:
        entries = [{"name": name, **entry} for name, entry in zip(NAMES, entries, strict=False)]
    return compile_plan({"inputs": json.dumps(entries)})


def tensor_plan(dtype: str, width: int) -> SignaturePlan:
    spec = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, width]}}
    return compile_plan({"inputs": json.dumps([spec])})


def fast_path(plan: SignaturePlan) -> MatrixPlan:
    compiled = compile_matrix(plan)
    assert compiled is not None
    return compiled


TYPES = st.lists(st.sampled_from(["double", "float", "integer", "long"]), min_size=1, max_size=4)
SAME_TYPES = st.builds(lambda kind, count: [kind] * count, st.sampled_from(["double", "float"]), st.integers(1, 4))
PLANS = st.one_of(
    st.builds(columns_plan, TYPES | SAME_TYPES, named=st.booleans(), optional=st.integers(0, 1)),
    st.builds(tensor_plan, st.sampled_from(["float32", "float64"]), st.integers(1, 4)),
    st.integers(1, 4).map(lambda width: SignaturePlan(width=width)),
    st.integers(1, 4).map(lambda width: SignaturePlan(width=width, names=tuple(NAMES[:width]))),
)


# -- payloads, as text: no library may change a number before it arrives --------------------------------------------

EDGES = [0, 1, 2**24 + 1, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**60 + 2**36 + 1, 2**63 - 1, 2**63, 2**64]
WHOLE = st.sampled_from(["0", "1", "-2", "7", "3.0", "-0", "-0.0", "1e2", "2E+1"])
WHOLE |= st.sampled_from([f"{sign}{edge}" for edge in EDGES for sign in ("", "-")])
NUMBER = st.one_of(
    WHOLE,
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["0.5", "1e-400", "5e-324", "3.4e38", "3.5e38", "-1e308", "1e400", "16777217.0"]),
)
OTHER = st.sampled_from(["true", "false", "null", '"1"', '"abcd"', "[1]", "[]", "{}", '{"a": 1}', "[[1, 2]]"])


@st.composite
def cells(draw: Any, rows: int, width: int) -> list[list[str]]:
    kind = draw(st.sampled_from([WHOLE, NUMBER, NUMBER | OTHER]))
    return [[draw(kind) for _ in range(width)] for _ in range(rows)]


@st.composite
def names_of(draw: Any, width: int) -> list[str]:
    """Mostly those of the plan, in any order."""
    names = draw(st.permutations(NAMES[:width]))
    if draw(st.integers(0, 5)) == 0:
        names = [*names[: draw(st.integers(0, width))], draw(st.sampled_from(["b", "other"]))]
    return list(names)


def listed(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def object_of(names: list[str], values: list[str]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in zip(names, values, strict=False)) + "}"


@st.composite
def table(draw: Any, width: int) -> tuple[str, str]:
    """Rows, records or columns, and what they are."""
    width = draw(st.sampled_from([width, width, width, width, width + 1]))
    rows = draw(cells(draw(st.integers(1, 3)), width))
    form = draw(st.sampled_from(["rows", "records", "columns"]))
    if form == "rows":
        texts = [listed(row) for row in rows]
        if draw(st.integers(0, 7)) == 0:  # ragged, nested, or no rows at all
            texts.append(draw(st.sampled_from(['"abcd"', "1", "null", "[]", "[1]", '{"a": 1}', listed(texts)])))
        return form, listed(texts)
    if form == "records":
        names = draw(names_of(width))
        again = [draw(st.permutations(range(len(names)))) if len(names) == width else range(width) for _ in rows]
        shuffled = [
            object_of([names[i] for i in order], [row[i] for i in order])
            if len(names) == width
            else object_of(names, row)
            for row, order in zip(rows, again, strict=True)
        ]
        if draw(st.integers(0, 7)) == 0:
            shuffled.append(draw(st.sampled_from(["[1, 2]", "{}", '{"b": 1}', '"ab"'])))
        return form, listed(shuffled)
    columns = [listed(list(column)) for column in zip(*rows, strict=True)]
    if draw(st.integers(0, 7)) == 0:
        columns[-1] = draw(st.sampled_from(["[1]", "[[1], [2]]", "[]"]))
    return form, object_of(draw(names_of(width)), columns)


@st.composite
def v1_body(draw: Any, width: int) -> Batch:
    form, text = draw(table(width))
    return v1.decode(f'{{"{"inputs" if form == "columns" else "instances"}": {text}}}'.encode())


@st.composite
def invocations_body(draw: Any, width: int) -> Batch:
    form, text = draw(table(width))
    if form == "records" and draw(st.booleans()):
        return invocations.decode_json(f'{{"dataframe_records": {text}}}'.encode())
    if form == "rows" and draw(st.booleans()):
        names = json.dumps(draw(names_of(width)))
        head = f'"columns": {names}, ' if draw(st.booleans()) else ""
        return invocations.decode_json(f'{{"dataframe_split": {{{head}"data": {text}}}}}'.encode())
    return invocations.decode_json(f'{{"{"inputs" if form == "columns" else "instances"}": {text}}}'.encode())  # fmt: skip


DATATYPES = st.sampled_from(["FP64", "FP64", "FP32", "INT64", "INT32", "UINT64", "UINT8", "FP16", "BOOL", "BYTES"])


@st.composite
def v2_body(draw: Any, width: int) -> Batch:
    """One tensor with all columns, or one for each; JSON, or binary with any bits."""
    rows = draw(st.integers(1, 3))
    shapes = st.sampled_from([[rows], [rows], [rows, 1], [rows, 1, 1], [1, rows], []])
    if draw(st.booleans()):
        names, shape = (
            [draw(st.sampled_from(["x", "x", "a"]))],
            [rows, draw(st.sampled_from([width, width, width + 1]))],
        )
        inputs: list[tuple[str, list[int]]] = [(names[0], shape)]
    else:
        regular = draw(st.booleans())
        inputs = [(name, [rows] if regular else draw(shapes)) for name in draw(names_of(width))]
    binary = draw(st.booleans())
    kind = draw(st.sampled_from([WHOLE, NUMBER, NUMBER | OTHER]))
    texts, tail = [], b""
    for name, shape in inputs:
        datatype = draw(DATATYPES)
        count = int(np.prod(shape))
        if binary and datatype != "BYTES":
            size = count * tensors.DTYPES[datatype].itemsize
            tail += draw(st.binary(min_size=size, max_size=size))
            data = f'"parameters": {{"binary_data_size": {size}}}'
        else:
            data = f'"data": {listed([draw(kind) for _ in range(count)])}'
        texts.append(f'{{"name": "{name}", "shape": {shape}, "datatype": "{datatype}", {data}}}')
    head = f'{{"inputs": {listed(texts)}}}'.encode()
    return v2.decode(head + tail, str(len(head))) if tail else v2.decode(head)


@st.composite
def requests(draw: Any) -> tuple[SignaturePlan, Batch | None]:
    plan = draw(PLANS)
    width = len(plan.inputs) if plan.inputs and not plan.tensors else plan.width or plan.inputs[0].shape[1]
    try:
        return plan, draw(st.sampled_from([v1_body, v2_body, invocations_body]).flatmap(lambda body: body(width)))
    except InvalidInput:  # the decoder refuses it already
        return plan, None


# -- what holds for all of them --------------------------------------------------------------------------------------


def conformed(plan: SignaturePlan, batch: Batch) -> Any:
    """What the model would get, as one matrix; None where the request is refused."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return np.asarray(plan.conform(batch))
        except InvalidInput:
            return None


def bits(array: Any) -> Any:
    """Of doubles; all NaN are one."""
    doubles = np.ascontiguousarray(array, dtype=np.float64)
    return np.where(np.isnan(doubles), np.float64("nan"), doubles).view(np.int64)


def check(plan: SignaturePlan, batch: Batch) -> bool:
    """Whether the short way took it; then it must have the numbers of the plan."""
    with warnings.catch_warnings(action="ignore"):  # numpy's, of NaN that signal
        matrix = fast_path(plan).conform(batch)
    if matrix is None:
        return False
    expected = conformed(plan, batch)
    assert expected is not None, "the plan refuses these rows"
    assert expected.dtype.kind in "fiu"
    if plan.inputs:  # whole numbers among doubles are doubles
        assert matrix.dtype == (np.float32 if expected.dtype == np.float32 else np.float64)
    elif expected.dtype.kind == "f":
        assert matrix.dtype == expected.dtype
    assert matrix.shape == expected.shape
    assert np.array_equal(bits(matrix), bits(expected))
    if not plan.inputs:  # the order in memory decides on the last bit of a sum
        assert expected.flags.c_contiguous
        assert matrix.flags.c_contiguous
    if expected.dtype.kind in "iu":  # a double may have rounded them
        assert list(map(int, matrix.flat)) == list(map(int, expected.flat))
    return True


@settings(max_examples=1500)
@given(requests())
def test_the_numbers_of_the_plan_or_none(request: tuple[SignaturePlan, Batch | None]) -> None:
    plan, batch = request
    if batch is not None:
        check(plan, batch)


# -- single cases ----------------------------------------------------------------------------------------------------

DOUBLES = columns_plan(["double", "double"])
SINGLES = columns_plan(["float", "float"])
MIXED = columns_plan(["double", "long", "integer", "float"])
UNSIGNED, UNSIGNED_NAMED = SignaturePlan(width=2), SignaturePlan(width=2, names=("a", "b"))


def decoded(body: str, protocol: str = "v1") -> Batch:
    if protocol == "v2":
        return v2.decode(body.encode())
    return v1.decode(body.encode()) if protocol == "v1" else invocations.decode_json(body.encode())


def tensor(datatype: str, shape: str, data: str, name: str = "x") -> str:
    return f'{{"name": "{name}", "datatype": "{datatype}", "shape": {shape}, "data": {data}}}'


@pytest.mark.parametrize("plan", [DOUBLES, SINGLES, tensor_plan("float32", 2), tensor_plan("float64", 2), UNSIGNED])
@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        ("v1", '{"instances": [[1, 2.5], [3, -0.0]]}'),
        ("v1", '{"inputs": [[1, 2.5], [3, 4]]}'),
        ("v1", '{"instances": [[1, 2]], "parameters": {"probabilities": true}}'),
        ("v2", f'{{"inputs": [{tensor("FP64", "[2, 2]", "[1, 2.5, 3, 4]")}]}}'),
        ("v2", f'{{"inputs": [{tensor("INT64", "[1, 2]", "[[1, 2]]")}]}}'),
        ("invocations", '{"instances": [[1, 2.5]]}'),
    ],
)
def test_rows_take_the_short_way(plan: SignaturePlan, protocol: str, body: str) -> None:
    assert check(plan, decoded(body, protocol))


@pytest.mark.parametrize("plan", [DOUBLES, SINGLES, columns_plan(["long", "double"])])
@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        ("v1", '{"instances": [{"b": 2.5, "a": 1}, {"a": 3, "b": 4}]}'),
        ("v1", '{"inputs": {"b": [2.5, 4], "a": [1, 3]}}'),
        ("v2", f'{{"inputs": [{tensor("FP64", "[2]", "[1, 2]", "b")}, {tensor("INT32", "[2, 1]", "[3, 4]", "a")}]}}'),
        ("invocations", '{"dataframe_records": [{"b": 2.5, "a": 1}]}'),
        ("invocations", '{"dataframe_split": {"columns": ["b", "a"], "data": [[2.5, 1]]}}'),
        ("invocations", '{"inputs": {"b": 2.5, "a": 1}}'),
    ],
)
def test_names_take_the_short_way(plan: SignaturePlan, protocol: str, body: str) -> None:
    assert check(plan, decoded(body, protocol))


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2", "<i8", "<u8", "<i4", "u1"])
def test_binary_tensors_take_the_short_way(dtype: str) -> None:
    name = tensors.datatype_of(np.dtype(dtype))
    data = np.array([[1, 2], [3, 4]], dtype=dtype).tobytes()
    head = json.dumps({"inputs": [{"name": "x", "shape": [2, 2], "datatype": name,
                                   "parameters": {"binary_data_size": len(data)}}]}).encode()  # fmt: skip
    assert check(DOUBLES, v2.decode(head + data, str(len(head))))


def test_mixed_types_take_the_short_way() -> None:
    assert check(MIXED, decoded('{"instances": [[0.1, 9007199254740991, -3, 0.1], [1, 2.0, 3.0, 16777217]]}'))


@pytest.mark.parametrize(
    "row", ["[true, 2]", "[1, false]", '["1", 2]', "[null, true]", "[[1], 2]", "[1]", "[1, 2, 3]", '"ab"', "{}", "1"]
)
@pytest.mark.parametrize("plan", [DOUBLES, SINGLES, tensor_plan("float32", 2), UNSIGNED])
def test_nothing_but_numbers_passes(plan: SignaturePlan, row: str) -> None:
    for rows in (f"[{row}]", f"[[1, 2], {row}]"):
        assert fast_path(plan).conform(decoded(f'{{"instances": {rows}}}')) is None


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [[1, null], [null, 2]]}',
        '{"instances": [{"b": null, "a": 1}]}',
        '{"inputs": {"a": [null], "b": [1]}}',
    ],
)
def test_a_null_is_nan_where_the_model_gets_doubles(body: str) -> None:
    batch = decoded(body)
    rows = fast_path(DOUBLES).conform(batch)
    assert rows is not None
    np.testing.assert_array_equal(rows, DOUBLES.conform(batch).to_numpy())
    for plan in (SINGLES, columns_plan(["integer", "integer"]), tensor_plan("float64", 2)):
        assert fast_path(plan).conform(batch) is None


@pytest.mark.parametrize("record", ['{"a": true, "b": 2}', '{"a": "1", "b": 2}', '{"a": 1}', '{"a": 1, "b": 2, "c": 3}',
                                    '{"a": 1, "c": 2}', '{"a": [1], "b": 2}', '{"a": null, "b": "2"}', "{}", "null", "1"])  # fmt: skip
def test_nothing_but_numbers_passes_in_records(record: str) -> None:
    for records in (f"[{record}]", f'[{{"a": 1, "b": 2}}, {record}]', f'[{{"a": null, "b": 2}}, {record}]'):
        assert fast_path(DOUBLES).conform(decoded(f'{{"instances": {records}}}')) is None


@pytest.mark.parametrize("value", ["2.5", "9007199254740992", "9223372036854775807", "2147483648", "1e300"])
def test_whole_numbers_that_do_not_fit(value: str) -> None:
    batch = decoded(f'{{"instances": [[1, {value}]]}}')
    assert fast_path(columns_plan(["double", "integer"])).conform(batch) is None


def test_a_tensor_refuses_whole_numbers_that_a_double_cannot_hold() -> None:
    batch = decoded(f'{{"instances": [[1, {2**53 + 1}]]}}')
    assert conformed(tensor_plan("float64", 2), batch) is None
    assert fast_path(tensor_plan("float64", 2)).conform(batch) is None


@pytest.mark.parametrize("plan", [SINGLES, columns_plan(["double", "float"]), tensor_plan("float32", 2)])
def test_singles_are_rounded_once(plan: SignaturePlan) -> None:
    """By way of a double this number would become another single."""
    batch = decoded(f'{{"instances": [[1, {2**60 + 2**36 + 1}]]}}')
    assert conformed(plan, batch)[0, 1] == 2.0**60 + 2.0**37
    check(plan, batch)


def test_whole_numbers_have_no_negative_zero() -> None:
    check(columns_plan(["double", "long"]), decoded('{"instances": [[-0.0, -0.0]]}'))


@pytest.mark.parametrize("number", [2**24 + 1, 2**53 + 1])
def test_without_a_signature_large_whole_numbers_stay_whole(number: int) -> None:
    """LightGBM makes singles of whole numbers, but not of doubles."""
    for body in (f'{{"instances": [[1, {number}]]}}', f'{{"instances": [{{"a": 1, "b": {number}}}]}}'):
        batch = decoded(body)
        assert conformed(UNSIGNED_NAMED, batch).tolist() == [[1, number]]
        assert fast_path(UNSIGNED_NAMED).conform(batch) is None
    batch = decoded(f'{{"inputs": [{tensor("INT64", "[1, 2]", f"[1, {number}]")}]}}', "v2")
    assert fast_path(UNSIGNED).conform(batch) is None


@pytest.mark.parametrize("count", [1, 2])
def test_without_a_signature_several_rows_by_name_lie_otherwise_in_memory(count: int) -> None:
    record = {"a": 0.5, "b": 1.5}
    for body in (
        {"instances": [record] * count},
        {"inputs": {name: [value] * count for name, value in record.items()}},
    ):
        assert check(UNSIGNED_NAMED, decoded(json.dumps(body))) == (count == 1)


def test_a_model_without_a_signature_gets_singles_as_singles() -> None:
    batch = decoded(f'{{"inputs": [{tensor("FP32", "[1, 2]", "[0.1, 0.2]")}]}}', "v2")
    assert conformed(UNSIGNED, batch).dtype == np.float32
    check(UNSIGNED, batch)


def test_a_table_without_names_is_not_for_a_model_that_knows_names() -> None:
    """The model itself sees a table with other names, and may refuse it."""
    batch = decoded('{"dataframe_split": {"data": [[1, 2]]}}', "invocations")
    assert list(UNSIGNED_NAMED.conform(batch)) == [0, 1]
    assert fast_path(UNSIGNED_NAMED).conform(batch) is None


@pytest.mark.parametrize("shape", ["[2, 1, 1]", "[1, 2]", "[1, 2, 1]"])
@pytest.mark.parametrize("odd", [0, 1])
def test_tensors_of_columns_have_a_value_per_row(shape: str, odd: int) -> None:
    shapes = ["[2]", "[2]"]
    shapes[odd] = shape
    inputs = [tensor("FP64", one, "[1, 2]", name) for one, name in zip(shapes, ("a", "b"), strict=True)]
    batch = decoded(f'{{"inputs": [{", ".join(inputs)}]}}', "v2")
    assert conformed(DOUBLES, batch) is None
    assert fast_path(DOUBLES).conform(batch) is None


def test_a_scalar_is_one_row() -> None:
    scalar, row = tensor("FP64", "[]", "[1]", "b"), tensor("FP64", "[1]", "[1]", "a")
    matrix = fast_path(DOUBLES).conform(decoded(f'{{"inputs": [{row}, {scalar}]}}', "v2"))
    assert matrix is not None
    assert matrix.tolist() == [[1, 1]]


@pytest.mark.parametrize("plan", [SignaturePlan(width=3, names=("a", "b")), SignaturePlan(width=2, names=("a", "a"))])
def test_names_that_do_not_name_the_columns(plan: SignaturePlan) -> None:
    compiled = compile_matrix(plan)
    body = {"instances": [dict.fromkeys(NAMES[: plan.width], 1.0)]}
    assert compiled is None or compiled.conform(decoded(json.dumps(body))) is None
    assert (
        compiled is None
        or compiled.conform(decoded(json.dumps({"inputs": {name: [1.0] for name in NAMES[: plan.width]}}))) is None
    )


@pytest.mark.parametrize(
    "plan",
    [
        SignaturePlan(),
        SignaturePlan(width=2, from_type_hints=True),
        columns_plan(["double", "string"]),
        columns_plan(["double", "boolean"]),
        tensor_plan("int64", 2),
        compile_plan({"inputs": json.dumps([{"name": "a", "type": "double"}, {"name": "a", "type": "double"}])}),
    ],
)
def test_models_that_take_no_matrix(plan: SignaturePlan) -> None:
    assert compile_matrix(plan) is None
