"""Drift: how far what a model is asked, and what it answers, has moved from what it was trained on.

The two functions are for training code; what serves imports the modules that it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from predictors.flavor import MLmodel

FILE = "drift_profile.json"
"""In the model's folder, where the served model finds it."""
KEY = "drift_profile"
"""In the metadata of the MLmodel file, where there is no such file."""


def profile(frame: Any, predictions: Any = None, *, bins: int = 10) -> dict[str, Any]:
    """What the columns of a table look like, and the predictions for it, as a small JSON object.

    `frame` is a DataFrame, a dict of columns or a matrix. `predictions` is what the model answered for it, or a dict
    with the names of its outputs: `{"predictions": model.predict(x), "probabilities": model.predict_proba(x)}`.
    """
    from predictors.drift.profiles import made

    return made(frame, predictions, bins=bins).as_json()


def attach(profile: dict[str, Any], model: str | Path) -> None:
    """Puts a profile beside a saved model (its folder) or a logged one (its URI: models:/m-…, runs:/…/model)."""
    from predictors.drift.attaching import attach

    attach(profile, str(model))


def has_profile(mlmodel: MLmodel) -> bool:
    return (mlmodel.path / FILE).is_file() or bool((mlmodel.content.get("metadata") or {}).get(KEY))
