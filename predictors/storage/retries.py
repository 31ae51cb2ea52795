"""Retries with exponential backoff for failures that may be temporary."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from predictors.storage.failures import SourceError, StorageError, one_line

T = TypeVar("T")


# MLflow's error codes that another attempt will not change.
PERMANENT_CODES = frozenset(
    {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED", "UNAUTHENTICATED"}
    | {"ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "NOT_FOUND", "INVALID_STATE", "UNAUTHORIZED"}
)


class RetryPolicy(Protocol):
    """The settings of retries."""

    @property
    def download_retries(self) -> int: ...
    @property
    def download_backoff(self) -> float: ...


def retried(action: Callable[[], T], settings: RetryPolicy, note: Callable[[str], None], what: str) -> T:
    """Runs the action until it succeeds; SourceError if the failure is permanent or the last retry failed."""
    pause = settings.download_backoff
    for left in range(settings.download_retries, -1, -1):
        try:
            return action()
        except SourceError:
            raise
        except Exception as error:
            reason = f"{what} failed: {error if isinstance(error, StorageError) else one_line(error)}"
            if left == 0 or is_permanent(error):
                raise SourceError(reason) from error
            note(f"{reason}; trying again in about {pause:g} s ({left} left)")
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            pause *= 2
    raise AssertionError("unreachable")  # pragma: no cover


def is_permanent(error: BaseException) -> bool:
    if isinstance(error, StorageError):
        cause = error.__cause__
        return error.permanent if cause is None or type(error) is not StorageError else is_permanent(cause)
    code = getattr(error, "error_code", None)
    if code is not None:
        return str(code) in PERMANENT_CODES
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return 400 <= int(status) < 500 and status not in (408, 425, 429)
    return isinstance(error, (ImportError, FileNotFoundError, PermissionError, ValueError, TypeError))
