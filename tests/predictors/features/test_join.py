"""What a request lacks, and where it goes: against the plainest way to say it, row by row."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.features.declaration import Declaration
from predictors.features.join import LookupPlan, joined, plan_lookups, request_of
from predictors.features.store import Catalogue, FeastError, Feature
from predictors.protocol.batch import MISSING, Batch
from predictors.protocol.errors import InvalidInput
from predictors.signature.plan import columns_of_records

DRIVER = [Feature("driver_stats", name, "DOUBLE", ("driver_id",)) for name in ("conv_rate", "acc_rate")]
SHOP = [Feature("shop_stats", "rating", "DOUBLE", ("shop",))]
CATALOGUE = Catalogue((*DRIVER, *SHOP), {"driver_id": "INT64", "shop": "STRING"})
COLUMNS = ["amount", "conv_rate", "acc_rate", "rating"]
FeatureValues: TypeAlias = "dict[tuple[str, tuple[Any, ...]], float]"
"""By feature and the values of its join keys."""


def plan_for(inputs: list[str] = COLUMNS, **changes: Any) -> LookupPlan:
    return plan_lookups(Declaration("ranking", **changes), CATALOGUE, inputs)


def looked_up(batch: Batch, plan: LookupPlan, feast: FeatureValues) -> tuple[Batch, list[Any]]:
    """The join, with a dictionary in Feast's place; and what was asked for."""
    request = request_of(batch, plan)
    assert request is not None
    asked, values = [], []
    for lookup in request.lookups:
        rows = list(zip(*lookup.keys.values(), strict=True)) or [()]
        asked.append((lookup.columns, rows))
        values.append(
            {
                column: [
                    feast[
                        column,
                        tuple(dict(zip(lookup.keys, row, strict=True))[key] for key in plan.features[column].keys),
                    ]
                    for row in rows
                ]
                for column in lookup.columns
            }
        )
    return joined(request, values), asked


DRIVERS, SHOPS = (1, 2, 3), ("a", "b")
FEAST: FeatureValues = {
    **{(one.name, (driver,)): driver + len(one.name) / 100 for one in DRIVER for driver in DRIVERS},
    **{("rating", (shop,)): float(ord(shop)) for shop in SHOPS},
}
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"amount": st.floats(0, 9), "driver_id": st.sampled_from(DRIVERS), "shop": st.sampled_from(SHOPS)},
        optional={name: st.one_of(st.none(), st.floats(-9, 0)) for name in ("conv_rate", "acc_rate", "rating")},
    ),
    min_size=1,
    max_size=6,
)


@given(RECORDS)
def test_every_row_gets_what_it_lacks_and_keeps_what_it_has(records: list[dict[str, Any]]) -> None:
    completed, asked = looked_up(Batch(rows=records), plan_for(), FEAST)
    keys = {"conv_rate": "driver_id", "acc_rate": "driver_id", "rating": "shop"}
    expected = [
        {name: row[name] if name in row else FEAST[name, (row[keys[name]],)] for name in COLUMNS} for row in records
    ]
    assert completed.columns is not None
    assert completed.columns == columns_of_records(expected)
    for _, rows in asked:
        assert len(rows) == len(set(rows))
    assert len(asked) == len({frozenset(COLUMNS) - frozenset(row) for row in records} - {frozenset()})


def test_one_batch_of_distinct_keys() -> None:
    batch = Batch(
        columns={"amount": [1.0] * 5, "driver_id": np.array([2, 1, 2, 1, 2]), "rating": np.zeros(5)}, tensors=True
    )
    completed, asked = looked_up(batch, plan_for(), FEAST)
    assert asked == [(("conv_rate", "acc_rate"), [(2,), (1,)])]
    assert completed.columns is not None
    assert completed.columns["conv_rate"] == [FEAST["conv_rate", (driver,)] for driver in (2, 1, 2, 1, 2)]
    assert "driver_id" not in completed.columns
    assert completed.entities is not None
    assert list(completed.entities["driver_id"]) == [2, 1, 2, 1, 2]


def test_an_entity_that_the_model_takes_stays() -> None:
    completed, _ = looked_up(Batch(rows=[{"driver_id": 1}]), plan_for(["driver_id", "conv_rate"]), FEAST)
    assert completed.columns == {"driver_id": [1], "conv_rate": [FEAST["conv_rate", (1,)]]}


def test_what_the_caller_sends_wins_null_included() -> None:
    completed, asked = looked_up(Batch(rows=[{"conv_rate": None, "driver_id": 1}]), plan_for(["conv_rate"]), {})
    assert (completed.columns, asked) == ({"conv_rate": [None]}, [])


@pytest.mark.parametrize("spelling", ["driver_stats__conv_rate", "driver_stats:conv_rate", "conv_rate"])
@pytest.mark.parametrize("column", ["driver_stats__conv_rate", "driver_stats:conv_rate", "conv_rate"])
def test_full_and_short_names(column: str, spelling: str) -> None:
    completed, _ = looked_up(Batch(rows=[{spelling: 0.5}, {"driver_id": 1}]), plan_for([column]), {(column, (1,)): 7.0})
    assert completed.columns == {column: [0.5, 7.0]}


def test_the_same_feature_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'driver_stats__conv_rate' and 'conv_rate' are the same input"):
        request_of(Batch(rows=[{"conv_rate": 1.0, "driver_stats__conv_rate": 2.0}]), plan_for(["conv_rate"]))


