"""Values of every type of Feast, the same as Feast itself makes of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import given
from hypothesis import strategies as st

from predictors.features import values
from predictors.features.store import FeatureStatus
from predictors.features.values import python_values, status_of

INTEGERS = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))
SINGLES = {
    ValueType.INT64: INTEGERS,
    ValueType.INT32: st.integers(-(2**31), 2**31 - 1),
    ValueType.DOUBLE: st.floats(allow_nan=False),
    ValueType.FLOAT: st.floats(width=32, allow_nan=False),
    ValueType.STRING: st.text(),
    ValueType.BYTES: st.binary(),
    ValueType.BOOL: st.booleans(),
    ValueType.UNIX_TIMESTAMP: MOMENTS,
}
LISTS = {
    ValueType.INT64_LIST: INTEGERS,
    ValueType.DOUBLE_LIST: st.floats(allow_nan=False),
    ValueType.STRING_LIST: st.text(),
    ValueType.BOOL_LIST: st.booleans(),
}
TYPED = st.one_of(
    *(st.tuples(st.just(kind), st.lists(values | st.none(), min_size=1)) for kind, values in SINGLES.items()),
    *(st.tuples(st.just(kind), st.lists(st.lists(values), min_size=1)) for kind, values in LISTS.items()),
)


@given(TYPED)
def test_values_are_what_feast_makes_of_them(typed: tuple[ValueType, list[Any]]) -> None:
    kind, originals = typed
    protos = python_values_to_proto_values(originals, kind)
    theirs = [feast_value_type_to_python_type(one) for one in protos]
    ours = python_values(protos, feast_value_type_to_python_type)
    assert ours == theirs
    assert [type(one) for one in ours] == [type(one) for one in theirs]


def test_no_number_stays_one() -> None:
    (value,) = python_values([Value(double_val=math.nan)], feast_value_type_to_python_type)
    assert math.isnan(value)


def test_the_numbers_of_feasts_statuses() -> None:
    assert FieldStatus.NOT_FOUND == values.NOT_FOUND
    assert FieldStatus.OUTSIDE_MAX_AGE == values.OUTSIDE_MAX_AGE


def test_statuses() -> None:
    present, null = FieldStatus.PRESENT, FieldStatus.NULL_VALUE
    assert status_of(present, 1, 100.0) is FeatureStatus.FOUND
    assert status_of(present, None, 100.0) is FeatureStatus.NULL
    assert status_of(null, None, 100.0) is FeatureStatus.NULL
    assert status_of(present, None, 0.0) is FeatureStatus.MISSING
    assert status_of(present, None, 0.0, computed=True) is FeatureStatus.NULL
    assert status_of(values.NOT_FOUND, None, 0.0, computed=True) is FeatureStatus.MISSING
    assert status_of(values.OUTSIDE_MAX_AGE, 1, 100.0) is FeatureStatus.STALE
    assert status_of(present, 1, 100.0, earliest=100.5) is FeatureStatus.STALE
    assert status_of(present, 1, 100.0, earliest=99.5) is FeatureStatus.FOUND
