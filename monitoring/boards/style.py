"""Shared parts of the dashboards: panels, variables and annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as models
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SERVES = 'namespace=~"$namespace",model_name=~"$serve"'
VERSIONS = f'{SERVES},model_version=~"$version"'
RECENTLY = "$__rate_interval"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "mlflow-kserve"
OVERVIEW, ROLLOUT, FLEET = "mlflow-kserve-overview", "mlflow-kserve-rollout", "mlflow-kserve-fleet"
DRIFT = "mlflow-kserve-drift"
OK, WARN, BAD = "green", "orange", "red"
PSI = ((0.1, WARN), (0.2, BAD))
"""Thresholds of the distance from training: from 0.1 it is notable, from 0.2 it has drifted."""
Limit = tuple[float, str]
"""A value, and the colour from there on."""
NO_LIMITS: Mapping[str, Sequence[Limit]] = {}
Panel = timeseries.Panel | stat.Panel | table.Panel


@dataclass(frozen=True, slots=True)
class Expr:
    expr: str
    legend: str = ""


def graph(
    title: str, unit: str, *queries: Expr, about: str = "", stacked: bool = False, width: int = 8,
    limits: Sequence[Limit] = (), signed: bool = False,
) -> Panel:  # fmt: skip
    """A time series panel. Limits are drawn as lines; `signed` allows values below zero."""
    panel = timeseries.Panel().title(title).unit(unit).span(width).height(8).datasource(SOURCE)
    panel = panel.description(about).legend(
        common.VizLegendOptions().show_legend(True).display_mode(models.LegendDisplayMode.LIST)
        .placement(models.LegendPlacement.BOTTOM)
    ).tooltip(common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI))  # fmt: skip
    if not signed:
        panel = panel.min(0)
    if limits:
        dashed = common.GraphThresholdsStyleConfig().mode(models.GraphTresholdsStyleMode.DASHED)
        panel = panel.thresholds(colored(limits)).thresholds_style(dashed)
    if stacked:
        panel = panel.fill_opacity(30).stacking(common.StackingConfig().mode(models.StackingMode.NORMAL))
    return panel.targets(targets(queries, instant=False))


def number(title: str, unit: str, query: str, *limits: Limit, about: str = "", width: int = 4) -> Panel:
    """A panel with the current value, coloured by the limits."""
    panel = stat.Panel().title(title).unit(unit).span(width).height(4).datasource(SOURCE).description(about)
    panel = panel.thresholds(colored(limits)).no_value("–")
    return panel.targets(targets([Expr(query)], instant=True))


def colored(limits: Sequence[Limit]) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color=OK), *(Threshold(value=value, color=color) for value, color in limits)]
    return dashboard.ThresholdsConfig().steps(steps)


def listing(
    title: str, columns: Sequence[tuple[str, str, Expr]], names: dict[str, str], hidden: Sequence[str],
    sort: str = "", about: str = "", width: int = 24, link: str = "", limits: Mapping[str, Sequence[Limit]] = NO_LIMITS,
) -> Panel:  # fmt: skip
    """Several instant queries as the columns of one table; each is (title, unit, query). Limits are by title."""
    panel = table.Panel().title(title).span(width).height(9).datasource(SOURCE).description(about)
    panel = panel.targets(targets([query for _, _, query in columns], instant=True))
    letters = [chr(ord("A") + position) for position in range(len(columns))]
    values = ["Value"] if len(columns) == 1 else [f"Value #{letter}" for letter in letters]
    renamed = names | {value: name for value, (name, _, _) in zip(values, columns, strict=True) if name}
    unnamed = [value for value, (name, _, _) in zip(values, columns, strict=True) if not name]
    excluded = dict.fromkeys((*hidden, *unnamed), True)
    panel = panel.transformations(
        [
            DataTransformerConfig(id_val="merge", options={}),
            DataTransformerConfig(
                id_val="organize", options={"excludeByName": excluded, "renameByName": renamed, "indexByName": {}}
            ),
        ]
    )
    for name, unit, _ in columns:
        if name and unit:
            panel = panel.override_by_name(name, [DynamicConfigValue(id_val="unit", value=unit)])
    for name, steps in limits.items():
        shown = {"custom.cellOptions": {"type": "color-text"}, "thresholds": colored(steps).build()}
        panel = panel.override_by_name(
            name, [DynamicConfigValue(id_val=key, value=each) for key, each in shown.items()]
        )
    if link:
        url = DynamicConfigValue(id_val="links", value=[{"title": "Serve overview", "url": link}])
        panel = panel.override_by_name("Serve", [url])
    return panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)]) if sort else panel


def targets(queries: Sequence[Expr], instant: bool) -> list[Builder[Dataquery]]:
    built: list[Builder[Dataquery]] = []
    for position, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + position)).datasource(SOURCE)
        target = target.instant().format(PromQueryFormat.TABLE) if instant else target.range()
        built.append(target.legend_format(query.legend) if query.legend else target)
    return built


def board(uid: str, title: str, about: str, rows: dict[str, Sequence[Panel]], variables: Sequence[str]) -> Any:
    built = dashboard.Dashboard(title).uid(uid).description(about).tags([TAG]).editable()
    built = built.time("now-1h", "now").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR).timezone("browser")
    built = built.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for name in variables:
        built = built.with_variable(VARIABLES[name]())
    link = dashboard.DashboardLink("Dashboards").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    built = built.link(link.include_vars(True).keep_time(True))
    for each in marks() if "serve" in variables else []:
        built = built.annotation(each)
    ids = count(1)
    for name, panels in rows.items():
        built = built.with_row(dashboard.Row(name).id(next(ids)))
        for panel in panels:
            built = built.with_panel(panel.id(next(ids)))
    return titled(json.loads(json.dumps(built.build(), cls=JSONEncoder)))


def chosen(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """A variable with values from Prometheus, all of which are selected by default."""
    variable = dashboard.QueryVariable(name).label(label).datasource(SOURCE)
    variable = variable.query({"query": query, "refId": name}).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable = variable.sort(VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True).all_value(".+")
    return variable.current(VariableOption(text="All", value="$__all"))


VARIABLES: dict[str, Callable[[], dashboard.QueryVariable]] = {
    "namespace": lambda: chosen("namespace", "Namespace", "label_values(model_loaded, namespace)"),
    "serve": lambda: chosen("serve", "Serve", 'label_values(model_loaded{namespace=~"$namespace"}, model_name)'),
    "version": lambda: chosen("version", "Version", f"label_values(model_loaded{{{SERVES}}}, model_version)"),
}
MARKS = {
    "Version taken": ("model_loaded", "by (model_name, model_version)", "{{model_name}}: {{model_version}}", "blue"),
    "Reload failing": ("model_reload_failing", "by (model_name)", "{{model_name}}: reload fails", BAD),
    "Pods of a revision": ("model_loaded", "by (model_name, revision)", "{{revision}}", "purple"),
}
REVISION = r'"revision", "$1", "pod", "(.+-predictor(?:-\\d{5})?)-.+"'
"""The revision in a pod's name: fraud-v8-predictor in Standard, fraud-predictor-00002 in Knative."""


def revised(vector: str) -> str:
    """The vector with a label for the revision."""
    return f"label_replace({vector}, {REVISION})"


def marks() -> list[dashboard.AnnotationQuery]:
    """Annotations for states that hold now and did not a minute ago."""
    annotations = []
    for name, (series, by, _, color) in MARKS.items():
        now, before = f"{series}{{{SERVES}}} == 1", f"{series}{{{SERVES}}} offset 1m == 1"
        if "revision" in by:
            now, before = revised(now), revised(before)
        expr = f"count {by} ({now}) unless count {by} ({before})"
        annotations.append(
            dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)
        )
    return annotations


def titled(whole: dict[str, Any]) -> dict[str, Any]:
    """Adds the title of each annotation, a field that the library does not have."""
    for mark in whole.get("annotations", {}).get("list", []):
        mark["titleFormat"] = MARKS[mark["name"]][2]
    return whole
