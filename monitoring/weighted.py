"""One number for all pods of what each of them says of its own window, weighted by the rows in it.

For shares it is what one window over all pods would say. For quantiles it is near to that, and for PSI it is that or
somewhat more: drift of the whole cannot hide, and a pod with few rows does not cry wolf.
"""

from __future__ import annotations

from collections.abc import Callable

from monitoring.scope import BY

MODEL = f"{BY}, model_version"
POD = f"pod, {MODEL}"
Change = Callable[[str], str]


def weighed(gauge: str, selector: str, by: str, change: Change = str) -> str:
    """The mean of a gauge over the pods that the selector takes; `change` may add labels to group by."""
    rows = per_row(selector)
    return f"sum by ({by}) ({change(f'{gauge} {rows}')}) / sum by ({by}) ({change(f'{gauge} ^ 0 {rows}')})"


def class_shares(selector: str, by: str, change: Change = str) -> str:
    """Shares of classes by `by` and value. A pod that has not met a class counts as well: its share is zero there."""
    each, rows = f"model_prediction_share{selector}", per_row(selector)
    met = f"sum by ({by}, value) ({change(f'{each} {rows}')})"
    every = f"sum by ({by}) ({change(f'max by ({POD}, output) ({each}) ^ 0 {rows}')})"
    return f"{met} / on ({by}) group_left () {every}"


def per_row(selector: str) -> str:
    return f"* on ({POD}) group_left () max by ({POD}) (model_drift_window_rows{selector})"
