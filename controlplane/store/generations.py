"""Compare-and-swap: a row is written only if it still has the generation that was read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult

from controlplane.domain.problems import ApiProblem


def check_generation(result: CursorResult[Any]) -> None:
    """Raises ApiProblem (412) if no row had the generation."""
    if result.rowcount != 1:
        raise ApiProblem(412, "it has been changed meanwhile", way_out="read it again, and repeat the change")
