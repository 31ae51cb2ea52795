"""Columns of categories, as XGBoost and LightGBM learn them from pandas: values become the codes of the training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from predictors.model.native import Method
from predictors.protocol.casting import Array
from predictors.protocol.errors import InvalidInput
from predictors.protocol.names import MAX_NAME, suggestion

if TYPE_CHECKING:
    import pandas as pd

MISSING_CODE = -1  # as in pandas


@dataclass(frozen=True)
class CutName:
    """A category of whose name the model's file holds only the start."""

    start: str
    length: int

    def may_be(self, value: Any) -> bool:
        return isinstance(value, str) and len(value) == self.length and value.startswith(self.start)


@dataclass(frozen=True)
class CategoryColumn:
    """The categories of one column and their codes."""

    codes: Mapping[Any, int]
    cut: tuple[CutName, ...] = ()

    @classmethod
    def of(cls, categories: Sequence[Any]) -> CategoryColumn:
        return cls({category: code for code, category in enumerate(categories)})

    def encode(self, values: pd.Series[Any], unseen: str) -> Array:
        """The codes of the values, `MISSING_CODE` for nulls; `unseen` is 'error' or 'missing'."""
        cells = values.tolist()
        codes = np.fromiter((self.codes.get(cell, MISSING_CODE) for cell in cells), np.int64, len(cells))
        unknown = (codes == MISSING_CODE) & values.notna().to_numpy()
        for row in np.flatnonzero(unknown).tolist() if unseen == "error" or self.cut else ():
            self.refuse(cells[row], f"input '{values.name}', row {row}", unseen)
        return codes

    def refuse(self, value: Any, where: str, unseen: str) -> None:
        name = f"'{str(value)[:MAX_NAME]}'"
        if any(cut.may_be(value) for cut in self.cut):
            reason = "the model's file does not hold its category's full name: XGBoost before 3.3 cuts non-ASCII names"
            raise InvalidInput(f"{where}: {reason} ({name})", logged=f"{where}: {reason}")
        if unseen == "error":
            known = suggestion([str(value)], [str(category) for category in self.codes])
            reason = f"{where}: the model was not trained with"
            raise InvalidInput(f"{reason} the category {name}{known}", logged=f"{reason} this category")


@dataclass(frozen=True)
class Categories:
    """The columns of categories of a model, by position."""

    columns: Mapping[int, CategoryColumn]
    unseen: str
    """What is done with an unseen category: 'error' or 'missing'."""

    def as_codes(self, data: pd.DataFrame) -> pd.DataFrame:
        """The data with codes in the place of categories, NaN for missing ones."""
        return self.replaced(data, lambda codes, column: np.where(codes == MISSING_CODE, np.nan, codes))

    def as_categories(self, data: pd.DataFrame) -> pd.DataFrame:
        """The data with pandas' categories, those of the training."""
        import pandas as pd

        return self.replaced(data, lambda codes, column: pd.Categorical.from_codes(codes, pd.Index([*column.codes])))

    def replaced(self, data: pd.DataFrame, replacement: Callable[[Array, CategoryColumn], Any]) -> pd.DataFrame:
        data = data.copy(deep=False)
        for position, column in self.columns.items():
            if position >= data.shape[1]:
                break
            codes = column.encode(data.iloc[:, position], self.unseen)
            data.isetitem(position, replacement(codes, column))
        return data.infer_objects()  # without a signature, one text makes objects of all columns


def converting(method: Method, convert: Callable[[pd.DataFrame], Any]) -> Method:
    """The method with tables converted; an array holds codes already."""

    def run(data: Any, params: Mapping[str, Any]) -> Any:
        return method(convert(data) if hasattr(data, "columns") else data, params)

    return run


def to_categories(data: pd.DataFrame, columns: Collection[int] = ()) -> pd.DataFrame:
    """The data with texts, and these columns, as pandas' categories: those of the data, not of the training."""
    chosen = [name for position, name in enumerate(data) if position in columns or data[name].dtype == object]
    return data.astype(dict.fromkeys(chosen, "category")) if chosen else data
