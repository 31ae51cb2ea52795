"""Errors as callers see them: which field, why, and the way out (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One wrong field."""

    field: str
    """Its path in the body, such as api_serve_infra_config.cores."""
    reason: str
    expected: str | None = None

    def as_json(self) -> dict[str, str]:
        expected = {} if self.expected is None else {"expected": self.expected}
        return {"field": self.field, "reason": self.reason, **expected}


class ApiProblem(Exception):
    """A request that is refused; nothing has been changed."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        way_out: str | None = None,
        fields: Iterable[FieldProblem] = (),
        headers: Sequence[tuple[str, str]] = (),
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.way_out = status, detail, way_out
        self.fields = list(fields)
        self.headers = dict(headers)
        self.members = members

    def as_json(self) -> dict[str, Any]:
        """The members of `application/problem+json`."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **({"way_out": self.way_out} if self.way_out else {}),
            **({"errors": [each.as_json() for each in self.fields]} if self.fields else {}),
            **self.members,
        }


def not_found(kind: str, name: str, way_out: str) -> ApiProblem:
    return ApiProblem(404, f"there is no {kind} '{name}'", way_out=way_out)


def conflict(detail: str, way_out: str, **members: Any) -> ApiProblem:
    return ApiProblem(409, detail, way_out=way_out, **members)


def unprocessable(fields: Sequence[FieldProblem]) -> ApiProblem:
    """All wrong fields at once."""
    listed = "; ".join(f"{each.field}: {each.reason}" for each in fields)
    way_out = "correct the fields named in errors; nothing has been changed"
    return ApiProblem(422, listed, way_out=way_out, fields=fields)


def wrong_field(field: str, reason: str, expected: str | None = None) -> ApiProblem:
    return unprocessable([FieldProblem(field, reason, expected)])
