"""The models that this process holds, and which of them answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

from predictors.drift import has_profile
from predictors.features.lookup import Features
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.pipeline.fast_path import FastPath
from predictors.pipeline.model_metrics import model_loaded, model_unloaded
from predictors.pipeline.settings import Settings
from predictors.processes.shared_state import SharedState
from predictors.protocol.errors import NotFound
from predictors.queueing.admission import Admission
from predictors.queueing.batching import MicroBatcher
from predictors.runtime.cpus import cpu_limit
from predictors.telemetry.metrics import ModelCounters

if TYPE_CHECKING:
    from predictors.drift.monitor import DriftMonitor
    from predictors.drift.state import DriftState

VERSION_HEADER = "x-model-version"


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One loaded model. A request finishes on the served model that it began on."""

    number: int
    model: MLflowModel
    loaded: Loaded
    counters: ModelCounters
    fast_path: FastPath | None
    """None where every request takes the slow path."""
    features: Features | None = None
    """Looks up features for every request, so that all take the slow path."""
    drift: DriftState | None = None
    """None where drift is not measured."""

    def check_version(self, name: str, version: str | None) -> None:
        if version is not None and version != self.loaded.version:
            raise NotFound(f"unknown version '{version}' of model '{name}'; served is '{self.loaded.version}'")

    @cached_property
    def version_header(self) -> tuple[str, str]:
        return VERSION_HEADER, quote(self.loaded.version)


class ServedModels:
    """By number; all workers read the number of the one that answers from shared memory."""

    def __init__(
        self,
        settings: Settings,
        shared: SharedState,
        index: int,
        executor: Executor,
        admission: Admission,
        is_draining: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.shared = shared
        self.numbers = shared.numbers
        self.index = index
        self.executor = executor
        self.admission = admission
        self.is_draining = is_draining
        self.by_number: dict[int, ServedModel] = {}
        self.active: ServedModel | None = None
        """The one that answered last; `current` keeps it up to date."""
        self.on_switch: Callable[[MLflowModel], None] = lambda model: None
        """Called with each model that begins to answer."""
        self.drift_monitor: DriftMonitor | None = None
        self._closing: set[asyncio.Future[None]] = set()
        """Features of models that have been dropped."""

    @property
    def unloaded(self) -> bool:
        """Whether no model is to answer."""
        return bool(self.numbers.served == 0)

    @property
    def batched(self) -> int:
        """Requests that wait for the next batch."""
        fast_paths = [served.fast_path for served in self.by_number.values()]
        return sum(len(fast_path.batcher.queue) for fast_path in fast_paths if fast_path is not None)

    def current(self) -> ServedModel | None:
        """The one that answers now; switches to it first if it is another than before.

        All workers read the same number, so they switch at the same moment.
        """
        active = self.active
        if (
            active is None
            or active.number != self.numbers.served
            or active.loaded is not active.model.loaded  # somebody has called model.load()
        ):
            self.switch()
        return self.active

    def switch(self) -> None:
        """Answers with the model that the shared number names."""
        before, number = self.active, self.numbers.served
        served = self.by_number.get(number)
        if served is not None and served.loaded is not served.model.loaded:
            if served.model.loaded is None:
                served = None
            else:
                self.add(number, served.model)
                served = self.by_number[number]
        self.active = served
        if served is before:
            return
        if before is not None:
            model_unloaded(self.settings.model_name, before.loaded)
        if served is not None:
            model_loaded(self.settings.model_name, served.loaded)
            self.on_switch(served.model)

    def add(self, number: int, model: MLflowModel) -> None:
        """Makes a loaded model ready to answer, beside the one that does."""
        loaded = model.require_loaded()
        counters, drift = ModelCounters(self.settings.model_name, loaded.version), self.watched(number, loaded)
        if drift is not None and model.customized:
            model.on_prediction = drift.tap.sample_batch
        fast_path = self.fast_path(model, loaded, counters, drift)
        self.by_number[number] = ServedModel(number, model, loaded, counters, fast_path, model.features, drift)

    def fast_path(
        self, model: MLflowModel, loaded: Loaded, counters: ModelCounters, drift: DriftState | None
    ) -> FastPath | None:
        proven = loaded.choice.proven
        if proven is None or model.customized:
            return None
        max_running = max(1, cpu_limit() // self.shared.workers)
        batcher = MicroBatcher(proven, asyncio.get_running_loop(), self.executor, max_running)
        header = f"{VERSION_HEADER}: {quote(loaded.version)}\r\n".encode()
        return FastPath(model, loaded, batcher, counters, header, self.admission, drift.tap if drift else None)

    def drop(self, number: int) -> None:
        """Gives up a model that no request has been answered with."""
        self.by_number.pop(number, None)

    def drop_old(self) -> bool:
        """Drops the models that will not answer again; whether there were any."""
        numbers = self.numbers
        wanted = {numbers.served, numbers.candidate} | ({numbers.previous} if numbers.served else set())
        old = [number for number in self.by_number if number not in wanted]
        for number in old:
            features = self.by_number.pop(number).features
            if features is not None:
                closing = asyncio.ensure_future(features.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        return bool(old)

    def unload(self) -> None:
        """No worker answers any more, and each frees the memory."""
        if self.numbers.served:
            self.numbers.previous = self.numbers.served
        self.numbers.served = 0
        self.numbers.unloads += 1
        self.switch()

    async def close_features(self) -> None:
        """At the end, when no request looks up features any more."""
        for served in self.by_number.values():
            if served.features is not None:
                await served.features.close()
        await asyncio.gather(*self._closing)

    def reload_properties(self) -> dict[str, str]:
        """The version before this one and the state of reloading, for the model's metadata."""
        previous = self.by_number.get(self.numbers.previous)
        return {
            "previous_version": previous.loaded.version if previous else "",
            "reload": self.shared.reload.status,
        }

    # -- drift --------------------------------------------------------------------------------------------------

    def watched(self, number: int, loaded: Loaded) -> DriftState | None:
        """Measures the drift of a model, if the settings ask for it."""
        if not (self.settings.drift == "on" or (self.settings.drift == "auto" and has_profile(loaded.mlmodel))):
            return None
        from predictors.drift.monitor import DriftMonitor
        from predictors.drift.state import open_drift_state

        state = open_drift_state(number, loaded, self.settings, self.shared, self.index)
        if state is not None and self.drift_monitor is None:
            self.drift_monitor = DriftMonitor(
                self.settings, self.shared, self.index, self.all_watched, self.is_draining
            )
            self.drift_monitor.start()
        return state

    def all_watched(self) -> list[DriftState]:
        return [served.drift for served in list(self.by_number.values()) if served.drift is not None]
