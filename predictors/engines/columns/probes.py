"""Rows that test an engine of columns: texts that are categories, nearly so or not at all, and numbers as elsewhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from predictors.engines.engine import Engine
from predictors.engines.probes import EXTREMES, ORDINARY
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE, Array
from predictors.protocol.mixed_rows import ColumnType, MixedRows

ORDINARY_ROWS, OTHER_ROWS, MAX_CATEGORY_ROWS = 500, 200, 2000
TEXTS = ("text", "other text", "café", "1", "1.0", "true", "nan", "None", "a b c", "日本語")
UNUSUAL = (
    "",
    " ",
    "\n",
    "x" * 5000,
    "wörter " * 500,
    "e\u0301",
    "\u00e9",
    "\ufb01",
    "ﬀ",
    "ß",
    "İ",
    "\u200b",
    "😀",
    "\x00",
)
DATES = ("2024-02-29", "2024-02-29T12:30:00", "1700-01-01T00:00", "2199-12-31 23:59:59.999999999", None)
MISSING_SHARE = 0.3


@dataclass(frozen=True)
class ColumnProbing:
    """The rows that a model of these columns accepts."""

    columns: Sequence[ColumnType]
    example: MixedRows | None = None
    layouts: ClassVar[Sequence[bool]] = (False,)  # the engine's own steps decide

    def groups(self, engine: Engine) -> dict[str, MixedRows]:
        return ProbeMaker(self, engine).groups()


class ProbeMaker:
    """Makes the groups of rows for one engine."""

    def __init__(self, probing: ColumnProbing, engine: Engine) -> None:
        self.random = np.random.default_rng(22)
        self.columns, self.example = probing.columns, probing.example
        self.texts = [column for column in self.columns if column.is_text]
        self.lists = [column for column in self.columns if not column.is_number]
        """The columns of text and of dates, in the order of their places."""
        self.numeric = [column for column in self.columns if column.is_number]
        self.known = {name: list(cells) for name, cells in engine.categories.items()}

    def groups(self) -> dict[str, MixedRows]:
        groups = {ORDINARY: self.rows(ORDINARY_ROWS)}
        if self.example is not None:
            groups["the input example"] = self.example
            groups["rows like the example"] = self.rows_like(self.example)
        groups["rows with every category"] = self.every_category()
        if self.texts:
            groups["rows with unknown texts"] = self.with_texts(self.unknown)
            groups["rows with texts that resemble categories"] = self.with_texts(self.similar)
            groups["rows with unusual texts"] = self.with_texts(lambda column: [*UNUSUAL])
            groups["rows with empty texts"] = self.with_texts(lambda column: [""])
            groups["rows with null texts"] = self.with_texts(lambda column: [None, *self.known_texts(column)])
        if self.numeric:
            groups["extreme rows"] = self.with_numbers(lambda numbers: self.random.choice(EXTREMES, numbers.shape))
            groups["rows with missing values"] = self.with_numbers(self.with_holes)
            groups["rows with infinity"] = self.with_numbers(
                lambda numbers: np.where(self.random.random(numbers.shape) < MISSING_SHARE, np.inf, numbers)
            )
        return groups

    def rows(self, count: int) -> MixedRows:
        texts = [self.choices(DATES if column.is_date else self.known_texts(column), count) for column in self.lists]
        return MixedRows(self.of_types(self.ordinary_numbers(count)), texts)

    def choices(self, cells: Sequence[str | None], count: int) -> list[str | None]:
        return [cells[place] for place in self.random.integers(len(cells), size=count)]

    # -- texts --------------------------------------------------------------------------------------------------

    def known_texts(self, column: ColumnType) -> list[str | None]:
        example = self.example.texts[column.place] if self.example is not None else ()
        known = [cell for cell in self.known.get(column.name, ()) if isinstance(cell, str)]
        return [*dict.fromkeys([*known, *(cell for cell in example if cell is not None)])] or [*TEXTS]

    def unknown(self, column: ColumnType) -> list[str | None]:
        known = set(self.known_texts(column))
        return [text for text in TEXTS if text not in known] or ["no such category"]

    def similar(self, column: ColumnType) -> list[str | None]:
        """Texts that differ from categories in case, in Unicode form, or by a space."""
        changes = (
            str.upper, str.lower, str.title, str.swapcase, lambda text: text + " ", lambda text: " " + text,
            lambda text: unicodedata.normalize("NFD", text), lambda text: unicodedata.normalize("NFKC", text),
            lambda text: text[:-1], lambda text: text + text,
        )  # fmt: skip
        texts = [text for text in self.known_texts(column)[:50] if text is not None]
        return [change(text) for text in texts for change in changes]

    def with_texts(self, cells_of: Any) -> MixedRows:
        """Ordinary rows of which every column of text has one of `cells_of(column)`."""
        rows = self.rows(OTHER_ROWS)
        texts = [*rows.texts]
        for column in self.texts:
            texts[column.place] = self.choices(cells_of(column), OTHER_ROWS)
        return MixedRows(rows.numbers, texts)

    def every_category(self) -> MixedRows:
        sizes = [len(self.known.get(column.name, ())) for column in self.columns]
        count = min(max([*sizes, 1]), MAX_CATEGORY_ROWS)
        rows = self.rows(count)
        texts = [[*texts] for texts in rows.texts]
        for column in self.columns:
            cells = self.known.get(column.name, ())
            for row, cell in enumerate(cells[:count]):
                if column.is_text:
                    texts[column.place][row] = cell
                else:
                    rows.numbers[row, column.place] = cell
        return MixedRows(rows.numbers, texts)

    # -- numbers --------------------------------------------------------------------------------------------------

    def ordinary_numbers(self, count: int) -> Array:
        shape = count, len(self.numeric)
        numbers = self.random.normal(size=shape) * 10 ** self.random.uniform(-2, 3, size=shape)
        for column in self.numeric:
            cells = self.known.get(column.name)
            if cells:
                numbers[:, column.place] = self.random.choice(np.array(cells, dtype=np.float64), size=count)
        return numbers

    def of_types(self, numbers: Array) -> Array:
        """The numbers rounded to what their columns hold, column after column in memory."""
        numbers = np.asfortranarray(numbers)
        for column in self.numeric:
            values = numbers[:, column.place]
            if column.dtype.kind == "i":
                limit = min(np.iinfo(column.dtype).max, MAX_EXACT_IN_DOUBLE) - 1
                whole = np.clip(np.rint(values), -limit, limit) + 0.0
                values[:] = whole if column.nullable else np.nan_to_num(whole)
            elif column.dtype.kind == "b":
                values[:] = values > 0
            elif column.dtype == np.float32:
                with np.errstate(over="ignore"):
                    values[:] = values.astype(np.float32)
        return numbers

    def with_holes(self, numbers: Array) -> Array:
        return np.where(self.random.random(numbers.shape) < MISSING_SHARE, np.nan, numbers)

    def with_numbers(self, change: Any) -> MixedRows:
        rows = self.rows(OTHER_ROWS)
        return MixedRows(self.of_types(change(rows.numbers)), rows.texts)

    def rows_like(self, example: MixedRows) -> MixedRows:
        places = self.random.integers(len(example), size=ORDINARY_ROWS)
        jitter = self.random.normal(1, 0.3, size=(ORDINARY_ROWS, len(self.numeric)))
        texts = [[column[place] for place in places] for column in example.texts]
        return MixedRows(self.of_types(example.numbers[places] * jitter), texts)
