"""Drift: how far the inputs and outputs of a served model have moved from its training data.

`profile` and `attach` are for training code; the server imports the modules that it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from predictors.flavor import MLmodel

PROFILE_FILE = "drift_profile.json"
"""The file in the model's folder."""
METADATA_KEY = "drift_profile"
"""The key in the metadata of the MLmodel file, for models without that file."""


def profile(frame: Any, predictions: Any = None, *, bins: int = 10) -> dict[str, Any]:
    """The distributions of the columns of a table, and of the model's predictions for it, as a small JSON object.

    `frame` is a DataFrame, a dict of columns or a matrix. `predictions` are the model's predictions for it, or a dict
    of them by output: `{"predictions": model.predict(x), "probabilities": model.predict_proba(x)}`.
    """
    from predictors.drift.profiles import make_profile

    return make_profile(frame, predictions, bins=bins).as_json()


def attach(profile: dict[str, Any], model: str | Path) -> None:
    """Puts a profile beside a saved model (its folder) or a logged one (its URI: models:/m-…, runs:/…/model)."""
    from predictors.drift.attaching import attach

    attach(profile, str(model))


def has_profile(mlmodel: MLmodel) -> bool:
    return (mlmodel.path / PROFILE_FILE).is_file() or bool((mlmodel.content.get("metadata") or {}).get(METADATA_KEY))
