"""Commands that hand their arguments to a program of this package."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import click

UNUSABLE = 2


class Program(click.Command):
    """A command that reads its arguments itself."""

    def __init__(self, name: str, help: str, start: Callable[[str, list[str]], int]) -> None:
        super().__init__(name, help=help, add_help_option=False)
        self.start = start

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.args = list(args)
        return context.args

    def invoke(self, context: click.Context) -> Any:
        context.exit(self.start(context.command_path, context.args))


def require(prog: str, extra: str, *names: str) -> None:
    """Ends the process with the extra that installs what is missing."""
    if missing := [name for name in names if find_spec(name) is None]:
        click.echo(f"{prog}: not installed: {', '.join(missing)}; pip install 'mlflow-kserve[{extra}]'", err=True)
        raise SystemExit(UNUSABLE)


def serve_model(prog: str, arguments: list[str]) -> int:
    """Serves a model until the server is ended."""
    from predictors import mlflow

    mlflow.main(arguments, prog=prog)
    return 0


def start_generator(prog: str, arguments: list[str]) -> int:
    from generator.cli.main import main

    return main(arguments, prog)


def start_monitoring(prog: str, arguments: list[str]) -> int:
    from monitoring.cli import main

    return main(arguments, prog)


def start_load(prog: str, arguments: list[str]) -> int:
    require(prog, "loadtest", "locust")
    from loadtest.__main__ import main

    return main(arguments, prog)


def start_control_plane(prog: str, arguments: list[str]) -> int:
    require(prog, "controlplane", "sqlalchemy", "alembic")
    from controlplane.cli import main

    return main(arguments)


generate = Program("generate", "The manifests of a serve, and its rollouts.", start_generator)
monitor = Program("monitor", "Rules, scrape configs and dashboards.", start_monitoring)
load = Program("load", "Load tests.", start_load)
up = Program("up", "Start the control plane.", start_control_plane)
