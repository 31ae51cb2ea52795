"""Rows that test an engine: ordinary ones, and those on which implementations of the same model tend to differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from predictors.engines.engine import Engine
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE, Array

THRESHOLD_ROWS, ORDINARY_ROWS, OTHER_ROWS = 2000, 500, 200
MIN_TENSOR_ROWS, MAX_TENSOR_VALUES = 20, 500_000  # of a group
ORDINARY = "ordinary rows"
EXTREMES = (0.0, -0.0, 1.0, -1.0, 5e-324, 1e-300, -1e-30, 1e30, -1e30, 3.4e38, -3.4e38, 3.5e38, 1e300, -1e300)


@dataclass(frozen=True)
class Probing:
    """The rows that a model accepts."""

    width: int
    dtype: np.dtype[Any]
    integers: Array | None = None
    """The positions of the columns of integers."""
    columnwise: bool = False
    """Whether the model's library gets the rows from a DataFrame, which lies in memory column by column."""
    example: Array | None = None
    codes: Mapping[int, int] = field(default_factory=dict)
    """By column, the number of codes that stand for its categories; NaN is a code, too."""

    @property
    def layouts(self) -> Sequence[bool]:
        """A DataFrame of integers is also copied row by row, when it is multiplied by doubles."""
        integers = self.columnwise and self.integers is not None and len(self.integers) == self.width
        return (self.columnwise, False) if integers else (self.columnwise,)

    def groups(self, engine: Engine) -> dict[str, Array]:
        """Groups of rows by their description for messages. They are the same on every call."""
        width, example, thresholds = self.width, self.example, engine.thresholds
        random = np.random.default_rng(20)
        ordinary = random.normal(size=(ORDINARY_ROWS, width)) * 10 ** random.uniform(-2, 3, size=(ORDINARY_ROWS, width))
        groups = {ORDINARY: ordinary}
        if example is not None:
            groups = {"the input example": example, **groups}
            jitter = random.normal(1, 0.3, size=(ORDINARY_ROWS, width))
            groups["rows like the example"] = example[random.integers(len(example), size=ORDINARY_ROWS)] * jitter
        if any(map(len, thresholds)):
            groups["rows at split thresholds"] = rows_at_thresholds(thresholds, random)
        groups["extreme rows"] = random.choice(EXTREMES, size=(OTHER_ROWS, width))
        missing = ordinary[:OTHER_ROWS].copy()
        missing[random.random(missing.shape) < 0.3] = np.nan
        groups["rows with missing values"] = missing
        infinite = ordinary[:OTHER_ROWS].copy()
        infinite[random.random(infinite.shape) < 0.3] = np.inf
        groups["rows with infinity"] = infinite
        for column, count in self.codes.items():
            for rows in groups.values():
                rows[:, column] = random.choice([*range(count), np.nan], size=len(rows))
        with np.errstate(over="ignore"):
            return {name: round_integers(rows, self.integers).astype(self.dtype) for name, rows in groups.items()}


@dataclass(frozen=True)
class TensorProbing:
    """The rows that a model of tensors accepts."""

    shape: tuple[int, ...]
    """Of a row."""
    dtype: np.dtype[Any]
    example: Array | None = None
    layouts: ClassVar[Sequence[bool]] = (False,)

    def groups(self, engine: Engine) -> dict[str, Array]:
        """Fewer rows where each has many numbers; integers are those of the example, as others may have no meaning."""
        random, example = np.random.default_rng(20), self.example
        size = math.prod(self.shape)
        count = max(MIN_TENSOR_ROWS, min(OTHER_ROWS, MAX_TENSOR_VALUES // max(size, 1)))
        shape = (count, *self.shape)
        groups: dict[str, Array]
        if self.dtype.itemsize == 1:  # the pixels of an image
            limits = np.iinfo(self.dtype)
            groups = {ORDINARY: random.integers(limits.min, limits.max, size=shape, endpoint=True)}
        elif self.dtype.kind != "f":
            values = np.arange(2) if example is None or not example.size else example.reshape(-1)
            groups = {ORDINARY: random.choice(values, size=shape)}
        else:
            ordinary = random.normal(size=shape) * 10 ** random.uniform(-2, 1, size=shape)
            holes = random.random(shape) < 0.1
            groups = {
                ORDINARY: ordinary,
                "extreme rows": random.choice(EXTREMES, size=shape),
                "rows with missing values": np.where(holes, np.nan, ordinary),
                "rows with infinity": np.where(holes, np.inf, ordinary),
            }
        if example is not None and len(example):
            groups["the input example"] = example[:count]
            if self.dtype.kind == "f":
                jitter = random.normal(1, 0.3, size=shape)
                groups["rows like the example"] = example[random.integers(len(example), size=count)] * jitter
        with np.errstate(over="ignore"):
            return {name: rows.astype(self.dtype) for name, rows in groups.items()}


def rows_at_thresholds(thresholds: Sequence[Array], random: np.random.Generator) -> Array:
    """Rows whose values are thresholds, their nearest neighbours in single or double precision, or close to them."""
    columns = []
    for limits in thresholds:
        if not len(limits):
            columns.append(random.normal(size=THRESHOLD_ROWS))
            continue
        single = limits.astype(np.float32)
        pool = np.concatenate([
            limits, np.nextafter(limits, np.inf), np.nextafter(limits, -np.inf),
            single, np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf)),
            limits + random.normal(size=len(limits)) * (limits.std() + 1e-3),
        ])  # fmt: skip
        columns.append(random.choice(pool, size=THRESHOLD_ROWS))
    return np.stack(columns, axis=1)


def round_integers(rows: Array, integers: Array | None) -> Array:
    """The rows with integers in the columns of integers."""
    if integers is not None:
        rows = rows.copy()
        limit = min(MAX_EXACT_IN_DOUBLE, 2**31) - 1
        rows[:, integers] = np.clip(np.nan_to_num(np.rint(rows[:, integers])), -limit, limit)
    return rows
