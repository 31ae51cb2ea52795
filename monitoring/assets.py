"""The dashboards in dashboards/, and the ConfigMap from which Grafana's sidecar loads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from monitoring.scope import Scope

Board = dict[str, Any]
SERVE_BOARDS = ("serve-overview.json", "rollout.json", "features-drift.json")
ALL_BOARDS = ("fleet.json", *SERVE_BOARDS)
SIDECAR_LABELS = {"grafana_dashboard": "1"}
"""The label that Grafana's sidecar looks for."""


def dashboards(scope: Scope) -> dict[str, Board]:
    """The dashboards by file name. Those for one serve open with it selected, under their own title and UID."""
    boards = {name: read(name) for name in (SERVE_BOARDS if scope.serve else ALL_BOARDS)}
    return {name: preset(board, scope) if scope.serve else board for name, board in boards.items()}


def read(name: str) -> Board:
    board: Board = json.loads((files("monitoring") / "dashboards" / name).read_text(encoding="utf-8"))
    return board


def preset(board: Board, scope: Scope) -> Board:
    """The dashboard with the serve selected."""
    chosen = {"namespace": scope.namespace, "serve": scope.serve}
    variables = [
        variable | {"current": {"text": chosen[variable["name"]], "value": chosen[variable["name"]]}}
        if variable["name"] in chosen
        else variable
        for variable in board["templating"]["list"]
    ]
    identity = f"{board['uid']}/{scope.namespace}/{scope.serve}"
    return board | {
        "title": f"{board['title']}: {scope.serve} in {scope.namespace}",
        "uid": hashlib.sha256(identity.encode()).hexdigest()[:32],  # Grafana allows 40 characters
        "templating": {"list": variables},
    }


def config_map(scope: Scope, name: str, namespace: str | None, labels: Mapping[str, str]) -> dict[str, Any]:
    """A ConfigMap for Grafana's sidecar. File names must be unique across ConfigMaps, so they contain the serve."""
    prefix = f"{scope.namespace}-{scope.serve}-" if scope.serve else ""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {**labels, **SIDECAR_LABELS}},
        "data": {f"{prefix}{file}": text(board) for file, board in dashboards(scope).items()},
    }


def text(board: Board) -> str:
    return json.dumps(board, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
