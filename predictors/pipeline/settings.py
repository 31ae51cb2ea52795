"""All settings of a predictor, composed of those that the rooms declare."""

from __future__ import annotations

from dataclasses import dataclass

from predictors.access.settings import AccessSettings, TlsSettings
from predictors.candidate.settings import CandidateSettings
from predictors.drift.settings import DriftSettings
from predictors.model.settings import ModelSettings
from predictors.prediction_log.settings import PredictionLogSettings
from predictors.processes.settings import ServerSettings
from predictors.queueing.settings import OverloadSettings
from predictors.telemetry.settings import LogSettings


@dataclass(frozen=True)
class Settings(
    LogSettings, PredictionLogSettings, DriftSettings, CandidateSettings, AccessSettings, TlsSettings, ServerSettings,
    OverloadSettings, ModelSettings,
):  # fmt: skip
    """All settings of a predictor process; `--help` lists the bases from the last to the first."""
