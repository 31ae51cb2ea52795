"""Which requests are a candidate's, in every protocol alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from predictors.candidate.request_key import RequestKey
from predictors.candidate.splitter import Splitter
from predictors.protocol import invocations, jsontext, v1, v2
from predictors.protocol.batch import Batch

NAMES = ("customer", "amount")
TENSORS = {
    "inputs": [
        {"name": "amount", "datatype": "FP64", "shape": [2], "data": [1.5, 2.5]},
        {"name": "customer", "datatype": "INT64", "shape": [2, 1], "data": [7, 8]},
    ]
}
MATRIX = {"inputs": [{"name": "rows", "datatype": "FP64", "shape": [2, 2], "data": [7, 1.5, 8, 2.5]}]}


@pytest.mark.parametrize(
    "batch",
    [
        v1.decode(b'{"instances": [{"amount": 1.5, "customer": 7}, {"amount": 2.5, "customer": 8}]}'),
        v1.decode(b'{"instances": [[7, 1.5], [8, 2.5]]}'),
        v1.decode(b'{"instances": [[7.0, 1.5]]}'),
        v1.decode(b'{"inputs": {"customer": [7, 8], "amount": [1.5, 2.5]}}'),
        v2.decode(jsontext.dump(TENSORS)),
        v2.decode(jsontext.dump(MATRIX)),
        invocations.decode_json(b'{"dataframe_split": {"columns": ["customer", "amount"], "data": [[7, 1.5]]}}'),
        invocations.decode_json(b'{"dataframe_records": [{"amount": 1.5, "customer": 7}]}'),
        Batch(columns={"customer": np.array([7], np.float32)}, tensors=True),
    ],
)
def test_one_caller_has_one_key(batch: Batch) -> None:
    for kind in ("column", "entity"):
        assert RequestKey.parse(f"{kind}:customer").of_rows(batch, NAMES) == b"7"


@pytest.mark.parametrize(
    "rows",
    [None, [], [{}], [{"customer": None}], [{"customer": [1]}], [[]], [float("nan")], "text", np.zeros((1, 2, 3))],
)
def test_a_request_without_a_key_is_the_models(rows: Any) -> None:
    key = "column:customer"
    assert RequestKey.parse(key).of_rows(Batch(rows=rows), NAMES) is None
    assert not Splitter(0.999, key, "m", NAMES).picks((), Batch(rows=rows))


def test_headers_are_found_in_any_case() -> None:
    caller = next(
        caller for caller in (b"%d" % number for number in range(99)) if Splitter(0.5, "header:x", "m").holds(caller)
    )
    headers = [(b"host", b"x"), (b"x-user", caller)]
    assert Splitter(0.5, "header:X-User", "m").picks(headers)
    assert not Splitter(0.999, "header:user", "m").picks(headers), "a request without the key is the model's"
    assert Splitter(1, "header:user", "m").picks(headers), "all are all"


def test_shares_are_exact_and_experiments_independent() -> None:
    callers = [str(caller).encode() for caller in range(20_000)]
    small, large = Splitter(0.1, "header:u", "models:/m/2"), Splitter(0.3, "header:u", "models:/m/2")
    other = Splitter(0.1, "header:u", "models:/m/3")
    few, many, others = ({caller for caller in callers if one.holds(caller)} for one in (small, large, other))
    assert few < many, "a larger share takes nobody away"
    assert len(few) == pytest.approx(2000, abs=150)
    assert len(many) == pytest.approx(6000, abs=250)
    assert len(few & others) == pytest.approx(200, abs=60), "another candidate has other callers"
    assert few == {caller for caller in callers if Splitter(0.1, "header:u", "models:/m/2").holds(caller)}
