"""`mlflow-kserve completion`: what a shell needs to complete commands and flags."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from mlflow_kserve.cli.main import NAME

VARIABLE = "_MLFLOW_KSERVE_COMPLETE"


@click.command(help='Completion for a shell: put eval "$(mlflow-kserve completion bash)" into its start file.')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click completes nothing for {shell}")
    root = context.find_root().command
    click.echo(kind(root, {}, NAME, VARIABLE).source())
