"""Means over pods of what each measures in its own window, weighted by the rows in the window.

For shares the mean equals that of one window over all pods. For quantiles it is close, and for PSI it is the same or
somewhat higher: overall drift cannot hide, and a pod with few rows raises no false alarm.
"""

from __future__ import annotations

from collections.abc import Callable

from monitoring.scope import BY

MODEL = f"{BY}, model_version"
POD = f"pod, {MODEL}"
Change = Callable[[str], str]


def weighted_mean(gauge: str, selector: str, by: str, change: Change = str) -> str:
    """The weighted mean of a gauge over the selected pods; `change` may add labels to group by."""
    rows = per_row(selector)
    return f"sum by ({by}) ({change(f'{gauge} {rows}')}) / sum by ({by}) ({change(f'{gauge} ^ 0 {rows}')})"


def class_shares(selector: str, by: str, change: Change = str) -> str:
    """Shares of classes by `by` and value. A pod without a class counts as zero."""
    each, rows = f"model_prediction_share{selector}", per_row(selector)
    met = f"sum by ({by}, value) ({change(f'{each} {rows}')})"
    every = f"sum by ({by}) ({change(f'max by ({POD}, output) ({each}) ^ 0 {rows}')})"
    return f"{met} / on ({by}) group_left () {every}"


def per_row(selector: str) -> str:
    return f"* on ({POD}) group_left () max by ({POD}) (model_drift_window_rows{selector})"
