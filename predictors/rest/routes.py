"""Routes: a method and a path, and what answers them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from predictors.rest.asgi import Request, Response

Handler = Callable[[Request], Awaitable[Response]]


LIVE = ("/", "/health", "/health/live", "/healthcheck", "/v2/health/live")


@dataclass(frozen=True, slots=True)
class Route:
    verb: str
    pattern: re.Pattern[str]
    handler: Handler
    protocol: str = ""
    """Of prediction routes: v1, v2 or invocations; decides the shape of errors, and they are counted."""
    kind: str = ""
    """Who asks for it: callers (predict), operators (admin), probes (probe), scrapers (metrics), readers (page), MLflow
    (hook), or anybody (open); with authentication on, what has none of these is for operators."""
    path: str = ""
    """What the pattern was made from."""


def path_pattern(path: str) -> str:
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", re.escape(path))
