"""What a model says of its features, as it is logged and as it is read again."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from predictors.features import declare
from predictors.features.declaration import KEY, Declaration, declaration_of, read_declaration
from predictors.features.store import FeastError
from predictors.pipeline.settings import Settings

AT_HOME = Settings(feast_repo_path="/features")


def test_a_declaration_is_read_as_written() -> None:
    metadata = declare(
        "ranking", entities={"driver_id": "driver"}, columns={"rate": "stats:conv_rate"}, missing="default", stale="serve",
        defaults={"rate": 0.5}, max_age=60,
    )  # fmt: skip
    assert json.loads(json.dumps(metadata)) == metadata == yaml.safe_load(yaml.safe_dump(metadata))
    assert declaration_of({"metadata": metadata}, AT_HOME) == Declaration(
        "ranking",
        (),
        {"driver_id": "driver"},
        {"rate": "stats:conv_rate"},
        "default",
        "serve",
        "error",
        {"rate": 0.5},
        60.0,
    )


def test_lists_and_yaml_null() -> None:
    declaration = read_declaration(yaml.safe_load("{features: ['a:b'], entities: [k], missing: null}"))
    assert (declaration.features, declaration.entities, declaration.missing) == (("a:b",), {"k": "k"}, "null")


def test_a_model_that_declares_nothing() -> None:
    assert declaration_of({"metadata": {"team": "a"}}, AT_HOME) is None
    assert declaration_of({"metadata": None}, AT_HOME) is None


def test_settings_override_the_declaration() -> None:
    content = {"metadata": declare("ranking", entities=["a"], missing="null", defaults={"x": 1, "y": 2})}
    settings = replace(
        AT_HOME, feast_features=("v:f",), feast_entities={"b": "c"}, feast_missing="error", feast_defaults={"x": 3}
    )
    assert declaration_of(content, settings) == Declaration(
        None, ("v:f",), {"b": "c"}, missing="error", defaults={"x": 3, "y": 2}
    )
    assert declaration_of(content, Settings(feast=False)) is None
    assert declaration_of({}, replace(AT_HOME, feast_feature_service="other")) == Declaration("other")


def test_feast_must_be_configured() -> None:
    with pytest.raises(FeastError, match="'ranking'.*FEAST_REPO_PATH or FEAST_SERVER_URL.*--feast=false"):
        declaration_of({"metadata": declare("ranking")}, Settings())


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([], "expected an object"),
        ({}, "expected feature_service, or features"),
        ({"feature_service": 3}, "feature_service: expected a name"),
        ({"service": "x"}, "unknown key 'service'"),
        ({"features": "a:b"}, "features: expected a list"),
        ({"features": ["ab"]}, "expected a reference such as view:feature, got 'ab'"),
        ({"feature_service": "x", "features": ["a:b"]}, "expected either feature_service or features, got both"),
        ({"feature_service": "x", "entities": "k"}, "entities: expected a list of names"),
        ({"feature_service": "x", "entities": {"k": 1}}, "entities: expected names of columns, got 1 for 'k'"),
        ({"feature_service": "x", "missing": "serve"}, "missing: expected one of error, null, default"),
        ({"feature_service": "x", "max_age": "1h"}, "max_age: expected a number of seconds"),
        ({"feature_service": "x", "defaults": [1]}, "defaults: expected an object"),
    ],
    ids=lambda value: None if isinstance(value, str) else "entry",
)
def test_invalid_declarations(entry: object, message: str) -> None:
    with pytest.raises(FeastError, match=re.escape(f"metadata.{KEY}") + ".*" + message):
        read_declaration(entry)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"missing": "zero"}, "expected one of error, null, default"),
        ({"entities": "driver_id"}, "entities: expected a list of names"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_declare_checks_its_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declare("ranking", **arguments)


def test_values_of_a_table_can_be_declared() -> None:
    """MLflow writes the metadata as YAML, which has no values of NumPy."""
    table = pd.DataFrame({"rate": [0.5, 1.0], "trips": [1, 2], "since": pd.Timestamp("2024-01-01")})
    max_age: Any = np.int64(60)  # numbers of NumPy are no floats to a type checker
    metadata = declare("ranking", defaults=dict(table.iloc[0]), max_age=max_age)
    assert yaml.safe_load(yaml.safe_dump(metadata)) == metadata
    entry = metadata["feast"]
    assert (entry["defaults"], entry["max_age"]) == ({"rate": 0.5, "trips": 1, "since": "2024-01-01T00:00:00"}, 60)
