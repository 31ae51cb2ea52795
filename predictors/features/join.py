"""The features of a request: which values it lacks, and where they go. Pure: Feast is asked in between.

What the caller sends wins, null included. A value that is lacking is found by the entities of its row.
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
from predictors.signature.fields import quoted
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
    """What of a model's input is looked up, and by what."""

    features: Mapping[str, Feature]
    """By column of the signature."""
    keys: Mapping[str, str]
    """Join keys and request columns of on-demand views, and the columns of requests that hold them."""
    types: Mapping[str, str]
    """Their types in Feast, where they are known."""
    spare: frozenset[str]
    """Columns of keys that the model itself does not take."""
    spellings: Mapping[str, str]
    """Other names that callers may use for a column: the feature's full name, its short one, `view:feature`."""

    def keys_of(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Everything that Feast needs to find these features."""
        features = [self.features[column] for column in columns]
        return tuple(dict.fromkeys(key for one in features for key in (*one.keys, *one.computed_with)))


def wanted_of(declaration: Declaration, catalogue: Catalogue, columns: Sequence[str]) -> LookupPlan:
    """Raises `FeastError` where the declaration does not fit Feast, or the model."""
    if not columns:
        raise FeastError("features are joined by name, and the model's columns have none: log it with a signature")
    full = {one.full_name: one for one in catalogue.features}
    short: dict[str, list[Feature]] = {}
    for one in catalogue.features:
        short.setdefault(one.name, []).append(one)

    def named(column: str, name: str) -> Feature | None:
        found = full.get(name.replace(":", "__", 1)) or full.get(name)
        if found is not None or name not in short:
            return found
        if len(short[name]) > 1:
            either = " or ".join(one.full_name for one in short[name])
            raise FeastError(f"column '{column}' may be {either}: the declaration's columns say which")
        return short[name][0]

    unknown = [name for name in declaration.columns if name not in columns]
    if unknown:
        raise FeastError(f"columns: the model has no input '{unknown[0]}' (it has {quoted(columns)})")
    features = {}
    for column in columns:
        found = named(column, declaration.columns.get(column, column))
        if found is None and column in declaration.columns:
            raise FeastError(f"columns: {declaration.source} has no feature '{declaration.columns[column]}'")
        if found is not None:
            features[column] = found
    if not features:
        raise FeastError(
            f"no input of the model is a feature of {declaration.source}: the model takes {quoted(columns)}, "
            f"the features are {quoted([one.full_name for one in catalogue.features])}"
        )
    without = [name for name in declaration.defaults if name not in features]
    if without:
        raise FeastError(f"defaults: '{without[0]}' is not looked up (that are {quoted(list(features))})")
    for policy in ("missing", "stale", "unavailable"):
        lacking = [name for name in features if name not in declaration.defaults]
        if getattr(declaration, policy) == "default" and lacking:
            raise FeastError(f"{policy} features get their default, and '{lacking[0]}' has none")
    known = {**catalogue.keys, **catalogue.request_columns}
    strange = [name for name in declaration.entities if name not in known]
    if strange and known:
        raise FeastError(
            f"entities: {declaration.source} has no join key '{strange[0]}' (it has {quoted(list(known))})"
        )
    keys = {key: declaration.entities.get(key, key) for key in known}
    spellings = {
        name: column
        for column, one in features.items()
        for name in (one.full_name, f"{one.view}:{one.name}", *([one.name] if len(short[one.name]) == 1 else []))
        if name not in columns and name not in keys.values()
    }
    return LookupPlan(features, keys, known, frozenset(keys.values()) - set(columns), spellings)


@dataclass(slots=True)
class Lookup:
    """Features that some rows of a request lack, in one batch of distinct keys."""

    columns: tuple[str, ...]
    """Of the signature."""
    keys: dict[str, list[Any]]
    """By join key, a value for each distinct key."""
    rows: list[int]
    """The rows that lack them."""
    places: list[int]
    """For each of these rows, which of the distinct keys is its."""

    @property
    def size(self) -> int:
        return len(next(iter(self.keys.values()), (None,)))


@dataclass(slots=True)
class JoinRequest:
    """A request on its way through the join."""

    batch: Batch
    columns: dict[str, Values]
    """As the model takes them, as far as they were sent."""
    entities: dict[str, Values]
    count: int
    lookups: list[Lookup] = field(default_factory=list)


def request_of(batch: Batch, wanted: LookupPlan) -> JoinRequest | None:
    """What a request lacks; None for one that the plan takes, or refuses, as it is."""
    columns = batch.columns
    if columns is None and is_records(batch.rows):
        columns = columns_of_records(batch.rows)
    if columns is None:  # rows without names bring everything along
        return None
    named = renamed(columns, wanted.spellings)
    entities = {key: named[column] for key, column in wanted.keys.items() if column in named}
    if batch.tensors and len(named) == 1 and not entities and not any(name in wanted.features for name in named):
        return None  # one tensor that is the whole matrix
    if not named and batch.rows is None:
        return None
    check_lengths(named)
    count = len(next(iter(named.values()), batch.rows))  # records may hold nothing: of views without entities
    columns = {name: values for name, values in named.items() if name not in wanted.spare}
    request = JoinRequest(batch, columns, entities, count)
    request.lookups = lookups_of(request, wanted)
    return request


def renamed(columns: Mapping[str, Values], spellings: Mapping[str, str]) -> dict[str, Values]:
    named: dict[str, Values] = {}
    for name, values in columns.items():
        column = spellings.get(name, name)
        if column in named:
            raise InvalidInput(f"'{name}' and '{column}' are the same input: expected one of them")
        named[column] = values
    return named


def lookups_of(request: JoinRequest, wanted: LookupPlan) -> list[Lookup]:
    """One for all rows, unless they lack different features."""
    absent = tuple(name for name in wanted.features if name not in request.columns)
    partly = [
        name
        for name, values in request.columns.items()
        if name in wanted.features and isinstance(values, list) and MISSING in values
    ]
    groups: dict[tuple[str, ...], list[int]] = {}
    if partly:
        for row in range(request.count):
            lacking = tuple(name for name in partly if request.columns[name][row] is MISSING)
            groups.setdefault((*absent, *lacking), []).append(row)
    else:
        groups[absent] = list(range(request.count))
    return [lookup_of(request, wanted, columns, rows) for columns, rows in groups.items() if columns]


def lookup_of(request: JoinRequest, wanted: LookupPlan, columns: tuple[str, ...], rows: list[int]) -> Lookup:
    names = wanted.keys_of(columns)
    given = [key_values(request, wanted, key, columns, rows) for key in names]
    distinct: dict[tuple[Any, ...], int] = {}
    keys = zip(*given, strict=True) if given else ((),) * len(rows)
    places = [distinct.setdefault(key, len(distinct)) for key in keys]
    return Lookup(columns, {name: [key[i] for key in distinct] for i, name in enumerate(names)}, rows, places)


def key_values(
    request: JoinRequest, wanted: LookupPlan, key: str, columns: Sequence[str], rows: list[int]
) -> list[Any]:
    """The values of a join key for these rows, in its type."""
    name = wanted.keys[key]
    values = request.entities.get(key)
    if values is None:
        raise InvalidInput(missing_key(wanted, key, columns))
    kind = wanted.types.get(key, "")
    allowed = KEY_TYPES.get(kind, ANY_KEY)
    cells = casting.squeeze_column(values, name).tolist() if isinstance(values, np.ndarray) else values
    found = []
    for row in rows:
        cell = cells[row]
        if type(cell) is bytes and bytes not in allowed[:1]:
            cell = casting.decode_text(cell, name, row)
        if type(cell) is float and kind in INTEGERS and cell.is_integer() and isinstance(values, np.ndarray):
            if abs(cell) >= casting.MAX_EXACT_IN_DOUBLE:  # of another entity perhaps
                raise refuse_key(kind, name, row, "a floating-point number too large to be exact")
            cell = int(cell)  # a table that had nulls elsewhere in the column
        if cell is MISSING:
            raise InvalidInput(f"row {row}: {missing_key(wanted, key, columns)}")
        if type(cell) not in allowed:
            raise refuse_key(kind, name, row, casting.json_type(cell))
        if kind in INTEGERS and cell not in INTEGERS[kind]:
            raise refuse_key(kind, name, row, "a number out of its range")
        found.append(cell)
    return found


def missing_key(wanted: LookupPlan, key: str, columns: Sequence[str]) -> str:
    found_by_it = [column for column in columns if key in wanted.keys_of([column])]
    return f"missing input '{wanted.keys[key]}', by which {quoted(found_by_it)} would be looked up"


def refuse_key(kind: str, name: str, row: int, found: str) -> InvalidInput:
    expected = f"{kind} in Feast" if kind else "a value"
    return casting.mismatch(name, row, f"the key of an entity ({expected})", found)


def joined(request: JoinRequest, found: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
    """The request with what was found: for each lookup, by column, a value for each distinct key."""
    columns = dict(request.columns)
    for lookup, values in zip(request.lookups, found, strict=True):
        for column in lookup.columns:
            cells = columns.get(column)
            if len(lookup.rows) == request.count:
                columns[column] = [values[column][place] for place in lookup.places]
                continue
            if cells is request.columns.get(column):  # the caller's own list stays as it is
                cells = list(cells) if cells is not None else [MISSING] * request.count
                columns[column] = cells
            for row, place in zip(lookup.rows, lookup.places, strict=True):
                cells[row] = values[column][place]  # type: ignore[index]
    return replace(request.batch, columns=columns, rows=None, literals=True, entities=request.entities)
