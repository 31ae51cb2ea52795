"""The catalogue is what the predictor has, and dashboards and rules ask for nothing else."""

from __future__ import annotations

import pytest

from monitoring.catalogue import BY_SERIES, CATALOGUE, SCRAPED
from monitoring.rules import groups
from monitoring.scope import Scope
from predictors.telemetry.metrics import metrics
from tests.monitoring.queries import BOARDS, labels, marks, panels, series

MADE = {"revision", "le", "objective"}
"""Labels that are not the predictor's: of a histogram, of a recording rule, and made from the pod's name."""


def test_the_predictor_has_what_the_catalogue_lists_and_nothing_else() -> None:
    has = {}
    for metric in vars(metrics()).values():
        name = metric._name + ("_total" if metric._type == "counter" else "")
        buckets = tuple(metric._upper_bounds[:-1]) if metric._type == "histogram" else ()
        has[name] = (metric._type, metric._labelnames, metric._documentation, buckets)
    assert has == {each.name: (each.type, each.labels, each.help, each.buckets) for each in CATALOGUE}


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_panels_ask_for_metrics_that_are_there(name: str) -> None:
    asked = [expr for _, expr in (*panels(BOARDS[name]), *marks(BOARDS[name]))]
    assert len(asked) > 5
    for expr in asked:
        only_known(expr)


@pytest.mark.parametrize("scope", [Scope(), Scope("ml", "fraud", always=True)], ids=["all", "one"])
def test_rules_ask_for_metrics_that_are_there(scope: Scope) -> None:
    recorded: set[str] = set()
    for rule in groups(scope)[0]["rules"]:
        only_known(rule["expr"], recorded)
        recorded.add(rule.get("record"))
    assert len(recorded) > 10


def only_known(expr: str, recorded: set[str] | None = None) -> None:
    used = series(expr)
    recordings = {name for name in (recorded or ()) if name and name in expr}
    assert used or recordings, expr
    assert used <= BY_SERIES.keys() | {"up"}, expr
    known = {label for name in used if name != "up" for label in BY_SERIES[name].labels}
    # What is recorded has the labels that all rules group by.
    allowed = known | set(SCRAPED) | MADE | ({"model_name"} if recordings else set())
    assert labels(expr) <= allowed, expr


def test_every_metric_is_looked_at() -> None:
    """What nobody looks at is not worth having."""
    asked = {name for board in BOARDS.values() for _, expr in panels(board) for name in series(expr)}
    assert {BY_SERIES[name].name for name in asked} == {each.name for each in CATALOGUE}
