"""The categories that XGBoost, from version 3.1 on, stores with a Booster that was trained with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from packaging.version import InvalidVersion, Version

from predictors.model.categories import Categories, CategoryColumn, CutName
from predictors.protocol.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

KEY = '"cats":'
ONLY_CODES = "the model's file does not hold its categories, only codes: XGBoost stores them from version 3.1 on"
FIRST_TO_KEEP_NAMES = Version("3.3")
"""Before it, XGBoost takes the lengths of pandas' categories in characters for lengths in bytes."""


class CodeTables:
    """The tables of requests with codes in the place of categories, as XGBoost takes them in any version."""

    def __init__(self, booster: Any, categories: Categories) -> None:
        self.names: list[str] | None = booster.feature_names
        self.categories = categories
        kinds = enumerate(booster.feature_types)
        self.without_categories = [i for i, kind in kinds if kind == "c" and i not in categories.columns]

    @property
    def names_without_categories(self) -> list[str]:
        return [self.names[i] for i in self.without_categories] if self.names else []

    def table(self, data: pd.DataFrame) -> pd.DataFrame:
        if self.names and set(self.names) == {*data.columns}:
            data = data[self.names]
        for position in self.without_categories:
            if position < data.shape[1] and any(isinstance(cell, str) for cell in data.iloc[:, position]):
                raise InvalidInput(f"input '{data.columns[position]}': expected numbers, got a string: {ONLY_CODES}")
        return self.categories.as_codes(data)

    def array(self, data: pd.DataFrame) -> Any:
        """The table without its names, if they are those of the training; else the table, which XGBoost refuses."""
        table = self.table(data)
        return table.to_numpy(np.float64) if self.names in (None, [*table.columns]) else table


def holds_categories(booster: Any) -> bool:
    return hasattr(booster, "get_categories") and not booster.get_categories().empty()


def stored_categories(booster: Any, saved_by: str) -> dict[int, CategoryColumn]:
    """The columns of categories by position; `saved_by` is the version of XGBoost that has saved the model."""
    if not holds_categories(booster):
        return {}
    text = bytes(booster.save_raw("json")).decode(errors="replace")  # the form in which others may read them
    stored, _ = json.JSONDecoder().raw_decode(text, text.index(KEY) + len(KEY))
    return {
        position: column_of(encoded, cuts_names(saved_by))
        for position, (kind, encoded) in enumerate(zip(booster.feature_types, stored["enc"], strict=True))
        if kind == "c" and (encoded.get("offsets") or encoded["values"])
    }


def cuts_names(version: str) -> bool:
    try:
        return Version(version) < FIRST_TO_KEEP_NAMES
    except InvalidVersion:
        return True


def column_of(encoded: dict[str, Any], cut: bool) -> CategoryColumn:
    if "offsets" not in encoded:
        return CategoryColumn.of(encoded["values"])
    text, limits = bytes(value & 0xFF for value in encoded["values"]), encoded["offsets"]
    names = [text[start:end] for start, end in pairwise(limits)]
    if text.isascii():
        return CategoryColumn.of([name.decode() for name in names])
    by_characters = read_by_characters(text.decode(errors="ignore"), limits)
    try:
        by_bytes = CategoryColumn.of([name.decode() for name in names])
    except UnicodeDecodeError:
        return by_characters
    # Both readings are possible: what they agree on, or only the likelier one has, can be relied on.
    column, other = (by_characters, by_bytes) if cut else (by_bytes, by_characters)
    sure = {name: code for name, code in column.codes.items() if other.codes.get(name, code) == code}
    doubtful = [CutName(name, len(name)) for name in column.codes if name not in sure]
    return CategoryColumn(sure, (*column.cut, *doubtful))


def read_by_characters(text: str, limits: Sequence[int]) -> CategoryColumn:
    """The names as XGBoost 3.1 and 3.2 have cut them: as many bytes are stored as the names have characters."""
    codes, cut = {}, []
    for code, (start, end) in enumerate(pairwise(limits)):
        name = text[start:end]
        if len(name) == end - start:
            codes[name] = code
        else:
            cut.append(CutName(name, end - start))
    return CategoryColumn(codes, tuple(cut))
