"""Every query of every dashboard and rule, as Prometheus is asked it, and which names it uses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "monitoring" / "dashboards"
BOARDS: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
SELECTOR = re.compile(r"\b(model_\w+|up)(?:\{([^}]*)\})?(?=[\s\[)}{*/>=<]|$)")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPING = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)")


def panels(board: Any) -> Iterator[tuple[str, str]]:
    """Title and query of each target, as it stands in the file."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def marks(board: Any) -> Iterator[tuple[str, str]]:
    for mark in board.get("annotations", {}).get("list", []):
        yield mark["name"], mark["expr"]


def filled(expr: str, window: str = "10s", **chosen: str) -> str:
    """What Grafana makes of it where everything is chosen, unless said otherwise."""
    for name in ("namespace", "serve", "version"):
        expr = expr.replace(f"${name}", chosen.get(name, ".+"))
    return expr.replace("$__rate_interval", window)


def series(expr: str) -> set[str]:
    """Names of metrics that it asks for."""
    without = GROUPING.sub("", expr)
    return {name for name, _ in SELECTOR.findall(without) if name not in ("model_name", "model_version")}


def labels(expr: str) -> set[str]:
    """Labels that it names, in selectors and groupings."""
    selected = {label for content in re.findall(r"\{([^}]*)\}", expr) for label in MATCHER.findall(content + " ")}
    return selected | {
        word.strip() for content in GROUPING.findall(expr) for word in content.split(",") if word.strip()
    }
