"""A spec file that a step of a rollout changes keeps its comments and its order."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from generator import SpecError
from generator.rewriting import GONE, rewritten

TEXT = """\
# the fraud team's
name: fraud  # in URLs, too
model: models:/fraud/7  # the one that was reviewed

replicas:
  min: 2  # never one
  # at night as well
  max: 8

environments:
  prod:
    namespace: ml-prod
    canary:
      model: models:/fraud/8
      percent: 10
    # everything below was measured
    resources: {cores: 4}
"""
CANARY = {"model": "models:/fraud/8", "percent": 10}


def test_a_canary_is_added_and_everything_else_stays() -> None:
    made = rewritten(TEXT, (), {"canary": CANARY})
    assert made == TEXT + "canary:\n  model: models:/fraud/8\n  percent: 10\n"


def test_a_promotion() -> None:
    made = rewritten(
        TEXT + "canary: {model: models:/fraud/8, percent: 10}\n", (), {"model": "models:/fraud/8", "canary": GONE}
    )
    assert made == TEXT.replace("model: models:/fraud/7  #", "model: models:/fraud/8  #")


def test_in_an_environment() -> None:
    at = ("environments", "prod")
    made = rewritten(TEXT, at, {"canary": {**CANARY, "percent": 50}})
    assert made == TEXT.replace("percent: 10", "percent: 50")
    gone = rewritten(TEXT, at, {"canary": GONE, "model": "models:/fraud/8"})
    assert "canary" not in gone
    assert "    # everything below was measured\n    resources: {cores: 4}\n    model: models:/fraud/8\n" in gone
    assert yaml.safe_load(gone)["environments"]["prod"] == {
        "namespace": "ml-prod", "resources": {"cores": 4}, "model": "models:/fraud/8",
    }  # fmt: skip


def test_what_is_not_there_cannot_go() -> None:
    assert rewritten(TEXT, (), {"revision": GONE}) == TEXT


def test_a_text_without_an_end_of_line() -> None:
    assert yaml.safe_load(rewritten("name: fraud", (), {"canary": CANARY})) == {"name": "fraud", "canary": CANARY}


@pytest.mark.parametrize("text", ["{name: fraud}", "environments: {prod: {}}"])
def test_what_is_written_on_one_line_is_left_alone(text: str) -> None:
    at = ("environments", "prod") if "prod" in text else ()
    with pytest.raises(SpecError, match="cannot be changed in place"):
        rewritten(text, at, {"canary": CANARY})


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
specs = st.dictionaries(st.sampled_from(["model", "canary", "image", "a b"]), values, min_size=1, max_size=5)


@given(specs, specs, st.sampled_from([False, None]))
def test_whatever_is_written_reads_back(before: dict[str, Any], changes: dict[str, Any], flow: bool | None) -> None:
    before = {"name": "fraud", **before}
    text = yaml.safe_dump(before, default_flow_style=flow, sort_keys=False, allow_unicode=True)
    if text.startswith("{"):
        return
    assert yaml.safe_load(rewritten(text, (), changes)) == {**before, **changes}
    kept = {key: value for key, value in before.items() if key not in changes}
    assert yaml.safe_load(rewritten(text, (), dict.fromkeys(changes, GONE))) == kept
