"""XGBoost's predictions for a matrix by its C interface: its Python package takes longer than a few rows do."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from predictors.protocol.casting import Array

MATRIX = b'{"data":[%d,true],"shape":[%d,%d],"strides":null,"typestr":"<f4","version":3}'
FLOAT_SIZE = 4


def matrix_prediction(booster: Any, *, missing: float, iterations: tuple[int, int]) -> Callable[[Array], Array]:
    """The values of the booster's `inplace_predict` for rows of single precision."""
    from xgboost.core import _LIB, _check_call

    begin, end = iterations
    options = json.dumps(
        {
            "type": 0, "training": False, "iteration_begin": begin, "iteration_end": end, "strict_shape": False,
            "missing": float(missing), "cache_id": 0,
        }
    ).encode()  # fmt: skip

    def predict(rows: Array) -> Array:
        rows = np.ascontiguousarray(rows, dtype="<f4")
        matrix = MATRIX % (rows.ctypes.data, *rows.shape)
        lengths, dimensions, values = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64(), ctypes.c_void_p()
        _check_call(
            _LIB.XGBoosterPredictFromDense(
                booster.handle, matrix, options, None, ctypes.byref(lengths), ctypes.byref(dimensions),
                ctypes.byref(values),
            )
        )  # fmt: skip
        shape = lengths[: dimensions.value]
        size = math.prod(shape)
        if not values.value or not size:
            raise ValueError("XGBoost gave no values")
        # The memory is the library's, until this thread asks again.
        return np.frombuffer(bytearray(ctypes.string_at(values.value, size * FLOAT_SIZE)), "<f4").reshape(shape)

    return predict
