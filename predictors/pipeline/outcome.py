"""Exceptions as errors for the caller."""

from __future__ import annotations

import logging

import kserve.errors

from predictors.protocol.errors import (
    FeatureMissing,
    FeaturesUnavailable,
    InternalError,
    InvalidInput,
    ModelFailure,
    NotReady,
    RequestError,
)

log = logging.getLogger("predictors")


def request_error(error: Exception) -> RequestError:
    """Turns any exception into an error that can be sent; bugs are logged and not shown."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error.__cause__, (FeatureMissing, FeaturesUnavailable)):  # in KServe's words
        return error.__cause__
    if isinstance(error, kserve.errors.InvalidInput):  # from somebody's own hooks
        return InvalidInput(str(error))
    if isinstance(error, kserve.errors.ModelNotReady):
        return NotReady(str(error))
    if isinstance(error, kserve.errors.InferenceError):
        return ModelFailure(str(error))
    if isinstance(error, RecursionError):  # JSON may be nested a thousand levels deep
        return InvalidInput("the request is nested too deeply")
    log.error("a request failed in the server", exc_info=error)
    return InternalError(f"internal error ({type(error).__name__}); the server's log has the details")
