"""The main panels of each dashboard, drawn from what Prometheus has: Grafana's own look differs, the numbers do not."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from monitoring.assets import OF_ALL, read

CHOSEN = {
    "serve-overview.json": {"namespace": "demo", "serve": "patchy", "version": ".+"},
    "rollout.json": {"namespace": "demo", "serve": "fraud", "version": ".+"},
    "fleet.json": {"namespace": ".+"},
}
WINDOW, STEP = "20s", 2
SHOWN = 6
MARGIN = 1.08
UNITS = {"s": "s", "bytes": "B"}


def draw_all(url: str, folder: Path, seconds: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in OF_ALL:
        draw(url, read(name), CHOSEN[name], folder / f"{Path(name).stem}.png", seconds)


def draw(url: str, board: Any, chosen: dict[str, str], file: Path, seconds: float) -> None:
    panels = [panel for panel in board["panels"] if panel["type"] == "timeseries"][:SHOWN]
    figure = Figure(figsize=(13, 6.4), dpi=80, layout="constrained")
    serve = chosen.get("serve", "all serves")
    figure.suptitle(f"{board['title']}: {serve}", fontsize=14, fontweight="bold", x=0.01, ha="left")
    for place, panel in zip(figure.subplots(2, 3).flat, panels, strict=True):
        one(place, panel, url, chosen, seconds)
    figure.savefig(file)


def one(place: Axes, panel: Any, url: str, chosen: dict[str, str], seconds: float) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    custom = panel["fieldConfig"]["defaults"].get("custom") or {}
    stacked = (custom.get("stacking") or {}).get("mode") == "normal"
    lines: list[tuple[str, list[datetime], list[float]]] = []
    for target in panel["targets"]:
        for series in history(url, filled(target["expr"], chosen), seconds):
            times = [datetime.fromtimestamp(at, UTC) for at, _ in series["values"]]
            legend = target.get("legendFormat", "")
            label = re.sub(r"\{\{(\w+)\}\}", lambda found, of=series: of["metric"].get(found[1], ""), legend)
            lines.append((label, times, [float(value) for _, value in series["values"]]))
    if stacked and lines and len({len(times) for _, times, _ in lines}) == 1:
        place.stackplot(lines[0][1], [values for _, _, values in lines], labels=[each[0] for each in lines], alpha=0.7)
    else:
        for label, times, values in lines:
            place.plot(times, values, label=label, linewidth=1.6)
    place.set_title(panel["title"], fontsize=11, loc="left")
    highest = max((max(values) for _, _, values in lines), default=0) if not stacked else place.get_ylim()[1]
    place.set_ylim(bottom=0, top=(highest or 1) * MARGIN)
    if unit == "percentunit":
        place.yaxis.set_major_formatter(PercentFormatter(1))
    elif unit in UNITS:
        place.yaxis.set_major_formatter(EngFormatter(unit=UNITS[unit]))
    place.xaxis.set_major_locator(AutoDateLocator(maxticks=6))
    place.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))
    place.tick_params(labelsize=8)
    place.grid(alpha=0.3)
    if lines:
        place.legend(fontsize=8, loc="best")


def filled(expr: str, chosen: dict[str, str]) -> str:
    for name, value in chosen.items():
        expr = expr.replace(f"${name}", value)
    return expr.replace("$__rate_interval", WINDOW)


def history(url: str, query: str, seconds: float) -> list[dict[str, Any]]:
    now = time.time()
    asked = {"query": query, "start": str(now - seconds), "end": str(now), "step": str(STEP)}
    reply = httpx.post(f"{url}/api/v1/query_range", data=asked, timeout=30).json()
    found: list[dict[str, Any]] = reply["data"]["result"]
    return found
