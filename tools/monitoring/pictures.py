"""Draws the main panels of each dashboard from Prometheus' data, with Grafana's numbers but in another style."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

import httpx
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from monitoring.assets import ALL_BOARDS, read

CHOSEN = {
    "serve-overview.json": {"namespace": "demo", "serve": "patchy", "version": ".+"},
    "rollout.json": {"namespace": "demo", "serve": "rides", "version": ".+"},
    "features-drift.json": {"namespace": "demo", "serve": "rides", "version": "3"},
    "fleet.json": {"namespace": ".+"},
}
WINDOW, STEP = "20s", 2
MAX_PANELS = 6
MAIN_PANELS = {
    "Rollout": (
        "Share of traffic", "Inputs that do not fit", "P50", "P95", "Prediction quantiles", "Prediction classes",
    ),
    "Features & drift": (
        "PSI of inputs", "Missing inputs", "PSI of predictions", "Prediction quantiles", "Features not usable",
        "Lookup time",
    ),
}  # fmt: skip
"""For other dashboards, the first panels are drawn."""
MARGIN = 1.08
UNITS = {"s": "s", "bytes": "B"}


def draw_all(url: str, folder: Path, seconds: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ALL_BOARDS:
        draw(url, read(name), CHOSEN[name], folder / f"{Path(name).stem}.png", seconds)


def draw(url: str, board: Any, chosen: dict[str, str], file: Path, seconds: float) -> None:
    graphs = {panel["title"]: panel for panel in board["panels"] if panel["type"] == "timeseries"}
    panels = [graphs[title] for title in MAIN_PANELS.get(board["title"], list(graphs)[:MAX_PANELS])]
    figure = Figure(figsize=(13, 6.4), dpi=80, layout="constrained")
    serve = chosen.get("serve", "all serves")
    figure.suptitle(f"{board['title']}: {serve}", fontsize=14, fontweight="bold", x=0.01, ha="left")
    for place, panel in zip(figure.subplots(2, 3).flat, panels, strict=True):
        draw_panel(place, panel, url, chosen, seconds)
    figure.savefig(file)


def draw_panel(place: Axes, panel: Any, url: str, chosen: dict[str, str], seconds: float) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    custom = panel["fieldConfig"]["defaults"].get("custom") or {}
    stacked = (custom.get("stacking") or {}).get("mode") == "normal"
    lines: list[tuple[str, Any, list[float]]] = []
    for target in panel["targets"]:
        for series in history(url, filled(target["expr"], chosen), seconds):
            times = date2num([datetime.fromtimestamp(at, UTC) for at, _ in series["values"]])
            label = label_of(series["metric"], target.get("legendFormat", ""))
            lines.append((label, times, [float(value) for _, value in series["values"]]))
    if stacked and lines and len({len(times) for _, times, _ in lines}) == 1:
        place.stackplot(lines[0][1], [values for _, _, values in lines], labels=[each[0] for each in lines], alpha=0.7)
    else:
        for label, times, values in lines:
            place.plot(times, values, label=label, linewidth=1.6)
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", []):
        if step["value"] is not None:
            place.axhline(step["value"], color=step["color"], linestyle="--", linewidth=1)
    place.set_title(panel["title"], fontsize=11, loc="left")
    lowest = min((min(values) for _, _, values in lines), default=0)
    highest = max((max(values) for _, _, values in lines), default=0) if not stacked else place.get_ylim()[1]
    columns = 1 if len(lines) < 7 else 2
    # Long legends need space above the lines.
    place.set_ylim(min(0, lowest), (highest or 1) * (MARGIN + 0.13 * max(0, ceil(len(lines) / columns) - 3)))
    if unit == "percentunit":
        place.yaxis.set_major_formatter(PercentFormatter(1))
    elif unit in UNITS:
        place.yaxis.set_major_formatter(EngFormatter(unit=UNITS[unit]))
    place.xaxis.set_major_locator(AutoDateLocator(maxticks=6))
    place.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))
    place.tick_params(labelsize=8)
    place.grid(alpha=0.3)
    if lines:
        place.legend(fontsize=8 if len(lines) < 5 else 7, loc="best", ncols=columns)


def label_of(metric: dict[str, str], legend: str) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: metric.get(match[1], ""), legend)


def filled(expr: str, chosen: dict[str, str]) -> str:
    for name, value in chosen.items():
        expr = expr.replace(f"${name}", value)
    return expr.replace("$__rate_interval", WINDOW)


def history(url: str, query: str, seconds: float) -> list[dict[str, Any]]:
    now = time.time()
    parameters = {"query": query, "start": str(now - seconds), "end": str(now), "step": str(STEP)}
    response = httpx.post(f"{url}/api/v1/query_range", data=parameters, timeout=30).json()
    series: list[dict[str, Any]] = response["data"]["result"]
    return series
