"""Features of HistGradientBoosting that are categories: splits by sets of them, as columns that a threshold splits."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from predictors.engines.engine import Unsuited
from predictors.engines.steps import Step
from predictors.protocol.casting import Array

MAX_CELLS = 20_000_000  # of all tables


@dataclass
class CategorySplits:
    """A column for each split of the trees by a set of categories: 0 for its left branch, 1 for its right one."""

    width: int
    """The number of columns that the trees have without them."""
    tables: dict[int, list[Array]] = field(default_factory=dict)
    """By feature, the columns of its splits: their values for each code of a category, and last for none of them."""
    places: dict[tuple[Any, ...], int] = field(default_factory=dict)
    features: list[int] = field(default_factory=list)
    """The feature of each column, in the order in which the splits were found."""

    def column_of(self, feature: int, goes_left: Array, missing_left: bool) -> int:
        """The column for a split; trees that split alike share it."""
        branches = np.append(~goes_left, not missing_left).astype(np.float64)
        key = feature, branches.tobytes()
        if key not in self.places:
            self.places[key] = self.width + len(self.places)
            self.tables.setdefault(feature, []).append(branches)
            self.features.append(feature)
            if len(branches) * len(self.features) > MAX_CELLS:
                raise Unsuited("it splits by too many sets of categories")
        return self.places[key]

    def expansion(self) -> Step:
        """The function from rows with codes in the columns of categories to rows with the columns of the splits."""
        tables = {feature: np.stack(columns, axis=1) for feature, columns in self.tables.items()}
        found = np.concatenate([np.flatnonzero(np.array(self.features) == feature) for feature in tables])
        order = np.argsort(found)  # the tables stand feature by feature

        def expand(rows: Array) -> Array:
            branches = []
            for feature, table in tables.items():
                codes = rows[:, feature]
                known = np.where(codes >= 0, codes, len(table) - 1)  # NaN is not
                branches.append(table.take(known.astype(np.intp), axis=0))
            return np.concatenate([rows, np.concatenate(branches, axis=1).take(order, axis=1)], axis=1)

        return expand


def without_preprocessor(model: Any) -> tuple[Any, Any]:
    """The encoder of a model's categories, and the model as it is after it; the encoder is None if it has none."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    preprocessor = getattr(model, "_preprocessor", None)
    if type(model) not in (HistGradientBoostingClassifier, HistGradientBoostingRegressor) or preprocessor is None:
        return None, model
    core = copy.copy(model)
    core._preprocessor = None
    vars(core).pop("feature_names_in_", None)
    return preprocessor, core


def categories_of(preprocessor: Any) -> Sequence[Array]:
    """The categories of the first columns after the encoder, in the order of their codes, without a missing one."""
    categories: Sequence[Array] = preprocessor.named_transformers_["encoder"].categories_
    return [known[: len(known) - (known[-1] != known[-1] or known[-1] is None)] for known in categories]


def code_counts(model: Any) -> Mapping[int, int]:
    """The number of codes in each column of categories, after the encoder of a model."""
    bins, counts = model._bin_mapper, {}
    for column in np.flatnonzero(() if bins.is_categorical_ is None else bins.is_categorical_):
        codes = bins.bin_thresholds_[column]
        if not np.array_equal(codes, np.arange(len(codes))):
            raise Unsuited("its categories are no codes")
        counts[int(column)] = len(codes)
    return counts


def encoding_numbers(preprocessor: Any) -> tuple[Step, list[int]]:
    """The encoder as a function of a matrix, and the columns of that in the encoder's order."""
    categories = categories_of(preprocessor)
    if not all(isinstance(category, (int, float)) for known in categories for category in known.tolist()):
        raise Unsuited("it has categories that are no numbers")
    known_numbers = [known.astype(np.float64) for known in categories]
    places = preprocessor._transformer_to_input_indices
    order = [*places["encoder"], *places["numerical"]]

    def encode(rows: Array) -> Array:
        encoded = rows[:, order].astype(np.float64, copy=False)
        for place, known in enumerate(known_numbers):
            codes = known.searchsorted(encoded[:, place]).clip(max=len(known) - 1)
            encoded[:, place] = np.where(known[codes] == encoded[:, place], codes, np.nan)
        return encoded

    return encode, order
