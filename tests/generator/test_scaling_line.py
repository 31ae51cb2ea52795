"""The rules of scaling in one line: `70% CPU or 100 RPS per pod`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from generator.spec.scaling import Scaling, parse_line

BLANKS = st.sampled_from(["", " ", "  "])
ENDS = st.sampled_from(["", " per pod", " a pod", "/pod"])
PERCENT, COUNT = st.integers(1, 100), st.integers(1, 10_000)


@st.composite
def clauses(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A clause and what it means."""
    kind = draw(st.sampled_from(["cpu", "memory", "rps", "concurrency", "latency"]))
    if kind in ("cpu", "memory"):
        number = draw(PERCENT)
        sign = draw(st.sampled_from(["%", " %", "%  ", "% of "]))
        return f"{number}{sign}{' ' if sign == '%' else ''}{kind}", {kind: number}
    if kind == "latency":
        quantile, limit = draw(st.sampled_from(["p50", "p95", "p99"])), draw(st.sampled_from(["500ms", "1.5s", "2s"]))
        word = draw(st.sampled_from([" below ", "<", " under ", " latency < "]))
        return f"{quantile}{word}{limit}", {"latency": {"quantile": quantile, "below": limit}}
    number = draw(COUNT)
    words = {"rps": ["rps", "requests/s", "requests a second"], "concurrency": ["concurrent", "concurrent requests"]}
    return f"{number} {draw(st.sampled_from(words[kind]))}{draw(ENDS)}", {kind: number}


@given(
    st.lists(clauses(), min_size=1, max_size=5, unique_by=lambda clause: next(iter(clause[1]))),
    st.sampled_from([str.lower, str.upper, str.title]),
    st.sampled_from([" or ", "  or  ", " or\t"]),
    BLANKS,
)
def test_a_line_says_the_same_as_the_fields(
    said: list[tuple[str, dict[str, Any]]], case: Any, word: str, around: str
) -> None:
    line = around + case(word.join(text for text, _ in said)) + around
    fields = {name: value for _, rules in said for name, value in rules.items()}
    assert Scaling.model_validate(line) == Scaling.model_validate(fields)


def test_the_one_that_people_know() -> None:
    assert parse_line("70% CPU or 100 RPS per pod") == {"cpu": 70, "rps": 100}


@pytest.mark.parametrize("line", ["", "70", "CPU", "70% CPU and 100 RPS", "100% RPS", "p90 < 1s", "p95 < 1h", "or", "-1 RPS"])  # fmt: skip
def test_anything_else_is_told_what_it_may_be(line: str) -> None:
    with pytest.raises(ValidationError, match="is not a scaling rule: expected such as '70% CPU'"):
        Scaling.model_validate(line)


def test_a_rule_named_twice() -> None:
    with pytest.raises(ValidationError, match="names cpu twice"):
        Scaling.model_validate("70% CPU or 80% cpu")


def test_the_values_are_held_to_what_the_fields_hold() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 100"):
        Scaling.model_validate("170% CPU")
