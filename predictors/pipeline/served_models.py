"""The models that this process holds, and which of them answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

from predictors.features.lookup import Features
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.pipeline.fast_path import FastPath

if TYPE_CHECKING:
    from predictors.drift.state import DriftState

VERSION_HEADER = "x-model-version"


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One loaded model. Requests finish on the edition that they began on."""

    number: int
    model: MLflowModel
    loaded: Loaded
    lane: FastPath | None
    """None where no request takes the short way."""
    features: Features | None = None
    """What looks up features for every request, so that all take the long way."""
    drift: DriftState | None = None
    """None where drift is not measured."""

    @cached_property
    def version_header(self) -> tuple[str, str]:
        return VERSION_HEADER, quote(self.loaded.version)