def test_names_of_its_own() -> None:
    completed, _ = looked_up(
        Batch(rows=[{"driver": 1}]),
        plan_for(["rate"], columns={"rate": "conv_rate"}, entities={"driver_id": "driver"}),
        {("rate", (1,)): 7.0},
    )
    assert completed.columns == {"rate": [7.0]}


def test_rows_without_names_go_as_they_are() -> None:
    assert request_of(Batch(rows=[[1.0, 2.0, 3.0, 4.0]]), plan_for()) is None
    assert request_of(Batch(columns={"a matrix": np.zeros((1, 4))}, tensors=True), plan_for()) is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "missing input 'driver_id', the key for looking up 'conv_rate', 'acc_rate'"),
        ({"driver_id": None}, r"input 'driver_id', row 0: expected the key of an entity \(INT64 in Feast\), got null"),
        ({"driver_id": "1"}, "got a string"),
        ({"driver_id": 1.0}, "got a number"),
        ({"driver_id": True}, "got a boolean"),
        ({"driver_id": [1]}, "got a list"),
    ],
    ids=["absent", "null", "text", "float", "boolean", "list"],
)
def test_keys_that_find_nothing(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        request_of(Batch(rows=[{"amount": 1.0, **row}]), plan_for(["amount", "conv_rate", "acc_rate"]))


def test_records_that_hold_nothing() -> None:
    """Of a view without entities that is all it takes."""
    catalogue = Catalogue((Feature("market", "rate", "DOUBLE"),))
    of_all = plan_lookups(Declaration("market"), catalogue, ["rate"])
    completed, asked = looked_up(Batch(rows=[{}, {}]), of_all, {("rate", ()): 1.25})
    assert (completed.columns, asked) == ({"rate": [1.25, 1.25]}, [(("rate",), [()])])
    with pytest.raises(InvalidInput, match="missing input 'driver_id'"):
        request_of(Batch(rows=[{}]), plan_for())
    assert request_of(Batch(columns={}), plan_for()) is None  # refused as without features


def test_only_the_row_that_lacks_its_key_is_named() -> None:
    rows = [{"driver_id": 1}, {"conv_rate": 1.0}, {"amount": 1.0}]
    with pytest.raises(InvalidInput, match="row 2: missing input 'driver_id'"):
        request_of(Batch(rows=rows), plan_for(["conv_rate"]))


def test_columns_of_different_lengths() -> None:
    with pytest.raises(InvalidInput, match="different lengths: 'driver_id' has 2, 'amount' has 1"):
        request_of(Batch(columns={"driver_id": [1, 2], "amount": [1.0]}, tensors=True), plan_for())


def test_text_keys_come_as_bytes_in_tensors() -> None:
    batch = Batch(columns={"shop": np.array([b"a", b"b"], dtype=object)}, tensors=True)
    assert looked_up(batch, plan_for(["rating"]), FEAST)[0].columns == {"rating": [97.0, 98.0]}


def test_whole_numbers_of_a_table_with_gaps_are_keys() -> None:
    """pandas makes doubles of a column of a CSV in which a row has none."""
    batch = Batch(columns={"driver_id": np.array([1.0, np.nan]), "conv_rate": [MISSING, 0.5]}, frame=True)
    assert looked_up(batch, plan_for(["conv_rate"]), FEAST)[0].columns == {"conv_rate": [FEAST["conv_rate", (1,)], 0.5]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (np.array([2.0**53]), "got a floating-point number too large to be exact"),
        (np.array([1.0, -(2.0**60)]), "row 1: .*too large to be exact"),
        (np.array([2**64 - 1], dtype=np.uint64), "got a number out of its range"),
        ([2**63], "got a number out of its range"),
    ],
    ids=["rounded", "negative", "unsigned", "integer"],
)
def test_numbers_that_may_be_another_entity_are_refused(keys: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        request_of(Batch(columns={"driver_id": keys}, tensors=True), plan_for(["conv_rate"]))


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        (["x"], {}, "no input of the model is a feature of feature service 'ranking': the model takes 'x'"),
        ([], {}, "log it with a signature"),
        (["conv_rate"], {"columns": {"other": "acc_rate"}}, "the model has no input 'other'"),
        (["conv_rate"], {"columns": {"conv_rate": "nope"}}, "has no feature 'nope'"),
        (["conv_rate"], {"entities": {"rider": "rider"}}, "no join key 'rider' .it has 'driver_id', 'shop'."),
        (["conv_rate"], {"missing": "default"}, "missing features get their default, but 'conv_rate' has none"),
        (["conv_rate"], {"defaults": {"x": 1}}, "expected columns that are looked up .*, got 'x'"),
    ],
    ids=["none", "no names", "column", "feature", "entity", "no default", "default"],
)
def test_declarations_that_do_not_fit(columns: list[str], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FeastError, match=message):
        plan_for(columns, **changes)


def test_a_short_name_that_two_views_have() -> None:
    both = Catalogue((*DRIVER, Feature("rider_stats", "conv_rate", "DOUBLE", ("rider",))), {"driver_id": "INT64"})
    with pytest.raises(FeastError, match="'conv_rate' may be driver_stats__conv_rate or rider_stats__conv_rate"):
        plan_lookups(Declaration("ranking"), both, ["conv_rate"])
    plan = plan_lookups(Declaration("ranking", columns={"conv_rate": "rider_stats:conv_rate"}), both, ["conv_rate"])
    assert plan.features["conv_rate"].view == "rider_stats"
