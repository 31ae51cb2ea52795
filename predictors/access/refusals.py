"""The answers to requests that are refused, with the challenges of RFC 6750."""

from __future__ import annotations

import math

from predictors.access.limits import Charge, Limiter
from predictors.protocol.errors import Forbidden, InvalidInput, TooManyRequests, Unauthorized
from predictors.protocol.errors import RequestError as RequestError  # callers of the checks catch it

REALM = 'Bearer realm="mlflow-kserve"'


def challenged(error: RequestError, challenge: str) -> RequestError:
    error.headers = (("www-authenticate", challenge),)
    return error


def no_token() -> RequestError:
    return challenged(Unauthorized("this route needs a token: send it as 'Authorization: Bearer …'"), REALM)


def two_tokens() -> RequestError:
    return challenged(
        InvalidInput("expected one Authorization header, got several"), f'{REALM}, error="invalid_request"'
    )


def invalid_token(reason: str) -> RequestError:
    return challenged(Unauthorized(reason), f'{REALM}, error="invalid_token", error_description="{reason}"')


def not_enough(scope: str | None) -> RequestError:
    required = f', scope="{scope}"' if scope else ""
    return challenged(
        Forbidden("this token does not open this route"), f'{REALM}, error="insufficient_scope"{required}'
    )


def closed(reason: str) -> RequestError:
    return Forbidden(reason)


def too_many(limiter: Limiter, charge: Charge) -> RequestError:
    """The headers are those that Envoy sends: they contain seconds, not dates."""
    error = TooManyRequests(f"too many requests: a client may send {limiter.rate}, and {limiter.burst} at once")
    error.headers = (
        ("retry-after", str(max(1, math.ceil(charge.wait)))),
        ("x-ratelimit-limit", str(limiter.burst)),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", str(math.ceil(charge.reset))),
    )
    return error
