"""Stores a profile with a model, where the server finds it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from predictors.drift import PROFILE_FILE
from predictors.drift.profiles import ProfileError, parse_profile
from predictors.storage.failures import Misconfigured
from predictors.storage.tracking import require_tracking


def attach(profile: dict[str, Any], model: str) -> None:
    """`model` is a folder, `models:/m-…` or `runs:/…/path`; raises `ProfileError` for anything else."""
    text = json.dumps(profile)
    parse_profile(text)
    if "://" not in model and not model.startswith(("models:/", "runs:/")):
        if not (Path(model) / "MLmodel").is_file():
            raise ProfileError(f"{model} is no folder of a model: it has no file named MLmodel")
        (Path(model) / PROFILE_FILE).write_text(text)
        return
    kind, _, rest = model.partition(":/")
    if kind != "runs" and not (kind == "models" and rest.startswith("m-")):
        raise ProfileError(f"{model}: expected a folder, models:/m-… or runs:/…/path, as log_model() returns it")
    try:
        require_tracking(model, None)
    except Misconfigured as error:
        raise ProfileError(str(error)) from None
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / PROFILE_FILE
        file.write_text(text)
        if kind == "models":
            MlflowClient().log_model_artifact(rest, str(file))
        else:
            run, _, path = rest.strip("/").partition("/")
            MlflowClient().log_artifact(run, str(file), path)
