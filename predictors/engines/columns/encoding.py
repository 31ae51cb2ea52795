"""Encoders as tables: what a transformer makes of each category is asked of the transformer itself.

A chain of imputers and encoders treats every column by itself, and alike all values that are none of its categories. So
its output for any row follows from its outputs for each category of each column.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from typing import Any

import numpy as np

from predictors.engines.columns.categories import CategoryTable, Codes, category_table
from predictors.engines.columns.features import Features, with_equal_rows
from predictors.engines.columns.frames import Cell, frame_of
from predictors.engines.engine import Declined, Unsuited
from predictors.protocol.casting import Array
from predictors.protocol.mixed_rows import ColumnType, MixedRows

MAX_OUTPUTS = 200_000_000  # of all categories: they are asked for in about a second


@dataclass(frozen=True)
class Encoding:
    """An encoder of several columns, as a function from rows to its output."""

    columns: Sequence[tuple[ColumnType, Codes]]
    """Those that the output depends on."""
    checked: Sequence[tuple[ColumnType, Codes]]
    """Those that it does not depend on, but whose unknown values are refused."""
    indices: Array
    """For each code the positions of its entries in the output."""
    values: Array
    width: int
    sparse: bool
    """Whether the output is sparse."""

    def __call__(self, rows: MixedRows) -> Features:
        for column, codes in self.checked:
            for cell in cells_of(column, rows):
                codes[cell]
        count, columns = len(rows), self.columns
        found = chain.from_iterable([map(codes.__getitem__, cells_of(column, rows)) for column, codes in columns])
        chosen = np.fromiter(found, np.intp, count * len(columns)).reshape(len(columns), count).T
        entries = with_equal_rows(
            self.indices.take(chosen, axis=0).reshape(count, -1),
            self.values.take(chosen, axis=0).reshape(count, -1),
            self.width,
        )
        return entries if self.sparse else entries.dense()


def cells_of(column: ColumnType, rows: MixedRows) -> Sequence[Cell]:
    if column.is_text:
        return rows.texts[column.place]
    numbers = rows.numbers[:, column.place].tolist()
    if inf in numbers or -inf in numbers:
        raise Declined
    return [None if number != number else number for number in numbers]


def encoding_of(
    transform: Callable[[Any], Any], columns: Sequence[ColumnType], categories: Sequence[Sequence[Cell]]
) -> Encoding:
    """The encoding of columns by `transform`, which takes a DataFrame, from the categories that it knows."""
    base = [known[0] for known in categories]
    first = transform(frame_of(columns, [base]))
    start = as_matrix(first)[0]
    if sum(map(len, categories)) * len(start) > MAX_OUTPUTS:
        raise Unsuited("it has too many categories")

    def outputs_at(place: int) -> Callable[[Sequence[Cell]], Array]:
        def outputs(cells: Sequence[Cell]) -> Array:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return as_matrix(
                    transform(frame_of(columns, [[*base[:place], cell, *base[place + 1 :]] for cell in cells]))
                )

        return outputs

    tables = [
        category_table(column, known, outputs_at(place), start)
        for place, (column, known) in enumerate(zip(columns, categories, strict=True))
    ]
    tables = with_constants(tables, start)
    owning = [table for table in tables if len(table.owned)]
    if not owning:
        raise Unsuited("its output is always the same")
    size = max(1, *(table.most_entries for table in owning))
    indices, values = zip(*(table.padded(size) for table in owning), strict=True)
    offset = 0
    for table in owning:
        table.codes.shift(offset)
        offset += table.count
    return Encoding(
        [(table.column, table.codes) for table in owning],
        [(table.column, table.codes) for table in tables if not len(table.owned)],
        np.concatenate(indices),
        np.concatenate(values),
        len(start),
        sparse=hasattr(first, "toarray"),
    )


def with_constants(tables: list[CategoryTable], start: Array) -> list[CategoryTable]:
    """The tables with the outputs that depend on no column: each belongs to the column before whose own it stands."""
    owned = np.concatenate([table.owned for table in tables])
    if len(np.unique(owned)) < len(owned):
        raise Unsuited("an output depends on several columns")
    constant = np.setdiff1d(np.flatnonzero(start), owned)
    for number, table in enumerate(tables):
        last = table.owned.max(initial=-1)
        own = constant if number == len(tables) - 1 else constant[constant < last]
        if len(own):
            constant = np.setdiff1d(constant, own)
            tables[number] = with_entries(table, own, start)
    return tables


def with_entries(table: CategoryTable, positions: Array, start: Array) -> CategoryTable:
    """The table with the same entries for every category, in addition."""
    count = table.count
    rows = np.concatenate((table.rows, np.tile(np.arange(count), len(positions))))
    places = np.concatenate((table.positions, np.repeat(positions, count)))
    values = np.concatenate((table.values, np.repeat(start[positions], count)))
    order = np.lexsort((places, rows))
    return replace(
        table, owned=np.union1d(table.owned, positions), rows=rows[order], positions=places[order], values=values[order]
    )


def as_matrix(outcome: Any) -> Array:
    return np.asarray(outcome.toarray() if hasattr(outcome, "toarray") else outcome, dtype=np.float64)
