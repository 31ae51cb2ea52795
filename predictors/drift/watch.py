"""While a model serves: a thread that counts what was asked and answered, and says how far it has drifted."""

from __future__ import annotations

import json
import logging
import pickle
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from predictors.drift import FILE, has_profile
from predictors.drift.columns import ColumnReader, Columns, classes_of
from predictors.drift.profiles import MAX_FEATURES, MAX_OUTPUTS, DriftProfile, ProfileError, made, parsed, profile_of
from predictors.drift.readings import readings
from predictors.drift.tally import DriftTally, nothing, tallied
from predictors.drift.tap import Tap
from predictors.drift.window import DriftWindow
from predictors.model.loaded import Loaded
from predictors.processes.files import write
from predictors.processes.shared_state import SharedState
from predictors.settings.predictor import Settings
from predictors.telemetry.metrics import publish_drift

log = logging.getLogger("predictors")

STALE = 10.0  # seconds after which what another worker has counted is not believed any more


class DriftState:
    """One loaded model in one process: its profile, its tap and its window."""

    def __init__(
        self,
        number: int,
        loaded: Loaded,
        profile: DriftProfile | None,
        settings: Settings,
        shared: SharedState,
        index: int,
    ) -> None:
        self.number = number
        self.loaded = loaded
        self.settings = settings
        self.shared = shared
        self.index = index
        self.tap = Tap()
        self.reader = ColumnReader(loaded)
        self.profile: DriftProfile | None = None
        self.span = settings.drift_window.shared_by(shared.workers)
        self.window = DriftWindow(self.span, nothing(None))
        self.first: list[Columns] = []
        """The first rows, where they are to be the profile."""
        if profile is not None:
            self.begin(profile)
        elif index == 0:
            log.info("drift: the first %d rows are the baseline", settings.drift_baseline_rows)

    def begin(self, profile: DriftProfile) -> None:
        answered = [one["name"] for one in self.loaded.outputs]
        self.profile = fitting(profile, self.reader.names, answered, quiet=self.index != 0)
        self.window = DriftWindow(self.span, nothing(self.profile))
        self.first = []

    def count(self, seconds: float) -> None:
        """What has come since the last time."""
        for columns in self.reader.read(*self.tap.drain(seconds)):
            if self.profile is None:
                self.first.append(columns)
            self.window.add(self.tally(columns))
        if self.profile is None:
            self.look_for_baseline()

    def tally(self, columns: Columns) -> DriftTally:
        outputs = dict(list(columns.outputs.items())[:MAX_OUTPUTS])
        return tallied(self.profile, columns.rows, columns.features, outputs, classes_of(self.loaded, outputs))

    # -- the first rows as a profile ----------------------------------------------------------------------------

    def look_for_baseline(self) -> None:
        """All workers take the same rows, those of all of them, once they are enough."""
        agreed = self.file("profile")
        if self.index == 0 and not agreed.exists():
            first = [*self.first, *(columns for part in self.of_others("first") for columns in part)]
            if sum(one.rows for one in first) >= self.settings.drift_baseline_rows:
                write(agreed, json.dumps(made(*stacked(first)).as_json()).encode())
                log.info("drift: the first %d rows are the baseline now", sum(one.rows for one in first))
        if agreed.exists():
            self.begin(parsed(agreed.read_text()))
            self.file(f"first-{self.index}").unlink(missing_ok=True)
        elif self.index != 0:
            self.share("first", self.first)

    # -- other workers ------------------------------------------------------------------------------------------

    def file(self, what: str) -> Path:
        return self.shared.folder / f"drift-{self.number}-{what}"

    def share(self, what: str, value: Any) -> None:
        write(self.file(f"{what}-{self.index}"), pickle.dumps(value))

    def of_others(self, what: str) -> list[Any]:
        found = []
        for index in range(self.shared.workers):
            file = self.file(f"{what}-{index}")
            try:
                if index != self.index and time.time() - file.stat().st_mtime < self.patience:
                    found.append(pickle.loads(file.read_bytes()))  # noqa: S301 - our own file, in our own folder
            except FileNotFoundError:
                continue
        return found

    @property
    def patience(self) -> float:
        return max(STALE, 3 * self.settings.drift_interval)

    def total(self) -> DriftTally:
        """The window of all workers."""
        total = self.window.total()
        for other in self.of_others("window"):
            if len(other.bins) == len(total.bins):
                total = total + other
        return total


