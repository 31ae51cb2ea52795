"""Errors of Feast and its clients, classified and shortened."""

from __future__ import annotations

from predictors.features.store import FeastRefused, FeastUnavailable

MAX_MESSAGE_LENGTH = 300
"""Characters of a foreign message."""
TIMEOUTS = ("Timeout",)
UNREACHABLE = ("Connection", "OperationalError", "InterfaceError", "ServiceUnavailable", "EndpointConnection")
"""Parts of the names of error classes that clients of online stores raise, and of their base classes."""


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_MESSAGE_LENGTH else text[:MAX_MESSAGE_LENGTH] + "…"


def reason_of(error: BaseException) -> str:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if any(part in kind for kind in kinds for part in TIMEOUTS):
        return "timeout"
    if any(part in kind for kind in kinds for part in UNREACHABLE):
        return "unreachable"
    return "error"


def refusal(error: BaseException) -> FeastUnavailable:
    reason = reason_of(error)
    message = f"Feast's online store: {one_line(error)}"
    return FeastRefused(message) if reason == "error" else FeastUnavailable(reason, message)
