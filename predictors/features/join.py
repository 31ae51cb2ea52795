"""Joins features to a request: which values it lacks, and where looked-up values go. Pure: the lookup is elsewhere.

Values that the caller sends take precedence, null included. A missing value is looked up by the entities of its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from predictors.features.declaration import Declaration
from predictors.features.store import Catalogue, FeastError, Feature
from predictors.protocol import casting
from predictors.protocol.batch import MISSING, Batch, Values
from predictors.protocol.errors import InvalidInput
from predictors.protocol.names import quoted
from predictors.signature.plan import check_lengths, columns_of_records, is_records

INTEGERS = {"INT32": range(-(2**31), 2**31), "INT64": range(-(2**63), 2**63)}
KEY_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(INTEGERS, (int,)),
    "STRING": (str,),
    "BYTES": (bytes, str),
    "BOOL": (bool,),
    "FLOAT": (int, float),
    "DOUBLE": (int, float),
    "UNIX_TIMESTAMP": (int, str),
}
ANY_KEY = (int, float, str, bool, bytes)


@dataclass(frozen=True, slots=True)
class LookupPlan:
    """The inputs of a model that can be looked up, and their keys."""

    features: Mapping[str, Feature]
    """The feature by column of the signature."""
    keys: Mapping[str, str]
    """The column of a request by join key, or by request column of an on-demand view."""
    types: Mapping[str, str]
    """Their types in Feast; empty if unknown."""
    key_only: frozenset[str]
    """Columns of keys that are no input of the model."""
    spellings: Mapping[str, str]
    """Columns by the other names that callers may use: the feature's full name, its short name, `view:feature`."""

    def keys_of(self, columns: Sequence[str]) -> tuple[str, ...]:
        """The join keys and request columns that Feast needs for these columns."""
        features = [self.features[column] for column in columns]
        return tuple(dict.fromkeys(key for feature in features for key in (*feature.keys, *feature.computed_with)))


def plan_lookups(declaration: Declaration, catalogue: Catalogue, columns: Sequence[str]) -> LookupPlan:
    """Raises `FeastError` if the declaration does not fit Feast or the model."""
    if not columns:
        raise FeastError("features are joined by name, but the model's columns have no names: log it with a signature")
    full = {feature.full_name: feature for feature in catalogue.features}
    short: dict[str, list[Feature]] = {}
    for feature in catalogue.features:
        short.setdefault(feature.name, []).append(feature)

    def feature_named(column: str, name: str) -> Feature | None:
        feature = full.get(name.replace(":", "__", 1)) or full.get(name)
        if feature is not None or name not in short:
            return feature
        if len(short[name]) > 1:
            candidates = " or ".join(candidate.full_name for candidate in short[name])
            raise FeastError(f"column '{column}' may be {candidates}: name one in the declaration's columns")
        return short[name][0]

    unknown = [name for name in declaration.columns if name not in columns]
    if unknown:
        raise FeastError(f"columns: the model has no input '{unknown[0]}' (it has {quoted(columns)})")
    features = {}
    for column in columns:
        match = feature_named(column, declaration.columns.get(column, column))
        if match is None and column in declaration.columns:
            raise FeastError(f"columns: {declaration.source} has no feature '{declaration.columns[column]}'")
        if match is not None:
            features[column] = match
    if not features:
        raise FeastError(
            f"no input of the model is a feature of {declaration.source}: the model takes {quoted(columns)}, "
            f"the features are {quoted(list(full))}"
        )
    unused = [name for name in declaration.defaults if name not in features]
    if unused:
        raise FeastError(f"defaults: expected columns that are looked up ({quoted(list(features))}), got '{unused[0]}'")
    for policy in ("missing", "stale", "unavailable"):
        undefined = [name for name in features if name not in declaration.defaults]
        if getattr(declaration, policy) == "default" and undefined:
            raise FeastError(f"{policy} features get their default, but '{undefined[0]}' has none")
    known = {**catalogue.keys, **catalogue.request_columns}
    unknown = [name for name in declaration.entities if name not in known]
    if unknown and known:
        raise FeastError(
            f"entities: {declaration.source} has no join key '{unknown[0]}' (it has {quoted(list(known))})"
        )
    keys = {key: declaration.entities.get(key, key) for key in known}
    spellings = {
        name: column
        for column, feature in features.items()
        for name in (
            feature.full_name,
            f"{feature.view}:{feature.name}",
            *([feature.name] if len(short[feature.name]) == 1 else []),
        )
        if name not in columns and name not in keys.values()
    }
    return LookupPlan(features, keys, known, frozenset(keys.values()) - set(columns), spellings)


@dataclass(slots=True)
class Lookup:
    """Features that some rows of a request lack, as one batch of distinct keys."""

    columns: tuple[str, ...]
    """Columns of the signature."""
    keys: dict[str, list[Any]]
    """The values of the distinct keys, by join key."""
    rows: list[int]
    """The rows that lack them."""
    positions: list[int]
    """For each of these rows, the position of its key among the distinct ones."""

    @property
    def size(self) -> int:
        return len(next(iter(self.keys.values()), (None,)))


@dataclass(slots=True)
class JoinRequest:
    """A request and the lookups that it needs."""

    batch: Batch
    columns: dict[str, Values]
    """The inputs of the model that were sent."""
    entities: dict[str, Values]
    count: int
    lookups: list[Lookup] = field(default_factory=list)


