"""Writes monitoring/dashboards/ from the dashboards as code: `python -m tools.dashboards`."""

from __future__ import annotations

from pathlib import Path

from monitoring.assets import text
from monitoring.boards.drift import drift
from monitoring.boards.fleet import fleet
from monitoring.boards.overview import overview
from monitoring.boards.rollout import rollout

FOLDER = Path(__file__).parent.parent / "monitoring" / "dashboards"


def contents() -> dict[Path, str]:
    """The content of each file."""
    boards = {"serve-overview": overview(), "rollout": rollout(), "fleet": fleet(), "features-drift": drift()}
    return {FOLDER / f"{name}.json": text(board) for name, board in boards.items()}


if __name__ == "__main__":
    for path, content in contents().items():
        path.write_text(content)
