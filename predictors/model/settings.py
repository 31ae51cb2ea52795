"""The settings of one model: where it comes from, how it predicts, and when it is replaced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from predictors.environments.settings import EnvironmentSettings
from predictors.features.settings import FeatureSettings
from predictors.safety.settings import SafetySettings
from predictors.settings.declare import SettingError, setting
from predictors.settings.values import choice, seconds, truth
from predictors.storage.settings import SourceSettings


@dataclass(frozen=True)
class PredictionSettings:
    probabilities: bool = setting(
        True, "add class probabilities to the responses of classifiers", truth, group="Predictions"
    )
    warm_up: bool = setting(
        True,
        "run the model's input example before the server is ready; a model that fails on it is not served",
        truth,
        group="Predictions",
    )
    engine: str = setting(
        "auto",
        "what computes predictions: 'auto' uses a faster engine if it reproduces the model's own results, 'native' "
        "no engine that converts the model, 'compiled' only one that does",
        choice("auto", "native", "compiled"),
        group="Predictions",
    )
    batching: str = setting(
        "exact",
        "which requests are answered together: 'exact' only where that changes no bit of an answer, 'allow' also where "
        "last digits depend on it",
        choice("exact", "allow"),
        group="Predictions",
    )
    strict_input: bool = setting(
        False,
        "refuse at /invocations what MLflow's server ignores (columns, params and keys that the model does not have) "
        "or casts (5 for a text)",
        truth,
        group="Predictions",
    )
    unseen_category: str = setting(
        "error",
        "a category that an XGBoost or LightGBM model was not trained with: 'error' refuses the request, 'missing' "
        "takes it as null, 'native' leaves it to the library (XGBoost may answer for another category)",
        choice("error", "missing", "native"),
        group="Predictions",
    )
    nan: str = setting(
        "null",
        "NaN and infinity in JSON responses: 'null' writes null, 'error' answers 500",
        choice("null", "error"),
        group="Predictions",
    )


@dataclass(frozen=True)
class LoadSettings:
    load_trial: bool = setting(
        True,
        "load a new version in a process of its own before the server loads it, so that one that crashes or hangs "
        "ends that process alone",
        truth,
        group="Loading",
    )


@dataclass(frozen=True)
class ReloadSettings:
    reload_interval: float = setting(
        30.0,
        "seconds between polls of the registry, for a URI that can move (an alias, a stage, latest); 0 for no polling",
        seconds,
        env=("MODEL_RELOAD_INTERVAL",),
        group="Reload",
    )
    allow_signature_change: bool = setting(
        False, "accept a new version even if the requests of today would not fit its signature", truth, group="Reload"
    )
    webhook_secret_file: str | None = setting(
        None,
        "file with the secret of an MLflow registry webhook that posts to /hooks/mlflow",
        env=("MLFLOW_WEBHOOK_SECRET_FILE",),
        metavar="FILE",
        group="Reload",
    )


@dataclass(frozen=True)
class ModelSettings(
    ReloadSettings,
    LoadSettings,
    FeatureSettings,
    PredictionSettings,
    EnvironmentSettings,
    SafetySettings,
    SourceSettings,
):
    """All that concerns one model; `--help` lists the bases from the last to the first."""


def check(settings: ReloadSettings) -> None:
    if settings.webhook_secret_file and not Path(settings.webhook_secret_file).is_file():
        raise SettingError(f"--webhook-secret-file: there is no file {settings.webhook_secret_file}")