def request_of(batch: Batch, plan: LookupPlan) -> JoinRequest | None:
    """The lookups that a request needs; None if the signature plan accepts or refuses the request without them."""
    columns = batch.columns
    if columns is None and is_records(batch.rows):
        columns = columns_of_records(batch.rows)
    if columns is None:  # rows without names have all columns
        return None
    named = renamed(columns, plan.spellings)
    entities = {key: named[column] for key, column in plan.keys.items() if column in named}
    if batch.tensors and len(named) == 1 and not entities and not any(name in plan.features for name in named):
        return None  # one tensor that is the whole matrix
    if not named and batch.rows is None:
        return None
    check_lengths(named)
    count = len(next(iter(named.values()), batch.rows))  # records may be empty: views without entities need no key
    columns = {name: values for name, values in named.items() if name not in plan.key_only}
    request = JoinRequest(batch, columns, entities, count)
    request.lookups = lookups_of(request, plan)
    return request


def renamed(columns: Mapping[str, Values], spellings: Mapping[str, str]) -> dict[str, Values]:
    named: dict[str, Values] = {}
    for name, values in columns.items():
        column = spellings.get(name, name)
        if column in named:
            raise InvalidInput(f"'{name}' and '{column}' are the same input: expected one of them")
        named[column] = values
    return named


def lookups_of(request: JoinRequest, plan: LookupPlan) -> list[Lookup]:
    """One lookup for all rows, or one for each set of missing features."""
    absent = tuple(name for name in plan.features if name not in request.columns)
    partial = [
        name
        for name, values in request.columns.items()
        if name in plan.features and isinstance(values, list) and MISSING in values
    ]
    groups: dict[tuple[str, ...], list[int]] = {}
    if partial:
        for row in range(request.count):
            missing = tuple(name for name in partial if request.columns[name][row] is MISSING)
            groups.setdefault((*absent, *missing), []).append(row)
    else:
        groups[absent] = list(range(request.count))
    return [lookup_of(request, plan, columns, rows) for columns, rows in groups.items() if columns]


def lookup_of(request: JoinRequest, plan: LookupPlan, columns: tuple[str, ...], rows: list[int]) -> Lookup:
    names = plan.keys_of(columns)
    values = [key_values(request, plan, key, columns, rows) for key in names]
    distinct: dict[tuple[Any, ...], int] = {}
    keys = zip(*values, strict=True) if values else ((),) * len(rows)
    positions = [distinct.setdefault(key, len(distinct)) for key in keys]
    return Lookup(columns, {name: [key[i] for key in distinct] for i, name in enumerate(names)}, rows, positions)


def key_values(request: JoinRequest, plan: LookupPlan, key: str, columns: Sequence[str], rows: list[int]) -> list[Any]:
    """The values of a join key for these rows, in its type."""
    name = plan.keys[key]
    values = request.entities.get(key)
    if values is None:
        raise InvalidInput(missing_key(plan, key, columns))
    kind = plan.types.get(key, "")
    allowed = KEY_TYPES.get(kind, ANY_KEY)
    cells = casting.squeeze_column(values, name).tolist() if isinstance(values, np.ndarray) else values
    converted = []
    for row in rows:
        cell = cells[row]
        if type(cell) is bytes and bytes not in allowed[:1]:
            cell = casting.decode_text(cell, name, row)
        if type(cell) is float and kind in INTEGERS and cell.is_integer() and isinstance(values, np.ndarray):
            if abs(cell) >= casting.MAX_EXACT_IN_DOUBLE:  # it may have been rounded to another entity's key
                raise refuse_key(kind, name, row, "a floating-point number too large to be exact")
            cell = int(cell)  # pandas turns integers into floats if the column has nulls
        if cell is MISSING:
            raise InvalidInput(f"row {row}: {missing_key(plan, key, columns)}")
        if type(cell) not in allowed:
            raise refuse_key(kind, name, row, casting.json_type(cell))
        if kind in INTEGERS and cell not in INTEGERS[kind]:
            raise refuse_key(kind, name, row, "a number out of its range")
        converted.append(cell)
    return converted


def missing_key(plan: LookupPlan, key: str, columns: Sequence[str]) -> str:
    columns = [column for column in columns if key in plan.keys_of([column])]
    return f"missing input '{plan.keys[key]}', the key for looking up {quoted(columns)}"


def refuse_key(kind: str, name: str, row: int, got: str) -> InvalidInput:
    expected = f"{kind} in Feast" if kind else "a value"
    return casting.mismatch(name, row, f"the key of an entity ({expected})", got)


def joined(request: JoinRequest, results: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
    """The request with the results of its lookups: by column, a value for each distinct key."""
    columns = dict(request.columns)
    for lookup, values in zip(request.lookups, results, strict=True):
        for column in lookup.columns:
            cells = columns.get(column)
            if len(lookup.rows) == request.count:
                columns[column] = [values[column][position] for position in lookup.positions]
                continue
            if cells is request.columns.get(column):  # copied: the list is the caller's
                cells = list(cells) if cells is not None else [MISSING] * request.count
                columns[column] = cells
            for row, position in zip(lookup.rows, lookup.positions, strict=True):
                cells[row] = values[column][position]  # type: ignore[index]
    return replace(request.batch, columns=columns, rows=None, literals=True, entities=request.entities)
