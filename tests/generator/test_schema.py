"""The JSON Schema: what it takes, what it refuses, and that the copy in docs is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from generator import SpecError
from generator.cli.schema import schema_text
from generator.schema import json_schema
from generator.specfile.fields import declared
from generator.specfile.load import read_spec
from generator.specfile.yaml_text import read
from generator.starter import NEXT_STEPS
from tests.generator.specfile.test_specfile import HEAD, PROD

ROOT = Path(__file__).parent.parent.parent
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

GOOD = {
    "least": "name: a\nmodel: models:/a/1\n",
    "environments": HEAD + PROD,
    "what init has": HEAD + NEXT_STEPS,
    "the model in an environment": "name: a\nenvironments: {prod: {model: models:/a/1}}\n",
    "numbers for texts": HEAD + "kserve: 0.20\nimage_tag: 1.10\nresources: {cores: 2}\ntimeout: 5\nenv: {A: 1, B: true}\n",
    "a canary's share in an environment": HEAD + "canary: {model: models:/a/2, percent: 5}\nenvironments: {p: {canary: {percent: 9}}}\n",
    "line and fields of scaling": HEAD + "scaling: 70% CPU\nenvironments: {p: {scaling: {cpu: 60}}}\n",
}  # fmt: skip
BAD = {
    "typo": HEAD + "namspace: a\n",
    "typo in an environment": HEAD + "environments: {p: {namspace: a}}\n",
    "typo below in an environment": HEAD + "environments: {p: {replicas: {mox: 1}}}\n",
    "typo in defaults": HEAD + "environments: {p: {defaults: {replicas: {mox: 1}}}}\n",
    "name": "name: A_b\nmodel: models:/a/1\n",
    "no model": "name: a\n",
    "choice": HEAD + "mode: x\n",
    "range": HEAD + "replicas: {min: -1}\n",
    "name of a variable": HEAD + "env: {a b: c}\n",
    "half a window in an environment": HEAD + "environments: {p: {scaling: {schedule: [{min: 1}]}}}\n",
}


def data(text: str) -> Any:
    return read(text, "x").data


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("case", GOOD)
def test_it_takes_what_is_valid(case: str) -> None:
    read_spec(GOOD[case], "prod" if "in an environment" in case and "the model" in case else None)
    assert not [error.message for error in VALIDATOR.iter_errors(data(GOOD[case]))]


@pytest.mark.parametrize("case", BAD)
def test_it_refuses_what_is_not(case: str) -> None:
    with pytest.raises(SpecError):
        read_spec(BAD[case], "p" if "environments" in BAD[case] else None)
    assert not VALIDATOR.is_valid(data(BAD[case]))


def test_the_copy_in_docs_is_the_same() -> None:
    file = ROOT / "docs" / "schema" / "serve.json"
    assert file.read_text() == schema_text(), "run: python -m generator schema -o docs/schema/serve.json"


def test_every_field_says_what_it_is_for() -> None:
    assert [each.path for each in declared() if not each.description] == []
    schema = json_schema()
    bare = [
        (name, field)
        for name, part in schema["$defs"].items()
        if name not in ("PartialServe", "Environment") and "properties" in part
        for field, content in part["properties"].items()
        if "description" not in content and "$ref" not in str(content)
    ]
    assert bare == []
