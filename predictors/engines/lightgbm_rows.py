"""LightGBM's predictions for a single row by its C interface, which its Python package does not have.

A prepared call spares what the package does for each matrix: it checks, copies, and sets up the prediction anew.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from predictors.protocol.casting import Array

NORMAL, DOUBLES, ALL_ITERATIONS = 0, 1, -1  # of the C interface
OPTIONS = b"num_threads=1"


class PreparedCall:
    """A call for one row, with memory that it writes to: each thread needs its own."""

    def __init__(self, booster: Any) -> None:
        self.library, self.booster, self.width = library(), booster, booster.num_feature()
        self.out, self.count, self.handle = (
            np.empty(booster.num_model_per_iteration()),
            ctypes.c_int64(),
            ctypes.c_void_p(),
        )
        iterations = booster.best_iteration if booster.best_iteration > 0 else ALL_ITERATIONS
        check(
            self.library.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle, NORMAL, 0, iterations, DOUBLES, self.width, OPTIONS,
                ctypes.byref(self.handle),
            )
        )  # fmt: skip
        self.places = ctypes.byref(self.count), ctypes.c_void_p(self.out.ctypes.data)
        self.shape = (1, len(self.out)) if len(self.out) > 1 else (1,)

    def __call__(self, row: Array) -> Array:
        row = np.ascontiguousarray(row, dtype=np.float64)
        if row.size != self.width:  # the library would read what lies behind it
            raise ValueError(f"expected {self.width} values, got {row.size}")
        check(
            self.library.LGBM_BoosterPredictForMatSingleRowFast(
                self.handle, ctypes.c_void_p(row.ctypes.data), *self.places
            )
        )
        return self.out.reshape(self.shape).copy()

    def __del__(self) -> None:
        self.library.LGBM_FastConfigFree(self.handle)


def single_row(booster: Any) -> Callable[[Array], Array] | None:
    """The prediction of a matrix of one row; None if this version of LightGBM has no call for it."""
    calls = threading.local()

    def predict(row: Array) -> Array:
        try:
            call: PreparedCall = calls.prepared
        except AttributeError:
            call = calls.prepared = PreparedCall(booster)
        return call(row)

    return predict if hasattr(library(), "LGBM_BoosterPredictForMatSingleRowFastInit") else None


def library() -> Any:
    from lightgbm.basic import _LIB

    return _LIB


def check(status: int) -> None:
    if status:
        raise ValueError(library().LGBM_GetLastError())
