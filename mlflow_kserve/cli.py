"""The command `mlflow-kserve`: `up` starts the control plane; everything else serves a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

COMMANDS = "commands:\n  up  start the control plane, which deploys models (mlflow-kserve up --help)\n"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Ends the process with the status of the command."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["up"]:
        raise SystemExit(up(arguments[1:]))
    if arguments in (["--help"], ["-h"]):
        print(COMMANDS)
    from predictors import mlflow

    mlflow.main(arguments)
    raise SystemExit(0)


def up(arguments: Sequence[str]) -> int:
    missing = [name for name in ("controlplane", "sqlalchemy", "alembic") if find_spec(name) is None]
    if missing:
        print(
            f"mlflow-kserve up: not installed: {', '.join(missing)}; pip install 'mlflow-kserve[controlplane]'",
            file=sys.stderr,
        )
        return 2
    from controlplane.cli import main as control_plane

    return control_plane(arguments)
