"""`ServedModel`: one loaded model as requests see it, alone or with a candidate beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from predictors.features.lookup import Features
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.pipeline.fast_path import FastPath, Reply
from predictors.protocol.errors import NotFound
from predictors.telemetry.exchange import CANDIDATE, MODEL, SHADOW
from predictors.telemetry.metrics import ModelCounters

if TYPE_CHECKING:
    from predictors.candidate.pairing import Pairing
    from predictors.candidate.shadow import ShadowRunner
    from predictors.candidate.splitter import Splitter
    from predictors.drift.state import DriftState

VERSION_HEADER = "x-model-version"


class QuickPath(Protocol):
    """Where requests go in that may take the fast path."""

    def answer(self, reply: Reply[Any]) -> None: ...


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One loaded model. A request finishes on the served model that it began on."""

    number: int
    name: str
    model: MLflowModel
    loaded: Loaded
    fast_path: FastPath | None
    """None where every request takes the slow path."""
    quick_path: QuickPath | None = None
    """The fast path, with what stands before it; None where every request takes the slow path from its beginning."""
    features: Features | None = None
    """Looks up features for every request, so that all take the slow path."""
    drift: DriftState | None = None
    """None where drift is not measured."""
    in_shadow: bool = False
    """Whether it is a candidate that is only asked afterwards."""
    pairing: Pairing | None = None
    """Set if a candidate is to stand beside this model."""
    pair: Pair | None = None
    """The two, once this process holds the candidate."""

    def of_version(self, name: str, version: str | None) -> ServedModel:
        """The model that answers requests for this version; one that is named answers alone."""
        if version is None:
            return self
        one = (self,) if self.pair is None else (self.pair.model, self.pair.candidate)
        for served in one:
            if served.loaded.version == version:
                return served
        versions = "' and '".join(served.loaded.version for served in one)
        raise NotFound(f"unknown version '{version}' of model '{name}'; served is '{versions}'")

    @cached_property
    def counters(self) -> ModelCounters:
        return ModelCounters(self.name, self.loaded.version)

    def begin_counting(self) -> None:
        """Has the metrics begin at zero: a rate sees only what has grown."""
        _ = self.counters

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its number, and those of the models that it is made of."""
        pairing = self.pairing
        return (self.number,) if pairing is None else (self.number, pairing.model, pairing.candidate)

    @property
    def roles(self) -> dict[str, str]:
        """By version, of itself and of the candidate beside it."""
        if self.pair is None:
            return {self.loaded.version: MODEL}
        role = CANDIDATE if self.pair.shadow is None else SHADOW
        return {self.loaded.version: MODEL, self.pair.candidate.loaded.version: role}

    def close(self) -> None:
        """When no request comes any more."""
        if self.pair is not None and self.pair.shadow is not None:
            self.pair.shadow.close()

    @cached_property
    def version_header(self) -> tuple[str, str]:
        return VERSION_HEADER, quote(self.loaded.version)


@dataclass(frozen=True, eq=False)
class Pair:
    """A model, the candidate beside it, and which requests the candidate gets."""

    model: ServedModel
    candidate: ServedModel
    splitter: Splitter
    shadow: ShadowRunner | None
    """None if the candidate answers requests itself."""
