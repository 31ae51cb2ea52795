"""The settings of drift monitoring."""

from __future__ import annotations

from dataclasses import dataclass

from predictors.drift.span import Span, parse_span
from predictors.settings.declare import SettingError, setting
from predictors.settings.values import above, between, choice
from predictors.storage.settings import NameSettings


@dataclass(frozen=True)
class DriftSettings(NameSettings):
    drift: str = setting(
        "auto",
        "measure how far inputs and predictions move away from the model's drift profile: 'auto' if the model has a "
        "profile, 'on' also without one, with the first rows served as the baseline",
        choice("auto", "on", "off"),
        group="Drift",
    )
    drift_window: Span = setting(
        Span(seconds=3600),
        "window that is compared with the profile: the last seconds (900, 15m, 1h) or rows (10000rows)",
        parse_span,
        group="Drift",
        shown="1h",
        metavar="WINDOW",
    )
    drift_interval: float = setting(
        1.0, "seconds between two measurements", above(0.05), group="Drift", metavar="SECONDS"
    )
    drift_min_rows: int = setting(
        200, "rows that the window must contain before drift is reported", between(1), group="Drift"
    )
    drift_baseline_rows: int = setting(
        2000, "number of first rows that form the baseline of a model without a profile", between(10), group="Drift"
    )


def check(settings: DriftSettings) -> None:
    if 0 < settings.drift_window.rows < settings.drift_min_rows:
        raise SettingError(
            f"--drift-window: {settings.drift_window.rows} rows are fewer than the {settings.drift_min_rows} of "
            "--drift-min-rows, so drift would never be reported"
        )
