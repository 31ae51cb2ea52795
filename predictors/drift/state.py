"""`DriftState`: the drift of one loaded model, counted in each worker and summed over all of them."""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from predictors.drift import PROFILE_FILE, has_profile
from predictors.drift.columns import ColumnReader, SampledColumns, classes_of
from predictors.drift.profiles import (
    MAX_FEATURES,
    MAX_OUTPUTS,
    DriftProfile,
    ProfileError,
    make_profile,
    parse_profile,
    read_profile,
)
from predictors.drift.settings import DriftSettings
from predictors.drift.tally import DriftTally, empty_tally, tally_rows
from predictors.drift.tap import Tap
from predictors.drift.window import DriftWindow
from predictors.model.loaded import Loaded
from predictors.processes.files import write
from predictors.processes.shared_state import SharedState

log = logging.getLogger("predictors")

MIN_AGE_LIMIT = 10.0  # seconds; older files of other workers are ignored


class DriftState:
    """The drift of one loaded model in one process: its profile, its tap and its window."""

    def __init__(
        self,
        number: int,
        loaded: Loaded,
        profile: DriftProfile | None,
        settings: DriftSettings,
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
        self.window = DriftWindow(self.span, empty_tally(None))
        self.first: list[SampledColumns] = []
        """The first samples, until they become the profile of a model without one."""
        if profile is not None:
            self.begin(profile)
        elif index == 0:
            log.info("drift: the first %d rows are the baseline", settings.drift_baseline_rows)

    def begin(self, profile: DriftProfile) -> None:
        outputs = [output["name"] for output in self.loaded.outputs]
        self.profile = measured_profile(profile, self.reader.names, outputs, quiet=self.index != 0)
        self.window = DriftWindow(self.span, empty_tally(self.profile))
        self.first = []

    def count(self, seconds: float) -> None:
        """Counts the samples since the last call."""
        for columns in self.reader.read(*self.tap.drain(seconds)):
            if self.profile is None:
                self.first.append(columns)
            self.window.add(self.tally(columns))
        if self.profile is None:
            self.adopt_baseline()

    def tally(self, columns: SampledColumns) -> DriftTally:
        outputs = dict(list(columns.outputs.items())[:MAX_OUTPUTS])
        return tally_rows(self.profile, columns.rows, columns.features, outputs, classes_of(self.loaded, outputs))

    # -- the first rows as a profile ----------------------------------------------------------------------------

    def adopt_baseline(self) -> None:
        """Makes the first rows of all workers the profile of all workers, once there are enough."""
        baseline = self.file("profile")
        if self.index == 0 and not baseline.exists():
            first = [*self.first, *(columns for part in self.read_others("first") for columns in part)]
            rows = sum(columns.rows for columns in first)
            if rows >= self.settings.drift_baseline_rows:
                write(baseline, json.dumps(make_profile(*stack(first)).as_json()).encode())
                log.info("drift: the first %d rows are the baseline now", rows)
        if baseline.exists():
            self.begin(parse_profile(baseline.read_text()))
            self.file(f"first-{self.index}").unlink(missing_ok=True)
        elif self.index != 0:
            self.share("first", self.first)

    # -- other workers ------------------------------------------------------------------------------------------

    def file(self, kind: str) -> Path:
        return self.shared.folder / f"drift-{self.number}-{kind}"

    def share(self, kind: str, value: Any) -> None:
        write(self.file(f"{kind}-{self.index}"), pickle.dumps(value))

    def read_others(self, kind: str) -> list[Any]:
        """The values that other workers have shared recently."""
        values = []
        for index in range(self.shared.workers):
            file = self.file(f"{kind}-{index}")
            try:
                if index != self.index and time.time() - file.stat().st_mtime < self.max_age:
                    values.append(pickle.loads(file.read_bytes()))  # noqa: S301 - written by a worker of ours
            except FileNotFoundError:
                continue
        return values

    @property
    def max_age(self) -> float:
        return max(MIN_AGE_LIMIT, 3 * self.settings.drift_interval)

    def total(self) -> DriftTally:
        """The sum of the windows of all workers."""
        total = self.window.total()
        for other in self.read_others("window"):
            if len(other.bins) == len(total.bins):
                total = total + other
        return total


def open_drift_state(
    number: int, loaded: Loaded, settings: DriftSettings, shared: SharedState, index: int
) -> DriftState | None:
    """The state for a loaded model; None if it has no profile and its first rows shall not become one."""
    profile = read_own_profile(loaded)
    if profile is None and settings.drift != "on":
        return None
    return DriftState(number, loaded, profile, settings, shared, index)


def read_own_profile(loaded: Loaded) -> DriftProfile | None:
    """The profile that is stored with the model; an unusable one does not keep the model from being served."""
    if not has_profile(loaded.mlmodel):
        return None
    try:
        return read_profile(loaded.mlmodel)
    except ProfileError as error:
        log.warning("%s; the model is served without it", error)
        return None


def measured_profile(
    profile: DriftProfile, names: Sequence[str], model_outputs: Sequence[str], *, quiet: bool
) -> DriftProfile:
    """The part of a profile that is measured: variables that the model has, up to a limit."""
    features = [variable for variable in profile.features if not names or variable.name in names]
    kept, outputs = features[:MAX_FEATURES], profile.outputs[:MAX_OUTPUTS]
    unknown = [variable.name for variable in profile.features if variable not in features]
    without = [name for name in names if all(variable.name != name for variable in profile.features)]
    others = [
        variable.name
        for variable in profile.outputs
        if model_outputs and not {variable.name, base_name(variable.name)} & {*model_outputs}
    ]
    if not quiet:
        log_unmeasured("for %s, which are not outputs of the model; it has %s", others, ", ".join(model_outputs[:10]))
        log_unmeasured("for %s, which are not inputs of the model", unknown)
        log_unmeasured(f"for %s, which {PROFILE_FILE} does not describe", without)
        log_unmeasured(
            f"for more than {MAX_FEATURES} inputs, so not for %s",
            [variable.name for variable in features[MAX_FEATURES:]],
        )
        log_unmeasured(
            f"for more than {MAX_OUTPUTS} outputs, so not for %s",
            [variable.name for variable in profile.outputs[MAX_OUTPUTS:]],
        )
    return replace(profile, features=tuple(kept), outputs=outputs)


def base_name(output: str) -> str:
    """The output that a column belongs to: `probabilities` for `probabilities[1]`."""
    return output.rpartition("[")[0]


def log_unmeasured(message: str, names: Sequence[str], *more: str) -> None:
    if names:
        shown = ", ".join(f"'{name}'" for name in names[:10]) + (f" and {len(names) - 10} more" if names[10:] else "")
        log.info(f"drift is not measured {message}", shown, *more)


def stack(parts: Sequence[SampledColumns]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """One table of several, with null for columns that some of them lack."""
    features: dict[str, list[Any]] = {name: [] for part in parts for name in part.features}
    outputs: dict[str, list[Any]] = {name: [] for part in parts for name in part.outputs}
    for part in parts:
        for name, column in features.items():
            column.extend(part.features[name] if name in part.features else [None] * part.rows)
        for name, column in outputs.items():
            column.extend(part.outputs[name] if name in part.outputs else [None] * part.rows)
    return features, outputs
