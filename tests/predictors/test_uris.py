"""One parser of model URIs, for the predictor, the storage initializer and the generator."""

from __future__ import annotations

from pathlib import Path

import pytest

from predictors.uris import ModelURI, kserve_spelling, mlflow_spelling

REGISTERED: dict[str, ModelURI] = {
    "models:/fraud/3": ModelURI("models:/fraud/3", "models", "fraud", version="3"),
    "models:/fraud/03": ModelURI("models:/fraud/03", "models", "fraud", version="3"),
    "models:/fraud/0": ModelURI("models:/fraud/0", "models", "fraud", version="0"),
    "models:/fraud@champion": ModelURI("models:/fraud@champion", "models", "fraud", alias="champion"),
    "models:/fraud/Production": ModelURI("models:/fraud/Production", "models", "fraud", stage="Production"),
    "models:/fraud/latest": ModelURI("models:/fraud/latest", "models", "fraud", stage="latest"),
    "models:/fraud": ModelURI("models:/fraud", "models", "fraud"),
    "models:/fraud/": ModelURI("models:/fraud/", "models", "fraud"),
    "models:/prod.ml.fraud/3": ModelURI("models:/prod.ml.fraud/3", "models", "prod.ml.fraud", version="3"),
}
OTHERS: dict[str, ModelURI] = {
    "models:/m-0a1b": ModelURI("models:/m-0a1b", "models", model_id="m-0a1b"),
    "models:/m-0a1b/data": ModelURI("models:/m-0a1b/data", "models", model_id="m-0a1b"),
    "models://profile@databricks/fraud/3": ModelURI("models://profile@databricks/fraud/3", "models"),
    "runs:/12/model": ModelURI("runs:/12/model", "runs", run_id="12"),
    "s3://bucket/fraud": ModelURI("s3://bucket/fraud", "s3"),
    "mlflow://runs/12/model": ModelURI("runs:/12/model", "runs", run_id="12"),
    "mlflow://artifacts/1/model": ModelURI("mlflow-artifacts:/1/model", "mlflow-artifacts"),
    "mlflow://nonsense": ModelURI("mlflow://nonsense", "mlflow"),
    "folder/model": ModelURI("folder/model"),
}


@pytest.mark.parametrize("uri", REGISTERED | OTHERS)
def test_a_uri_is_taken_apart(uri: str) -> None:
    assert ModelURI.parse(uri) == (REGISTERED | OTHERS)[uri]


@pytest.mark.parametrize("uri", REGISTERED)
def test_both_spellings_with_the_scheme_of_kserve_are_the_same_model(uri: str) -> None:
    assert ModelURI.parse(f"mlflow://{uri}") == ModelURI.parse(uri)
    assert ModelURI.parse(uri.replace("models:/", "mlflow://models/")) == ModelURI.parse(uri)
    assert kserve_spelling(uri) == uri.replace("models:/", "mlflow://models/")


def test_what_moves_and_what_can_be_kept() -> None:
    moving = ["models:/fraud@champion", "models:/fraud/Production", "models:/fraud/latest", "models:/fraud"]
    immutable = ["models:/fraud/3", "models:/m-0a1b", "runs:/12/model", "hf://org/model:" + "a" * 40]
    neither = ["s3://bucket/fraud", "hf://org/model:main", "folder", "models://profile@databricks/fraud/3"]
    parsed = {uri: ModelURI.parse(uri) for uri in (*moving, *immutable, *neither)}
    assert [uri for uri in parsed if parsed[uri].is_moving] == moving
    assert [uri for uri in parsed if parsed[uri].is_immutable] == immutable


def test_only_a_registered_model_can_lack_a_version() -> None:
    assert [uri for uri in REGISTERED | OTHERS if ModelURI.parse(uri).is_unversioned] == [
        "models:/fraud",
        "models:/fraud/",
    ]
    assert ModelURI.parse("models:/fraud/Latest").is_latest


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("models/fraud", "models/fraud"),
        ("/mnt/models", "/mnt/models"),
        ("file:///a%20b/c", "/a b/c"),
        ("s3://bucket", None),
    ],
)
def test_a_path_is_a_folder_of_this_machine(uri: str, folder: str | None) -> None:
    assert ModelURI.parse(uri).local_folder == (folder and Path(folder))


@pytest.mark.parametrize("uri", ["mlflow://fraud/3", "mlflow://models/", "mlflow://s3://bucket"])
def test_a_scheme_of_kserve_needs_a_uri_of_mlflow(uri: str) -> None:
    with pytest.raises(ValueError, match="expected mlflow://models/…"):
        mlflow_spelling(uri)
    assert ModelURI.parse(uri).is_mlflow
