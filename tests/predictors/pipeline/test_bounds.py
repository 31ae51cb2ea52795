"""The size of a body bounds the work and the memory that it causes, in every protocol and for every kind of model."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from predictors.protocol import grpc, invocations, tables, v1, v2
from predictors.protocol.batch import Batch
from predictors.protocol.errors import RequestError
from predictors.protocol.tables import TableColumns
from predictors.signature import fields
from predictors.signature.matrix import compile_matrix
from predictors.signature.plan import SignaturePlan, compile_plan

WORK, LEAST_WORK = 80, 200_000
"""Instructions of Python for each byte of a body, and for any body."""
MEMORY, LEAST_MEMORY = 120, 2**20
"""Bytes for each byte of a body, and for any body."""


@dataclass
class Cost:
    work: int = 0
    memory: int = 0


@contextmanager
def counted() -> Iterator[Cost]:
    """Counts the instructions that Python executes, and the most memory that it and numpy hold at a time."""
    cost = Cost()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        cost.work += event == "opcode"
        return trace

    before = sys.gettrace()
    tracemalloc.start()
    tracemalloc.reset_peak()
    start = tracemalloc.get_traced_memory()[0]
    sys.settrace(trace)
    try:
        yield cost
    finally:
        sys.settrace(before)
        cost.memory = tracemalloc.get_traced_memory()[1] - start
        tracemalloc.stop()


def signature(*inputs: dict[str, Any], params: Any = ()) -> SignaturePlan:
    return compile_plan({"inputs": json.dumps(inputs), "params": json.dumps(params)})


NAMES = [f"column {i}" for i in range(8)]
MODELS = {
    "columns": signature(*({"name": name, "type": "double", "required": True} for name in NAMES)),
    "optional columns": signature(*({"name": name, "type": "double", "required": False} for name in NAMES)),
    "texts": signature(*({"name": name, "type": "string", "required": False} for name in NAMES)),
    "dates": signature({"name": "column 0", "type": "datetime", "required": True}),
    "a map": signature({"name": "column 0", "type": "map", "values": {"type": "array", "items": {"type": "long"}}}),
    "no names": signature(*({"type": "double"} for _ in NAMES)),
    "a tensor": signature({"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 8]}}),
    "a tensor of texts": signature({"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}}),
    "no signature": SignaturePlan(),
    "a width": SignaturePlan(width=8),
    "names": SignaturePlan(width=8, names=tuple(NAMES)),
    "type hints": SignaturePlan(from_type_hints=True),
}
LEAVES = [1, 1.5, 2**63, True, None, "", "2024-01-01", "é" * 3000, [], {}, [1, 2], [[1], "x"], {"a": [1]}, "9" * 5000]
NAME = st.sampled_from([*NAMES, "other", "", "n" * 5000])
LEAF = st.sampled_from(LEAVES)
ROW = st.one_of(LEAF, st.lists(LEAF, max_size=9), st.dictionaries(NAME, LEAF, max_size=9))


@st.composite
def many(draw: st.DrawFn, rows: st.SearchStrategy[Any]) -> list[Any]:
    """A few rows, one of them very often: lists of every kind that are long."""
    first, repeated, last = draw(st.lists(rows, max_size=2)), draw(rows), draw(st.lists(rows, max_size=2))
    return [*first, *[repeated] * draw(st.sampled_from([1, 30, 500])), *last]


@st.composite
def records(draw: st.DrawFn) -> list[Any]:
    """Records of which each has a name of its own."""
    common = draw(st.dictionaries(NAME, LEAF, max_size=3))
    return [{**common, f"own {i}": 1} for i in range(draw(st.sampled_from([3, 300])))]


VALUES = many(ROW) | records()
COLUMNS = st.dictionaries(NAME, many(LEAF), max_size=9)
JSON_BODIES = st.one_of(
    st.builds(lambda rows: {"instances": rows}, VALUES),
    st.builds(lambda rows: {"inputs": rows}, VALUES | COLUMNS),
    st.builds(lambda rows: {"dataframe_records": rows}, VALUES),
    st.builds(lambda names, rows: {"dataframe_split": {"columns": names, "data": rows}}, many(NAME), VALUES),
    st.builds(lambda count: {"inputs": {f"own {i}": [1] for i in range(count)}}, st.sampled_from([3, 1000])),
    st.builds(lambda count: {"instances": [[1]], "parameters": {f"own {i}": 1 for i in range(count)}}, st.just(1000)),
)
DATATYPES = st.sampled_from(["FP64", "INT8", "BOOL", "BYTES", "X" * 3000])
SHAPES = st.lists(st.sampled_from([0, 1, 8, 1000, 2**40, -1]), max_size=3) | st.just([1] * 1000) | st.just([2**62] * 99)


@st.composite
def tensor_requests(draw: st.DrawFn) -> dict[str, Any]:
    inputs = [
        {"name": draw(NAME), "shape": draw(SHAPES), "datatype": draw(DATATYPES), "data": draw(VALUES)}
        for _ in range(draw(st.integers(1, 3)))
    ]
    copies = [{**inputs[0], "name": f"own {i}", "data": [1]} for i in range(draw(st.sampled_from([0, 300])))]
    count = draw(st.sampled_from([0, 1000]))
    outputs = [{"name": f"own {i}"} for i in range(count)] + [{"name": "predictions"}] * draw(
        st.sampled_from([0, 1000])
    )
    return {"inputs": [*inputs, *copies], "outputs": outputs}


def check(model: str, body: bytes, decode: Callable[[], Batch], least_work: int = LEAST_WORK) -> None:
    inputs = MODELS[model]
    matrix = compile_matrix(inputs)
    with counted() as cost, suppress(RequestError):
        batch = decode()
        if matrix is None or matrix.conform(batch) is None:
            inputs.conform(batch)
            inputs.conform_params(batch.params)
    assert cost.work <= WORK * len(body) + least_work
    assert cost.memory <= MEMORY * len(body) + LEAST_MEMORY


LIMITS = settings(max_examples=20, deadline=None)
MODEL = st.sampled_from(list(MODELS))


@LIMITS
@given(model=MODEL, payload=JSON_BODIES)
@example(model="columns", payload={"instances": [{f"own {i}": 1} for i in range(1000)]})
@example(model="no signature", payload={"instances": [{f"own {i}": 1} for i in range(2100)]})
@example(model="no signature", payload={"instances": [["x" * 10_000], *[[1]] * 3000]})
@example(model="a tensor", payload={"inputs": [["x" * 10_000] * 8, *[[1] * 8] * 500]})
@example(model="a tensor of texts", payload={"instances": ["x" * 10_000, *["y"] * 3000]})
@example(model="a map", payload={"instances": [{"column 0": {"k" * 20_000: [1] * 3000}}]})
@example(model="optional columns", payload={"instances": [{"column 0": 1}] + [{}] * 4000})
def test_json(model: str, payload: Any) -> None:
    body = orjson.dumps(payload)
    decoder = v1.decode if "dataframe" not in str([*payload]) else invocations.decode_json
    check(model, body, lambda: decoder(body))


@LIMITS
@given(model=MODEL, payload=tensor_requests())
@example(model="columns", payload={"inputs": [{"name": "x", "shape": [2**62] * 5000, "datatype": "FP64", "data": [1]}]})
@example(
    model="no signature",
    payload={"inputs": [{"name": "x", "shape": [3001], "datatype": "INT8", "data": ["x" * 10_000, *[1] * 3000]}]},
)
def test_tensors_in_json(model: str, payload: Any) -> None:
    body = orjson.dumps(payload)
    check(model, body, lambda: v2.decode(body))


@LIMITS
@given(model=MODEL, shape=SHAPES, datatype=DATATYPES, raw=st.binary(max_size=50), count=st.sampled_from([1, 1000]))
def test_tensors_in_binary(model: str, shape: list[int], datatype: str, raw: bytes, count: int) -> None:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw) * count}}
    head = orjson.dumps({"inputs": [tensor]})
    body = head + raw * count
    check(model, body, lambda: v2.decode(body, str(len(head))))


@LIMITS
@given(model=MODEL, shape=SHAPES, datatype=DATATYPES, raw=st.binary(max_size=50), count=st.sampled_from([1, 1000]))
def test_messages(model: str, shape: list[int], datatype: str, raw: bytes, count: int) -> None:
    message = pb.ModelInferRequest()
    for i in range(count):
        message.inputs.add(name=f"own {i}", shape=shape, datatype=datatype)
        message.outputs.add(name="predictions")
    message.raw_input_contents.extend([raw] * count)
    body = message.SerializeToString()
    check(model, body, lambda: grpc.decode(pb.ModelInferRequest.FromString(body)))


@LIMITS
@given(
    model=MODEL,
    names=st.lists(st.sampled_from([*NAMES, "other", '"a,\n"', "", "n" * 3000]), max_size=9),
    columns=st.sampled_from([0, 100]),
    row=st.lists(st.sampled_from(["", "1", "1.5", '"x\n,"', '"', "x" * 3000]), max_size=9).map(",".join),
    rows=st.sampled_from([0, 1, 1000]),
)
@example(model="a tensor", names=[], columns=100, row=',,"', rows=1000)
def test_csv(model: str, names: list[str], columns: int, row: str, rows: int) -> None:
    header = ",".join([*names, *(f"own {i}" for i in range(columns))])
    body = "\n".join([header, *[row] * rows]).encode()
    known = TableColumns(select=MODELS[model].select)
    # pandas does much for each column, of which there is a limited number.
    least_work = LEAST_WORK + 6000 * header.count(",")
    check(model, body, lambda: invocations.decode_file(body, "text/csv", known), least_work)


def test_what_is_not_linear_is_seen() -> None:
    with counted() as cost:
        np.array(["x" * 1000, *[1] * 1000])
        sum(a * b for a in range(300) for b in range(300))
    assert cost.memory > 1000 * 1000
    assert cost.work > 300 * 300


@pytest.fixture(scope="module", autouse=True)
def proportions() -> Iterator[None]:
    """What may be left out of a body, or added to it, is as small as the bodies are here."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((tables, "MAX_ABSENT"), (fields, "MAX_PADDED")):
            patch.setattr(module, name, 2**13)
        yield


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What is imported at the first request is no part of its cost."""
    batch = invocations.decode_file(b"a\n2024-01-01\n", "text/csv")
    MODELS["no signature"].conform(batch)
    MODELS["dates"].conform(Batch(columns={"column 0": ["2024-01-01"]}))
