"""Specs that are refused, each with the place, a word of the reason, and what makes it right."""

from __future__ import annotations

from typing import Any

import pytest

from generator import ServeSpec, SpecError, render

Refusal = tuple[dict[str, Any], str, str, dict[str, Any]]


def refused_with_a_way_out(base: dict[str, Any], refusal: Refusal) -> None:
    said, where, word, mended = refusal
    with pytest.raises(SpecError) as caught:
        render(ServeSpec.model_validate(base | said))
    found = [problem.message for problem in caught.value.problems if problem.where == where]
    assert len(found) == 1, caught.value.problems
    assert word in found[0]
    render(ServeSpec.model_validate(base | said | mended))
