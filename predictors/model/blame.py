"""Whether a failed prediction is the caller's fault or the model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from predictors.model.loaded import Loaded
from predictors.model.reasons import is_raised_by_mlflow, reason
from predictors.protocol.errors import InvalidInput, ModelFailure, RequestError


def classify_failure(error: BaseException, loaded: Loaded, data: Any) -> RequestError:
    """The error to answer. It quotes nothing of the model's message that may be data."""
    kind, native, signed = type(error).__name__, loaded.native, loaded.plan.has_signature
    if isinstance(error, ValueError) and native.blames_input and has_nulls(data):
        return InvalidInput("the model does not take null or NaN, and the input holds some")
    about_values = isinstance(error, (ValueError, TypeError, KeyError))
    about_shape = isinstance(error, (RuntimeError, IndexError))
    if is_client_error(error) or (native.blames_input and about_values) or is_raised_by_mlflow(error):
        refused = InvalidInput(f"the model refused the input: {reason(error, data) or kind}")
        refused.mlflow_code = getattr(error, "error_code", "") if is_client_error(error) else ""
        return refused
    if not signed and (about_values or about_shape):
        words = reason(error, data) or f"{kind}; it has no signature that says what it takes"
        return InvalidInput(f"the model refused the input: {words}")
    return ModelFailure(f"the model failed on this input ({kind}); the server's log has the details")


def is_client_error(error: BaseException) -> bool:
    """Whether MLflow itself says that the caller is at fault."""
    code = getattr(error, "error_code", None)
    return type(error).__module__.startswith("mlflow") and code in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")


def has_nulls(data: Any) -> bool:
    import numpy as np
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return bool(data.isna().to_numpy().any())
    arrays = list(data.values()) if isinstance(data, Mapping) else [data]
    return any(isinstance(a, np.ndarray) and a.dtype.kind == "f" and bool(np.isnan(a).any()) for a in arrays)
