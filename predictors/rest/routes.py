"""Routes: a method, a path and their handler."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from predictors.protocol.errors import MethodNotAllowed, NotFound
from predictors.rest.asgi import Request, Response

Handler = Callable[[Request], Awaitable[Response]]


LIVE = ("/", "/health", "/health/live", "/healthcheck", "/v2/health/live")


@dataclass(frozen=True, slots=True)
class Route:
    kind: str
    """Who asks for it: callers (predict), operators (admin), probes (probe), scrapers (metrics), readers (page), MLflow
    (hook), or anybody (open); with authentication on, any other kind is for operators."""
    verb: str
    path: str
    """With the names of its parts in braces."""
    handler: Handler
    protocol: str = ""
    """Of prediction routes: v1, v2 or invocations; decides the shape of errors, and they are counted."""


class Router:
    def __init__(self, routes: Iterable[Route], frequent: Iterable[str]) -> None:
        """The paths in `frequent`, of POST requests, are found without a search."""
        self.routes = [(re.compile(path_pattern(route.path)), route) for route in routes]
        self.frequent = {path: self.search("POST", path) for path in frequent}

    def find(self, verb: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route, and the parts of the path by name."""
        if verb == "POST" and path in self.frequent:
            return self.frequent[path]
        return self.search("GET" if verb == "HEAD" else verb, path.rstrip("/") or "/")

    def search(self, verb: str, path: str) -> tuple[Route, dict[str, str]]:
        allowed = []
        for pattern, route in self.routes:
            match = pattern.fullmatch(path)
            if match:
                if route.verb == verb:
                    return route, match.groupdict()
                allowed.append(route.verb)
        if allowed:
            raise MethodNotAllowed(f"this path takes {' or '.join(allowed)}", ", ".join(allowed))
        raise NotFound("no such path; /docs lists them all")


def path_pattern(path: str) -> str:
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", re.escape(path))
