"""What went wrong between here and Feast, in the words of this package."""

from __future__ import annotations

from predictors.features.store import FeastRefused, FeastUnavailable

LINE = 300
"""Characters of somebody else's message."""
TIMEOUTS = ("Timeout",)
UNREACHABLE = ("Connection", "OperationalError", "InterfaceError", "ServiceUnavailable", "EndpointConnection")
"""In the names of the errors that the clients of online stores raise, and their kinds; Python's are among them."""


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LINE else text[:LINE] + "…"


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
