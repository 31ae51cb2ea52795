"""Specs that are refused, each with the place, a word of the reason, and what makes it right."""

from __future__ import annotations

from typing import Any

import pytest

from generator import ServeSpec, SpecError, render
from generator.notes import notes_of
from generator.render import planned

Refusal = tuple[dict[str, Any], str, str, dict[str, Any]]


def refused_with_a_way_out(base: dict[str, Any], refusal: Refusal) -> None:
    said, where, word, mended = refusal
    with pytest.raises(SpecError) as caught:
        render(ServeSpec.model_validate(base | said))
    messages = [problem.message for problem in caught.value.problems if problem.where == where]
    assert len(messages) == 1, caught.value.problems
    assert word in messages[0]
    render(ServeSpec.model_validate(base | said | mended))


def noted_until_changed(base: dict[str, Any], case: tuple[dict[str, Any], str, dict[str, Any]]) -> None:
    """What is said, a word of the note about it, and what makes the note needless."""
    said, word, without = case

    def noted(spec: dict[str, Any]) -> bool:
        return any(word in note for note in notes_of(planned(ServeSpec.model_validate(base | spec))))

    assert noted(said)
    assert not noted(said | without)
