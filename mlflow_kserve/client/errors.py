"""What a request to the control plane can come to, besides its reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

CONFLICTS = (HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)
AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


class ApiError(Exception):
    """A request that came to nothing."""


class ApiUnreachable(ApiError):
    """Nothing answers, or what answers cannot reach its store."""


class ApiRefused(ApiError):
    """The control plane has refused the request, and changed nothing; `problem` is what it said."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(in_lines(problem))
        self.status, self.problem = status, problem


class ApiConflict(ApiRefused):
    """It conflicts with what is there, or with a change under way."""


class ApiFailed(ApiRefused):
    """The control plane itself has failed."""


def error_of(status: int, content: bytes) -> ApiError:
    """The error of a reply that is none of success."""
    problem = problem_of(status, content)
    if status in AWAY:
        return ApiUnreachable(in_lines(problem))
    if status in CONFLICTS:
        return ApiConflict(status, problem)
    return (ApiFailed if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ApiRefused)(status, problem)


def problem_of(status: int, content: bytes) -> Mapping[str, Any]:
    try:
        problem = json.loads(content)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
        return problem
    text = content[:200].decode(errors="replace").strip()
    return {"status": status, "detail": f"the reply is {status}, and not one of a control plane: {text or 'empty'}"}


def in_lines(problem: Mapping[str, Any]) -> str:
    """A problem for people: each wrong field on a line, and the way out."""
    fields = problem.get("errors") or []
    lines = [f"{each['field']} {each['reason']}{expected(each)}" for each in fields] or [str(problem["detail"])]
    way_out = problem.get("way_out")
    return "\n".join([*lines, str(way_out)] if way_out else lines)


def expected(field: Mapping[str, Any]) -> str:
    return f": expected {field['expected']}" if field.get("expected") else ""