class Watch(threading.Thread):
    """Of all that one process has loaded; `watched` says what that is, and `over` when to end."""

    def __init__(
        self,
        settings: Settings,
        shared: SharedState,
        index: int,
        watched: Callable[[], Sequence[DriftState]],
        over: Callable[[], bool],
    ) -> None:
        super().__init__(name="drift", daemon=True)
        self.settings = settings
        self.shared = shared
        self.index = index
        self.watched = watched
        self.over = over
        self.failed = False

    def run(self) -> None:
        last = time.monotonic()
        while not self.over():
            time.sleep(self.settings.drift_interval)
            now = time.monotonic()
            try:
                self.look(now - last)
                self.failed = False
            except Exception:
                if not self.failed:  # not every second
                    log.exception("drift could not be measured")
                self.failed = True
            last = now
        if self.index == 0:
            publish_drift(self.settings.model_name, {})

    def look(self, seconds: float) -> None:
        found: Mapping[str, Any] = {}
        for one in self.watched():
            one.count(seconds)
            if one.number != self.shared.numbers.served:
                continue
            if self.index == 0:
                name, version = self.settings.model_name, one.loaded.version
                found = readings(name, version, one.profile, one.total(), self.settings.drift_min_rows)
            else:
                one.share("window", one.window.total())
        if self.index == 0:
            publish_drift(self.settings.model_name, found)


def watched(number: int, loaded: Loaded, settings: Settings, shared: SharedState, index: int) -> DriftState | None:
    """None where there is nothing to compare with, unless the first rows are to be that."""
    profile = own_profile(loaded)
    if profile is None and settings.drift != "on":
        return None
    return DriftState(number, loaded, profile, settings, shared, index)


def own_profile(loaded: Loaded) -> DriftProfile | None:
    """The one that the model brings along; a broken one must not keep the model from serving."""
    if not has_profile(loaded.mlmodel):
        return None
    try:
        return profile_of(loaded.mlmodel)
    except ProfileError as error:
        log.warning("%s; the model is served without it", error)
        return None


def fitting(profile: DriftProfile, names: Sequence[str], answered: Sequence[str], *, quiet: bool) -> DriftProfile:
    """What of a profile is measured: of the model's own inputs, and not too many."""
    features = [one for one in profile.features if not names or one.name in names]
    kept, outputs = features[:MAX_FEATURES], profile.outputs[:MAX_OUTPUTS]
    unknown = [one.name for one in profile.features if one not in features]
    without = [name for name in names if all(one.name != name for one in profile.features)]
    others = [one.name for one in profile.outputs if answered and not {one.name, base(one.name)} & {*answered}]
    if not quiet:
        say("of %s, which the model does not answer; it answers %s", others, ", ".join(answered[:10]))
        say("of %s, which are no inputs of the model", unknown)
        say(f"of %s, of which {FILE} says nothing", without)
        say(f"of more than {MAX_FEATURES} inputs, so not of %s", [one.name for one in features[MAX_FEATURES:]])
        say(f"of more than {MAX_OUTPUTS} outputs, so not of %s", [one.name for one in profile.outputs[MAX_OUTPUTS:]])
    return replace(profile, features=tuple(kept), outputs=outputs)


def base(output: str) -> str:
    """`probabilities[1]` is a part of `probabilities`."""
    return output.rpartition("[")[0]


def say(words: str, names: Sequence[str], *more: str) -> None:
    if names:
        shown = ", ".join(f"'{name}'" for name in names[:10]) + (f" and {len(names) - 10} more" if names[10:] else "")
        log.info(f"drift is not measured {words}", shown, *more)


def stacked(parts: Sequence[Columns]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """One table of tables that may lack columns."""
    features: dict[str, list[Any]] = {name: [] for one in parts for name in one.features}
    outputs: dict[str, list[Any]] = {name: [] for one in parts for name in one.outputs}
    for one in parts:
        for name, column in features.items():
            column.extend(one.features[name] if name in one.features else [None] * one.rows)
        for name, column in outputs.items():
            column.extend(one.outputs[name] if name in one.outputs else [None] * one.rows)
    return features, outputs
