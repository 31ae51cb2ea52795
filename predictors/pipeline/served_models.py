"""The models that this process holds, and which of them answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from predictors.candidate.pairing import Pairing, Pairings
from predictors.candidate.shadow import Arm, ShadowRunner
from predictors.candidate.splitter import Splitter
from predictors.drift import has_profile
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.pipeline.fast_path import FastPath
from predictors.pipeline.model_metrics import model_loaded, model_unloaded
from predictors.pipeline.served_model import VERSION_HEADER, Pair, ServedModel
from predictors.pipeline.settings import Settings
from predictors.pipeline.shadow_path import ShadowPath
from predictors.pipeline.split_path import KeyedSplitPath, SplitPath
from predictors.processes.shared_state import SharedState
from predictors.queueing.admission import Admission
from predictors.queueing.batching import MicroBatcher
from predictors.runtime.cpus import cpu_limit
from predictors.telemetry.exchange import CANDIDATE, MODEL, SHADOW
from predictors.telemetry.metrics import ModelCounters, metrics

if TYPE_CHECKING:
    from predictors.drift.monitor import DriftMonitor
    from predictors.drift.state import DriftState


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
        self.pairings = Pairings(shared.folder)
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
        return sum(len(batcher.queue) for batcher in {path.batcher for path in fast_paths if path is not None})

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
            served = self.loaded_again(served)
        if served is not None and served.in_shadow:
            served = self.brought_out(served)
        self.active = served
        if served is before:
            return
        self.show_roles(before, served)
        if served is not None and before is not None and served.loaded is before.loaded:
            return  # only what stands beside it is another one
        if before is not None:
            model_unloaded(self.settings.model_name, before.loaded)
        if served is not None:
            model_loaded(self.settings.model_name, served.loaded)
            self.on_switch(served.model)

    def show_roles(self, before: ServedModel | None, now: ServedModel | None) -> None:
        roles = {} if before is None else dict.fromkeys(before.roles.items(), 0)
        roles |= {} if now is None else dict.fromkeys(now.roles.items(), 1)
        for (version, role), value in roles.items():
            metrics().role.labels(self.settings.model_name, version, role).set(value)

    def begin(self, number: int, pairing: Pairing | None, model: MLflowModel) -> None:
        """Answers with the first model of this process; alone at first, if it is the model of a pairing."""
        self.add(number if pairing is None else pairing.model, model)
        if pairing is not None:
            self.pair(number, pairing)
        self.switch()

    def loaded_again(self, served: ServedModel) -> ServedModel | None:
        """The served model after somebody has called `load`; None if there is nothing loaded."""
        if served.model.loaded is None:
            return None
        self.add(served.number if served.pairing is None else served.pairing.model, served.model)
        if served.pairing is not None:
            self.pair(served.number, served.pairing)
        return self.by_number[served.number]

    def add(self, number: int, model: MLflowModel, *, in_shadow: bool = False) -> None:
        """Makes a loaded model ready to answer, beside the one that does.

        One that is `in_shadow` is made ready once it is to answer: until then there is nothing to count of it.
        """
        loaded = model.require_loaded()
        drift = self.watched(number, loaded)
        if drift is not None and model.customized:
            model.on_prediction = drift.tap.sample_batch
        fast_path = None if in_shadow else self.fast_path(number, model, loaded, drift)
        quick_path = None if model.features is not None else fast_path
        self.by_number[number] = ServedModel(
            number, self.settings.model_name, model, loaded, fast_path, quick_path, model.features, drift, in_shadow
        )  # fmt: skip
        if not in_shadow:
            self.by_number[number].begin_counting()

    def pair(self, number: int, pairing: Pairing) -> None:
        """Makes a pairing ready to answer; the model answers alone while its candidate is not held here."""
        model, candidate = self.by_number[pairing.model], self.by_number.get(pairing.candidate)
        if candidate is None:
            self.by_number[number] = replace(model, number=number, pairing=pairing)
            return
        if candidate.in_shadow and pairing.mode != SHADOW:
            candidate = self.brought_out(candidate)
        loaded = model.loaded
        names = [field.name for field in loaded.plan.inputs if field.name] or loaded.plan.names
        splitter = Splitter(pairing.share, pairing.key, candidate.loaded.source.resolved_uri, names)
        shadow, quick_path = None, model.quick_path
        if pairing.mode == SHADOW:
            first, second = (Arm(one.model, one.loaded, one.features) for one in (model, candidate))
            shadow = ShadowRunner(self.settings.model_name, first, second, splitter)
            if model.fast_path is not None and quick_path is not None:
                quick_path = ShadowPath(model.fast_path, shadow)
        pair = Pair(model, candidate, splitter, shadow)
        if shadow is None and (quick_path or candidate.quick_path):
            quick_path = (SplitPath if pairing.key is None else KeyedSplitPath)(pair, self.admission)
        self.by_number[number] = replace(model, number=number, quick_path=quick_path, pairing=pairing, pair=pair)

    def brought_out(self, served: ServedModel) -> ServedModel:
        """A model that was in the shadow, ready to answer."""
        self.add(served.number, served.model)
        return self.by_number[served.number]

    def fast_path(self, number: int, model: MLflowModel, loaded: Loaded, drift: DriftState | None) -> FastPath | None:
        proven = loaded.choice.proven
        if proven is None or model.customized:
            return None
        max_running = max(1, cpu_limit() // self.shared.workers)
        batcher = MicroBatcher(proven, asyncio.get_running_loop(), self.executor, max_running)
        header = f"{VERSION_HEADER}: {quote(loaded.version)}\r\n".encode()
        counters = ModelCounters(self.settings.model_name, loaded.version)
        return FastPath(number, model, loaded, batcher, counters, header, self.admission, drift.tap if drift else None)

    def drop_old(self) -> bool:
        """Drops the models that will not answer again; whether there were any."""
        numbers = self.numbers
        wanted = {numbers.served, numbers.proposed} | ({numbers.previous} if numbers.served else set())
        for number in tuple(wanted):
            if number in self.by_number:
                wanted.update(self.by_number[number].numbers)
        old = [self.by_number.pop(number) for number in list(self.by_number) if number not in wanted]
        for served in old:
            served.close()
        in_use = [served.features for served in self.by_number.values()]
        for features in {served.features for served in old} - {None, *in_use}:
            if features is not None:
                closing = asyncio.ensure_future(features.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        return bool(old)

    def unload(self) -> None:
        """No worker answers any more, and each frees the memory."""
        if self.numbers.served:
            self.numbers.previous = self.pairings.model_of(self.numbers.served)
        self.numbers.served = 0
        self.numbers.unloads += 1
        self.switch()

    async def close(self) -> None:
        """At the end, when no request comes any more."""
        for served in self.by_number.values():
            served.close()
        for features in {served.features for served in self.by_number.values()}:
            if features is not None:
                await features.close()
        await asyncio.gather(*self._closing)

    def role_of(self, served: ServedModel) -> str:
        pairing = None if self.active is None else self.active.pairing
        return CANDIDATE if pairing is not None and served.number == pairing.candidate else MODEL

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
                self.settings, self.index, self.all_watched, self.served_drift, self.is_draining
            )
            self.drift_monitor.start()
        return state

    def all_watched(self) -> list[DriftState]:
        watched = [served.drift for served in list(self.by_number.values()) if served.drift is not None]
        return list(dict.fromkeys(watched))  # a model has the same one with a candidate and without

    def served_drift(self) -> DriftState | None:
        return None if self.active is None else self.active.drift
