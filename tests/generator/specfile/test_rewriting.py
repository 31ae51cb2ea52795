"""A spec file that a step of a rollout changes keeps its comments and its order."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from generator import SpecError
from generator.specfile.rewriting import REMOVED, rewritten

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
    new_text = rewritten(TEXT, (), {"canary": CANARY})
    assert new_text == TEXT + "canary:\n  model: models:/fraud/8\n  percent: 10\n"


def test_a_promotion() -> None:
    new_text = rewritten(
        TEXT + "canary: {model: models:/fraud/8, percent: 10}\n", (), {"model": "models:/fraud/8", "canary": REMOVED}
    )
    assert new_text == TEXT.replace("model: models:/fraud/7  #", "model: models:/fraud/8  #")


def test_a_change_in_an_environment() -> None:
    at = ("environments", "prod")
    new_text = rewritten(TEXT, at, {"canary": {**CANARY, "percent": 50}})
    assert new_text == TEXT.replace("percent: 10", "percent: 50")
    gone = rewritten(TEXT, at, {"canary": REMOVED, "model": "models:/fraud/8"})
    assert "canary" not in gone
    assert "    # everything below was measured\n    resources: {cores: 4}\n    model: models:/fraud/8\n" in gone
    assert yaml.safe_load(gone)["environments"]["prod"] == {
        "namespace": "ml-prod", "resources": {"cores": 4}, "model": "models:/fraud/8",
    }  # fmt: skip


def test_what_is_not_there_cannot_go() -> None:
    assert rewritten(TEXT, (), {"revision": REMOVED}) == TEXT


def test_a_text_without_an_end_of_line() -> None:
    assert yaml.safe_load(rewritten("name: fraud", (), {"canary": CANARY})) == {"name": "fraud", "canary": CANARY}


ONE_LINE = (
    "environments:\n  staging: {namespace: ml}  # for all\n  prod: {kserve: 0.20, replicas: {min: 2}}  # for some\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            ONE_LINE,
            "environments:\n  staging: {namespace: ml}  # for all\n  prod:\n    kserve: 0.20\n"
            "    replicas: {min: 2}  # for some\n    revision: v8\n",
        ),
        ("environments: {prod: {a: 1}}", "environments:\n  prod:\n    a: 1\n    revision: v8\n"),
        ("environments: {prod: {}}  # ours\n", "environments:\n  prod:\n    revision: v8  # ours\n"),
        ("environments:\n  prod:\n    {}\n", "environments:\n  prod:\n    revision: v8\n"),
    ],
    ids=["on one line", "all on one line", "empty", "emptied"],
)
def test_an_environment_on_one_line_is_spread(text: str, expected: str) -> None:
    assert rewritten(text, ("environments", "prod"), {"revision": "v8"}) == expected


def test_an_environment_that_lost_its_only_field_takes_another() -> None:
    text = rewritten("environments:\n  prod:\n    canary: {}\nname: a\n", ("environments", "prod"), {"canary": REMOVED})
    text = rewritten(text, ("environments", "prod"), {"canary": None})
    assert yaml.safe_load(text) == {"environments": {"prod": {"canary": None}}, "name": "a"}


@pytest.mark.parametrize(
    ("text", "at", "key"),
    [
        ("{name: fraud}", (), "canary"),
        ("environments: {prod: {a: 1,\n b: 2}}", ("environments", "prod"), "canary"),
        ("environments:\n  staging: &s\n    a: 1\n  prod: *s\n", ("environments", "prod"), "canary"),
        ("a: &c {model: x}\ncanary: *c\nz: 1\n", (), "canary"),
    ],
    ids=["all on one line", "several lines in braces", "an alias of another environment", "an alias"],
)
def test_what_cannot_be_changed_alone_is_left_alone(text: str, at: tuple[str, ...], key: str) -> None:
    with pytest.raises(SpecError, match="cannot be changed in place"):
        rewritten(text, at, {key: CANARY})


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
    assert yaml.safe_load(rewritten(text, (), dict.fromkeys(changes, REMOVED))) == kept
