"""`mlflow-kserve serve`: with flags it serves a model here; its commands are about the serves of the control plane."""

from __future__ import annotations

from typing import Any

import click

from mlflow_kserve.cli.fields import flag, stated
from mlflow_kserve.cli.programs import Program, serve_model
from mlflow_kserve.cli.session import Session, api_options, complete_serve, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.flows import all_pages

COLUMNS = ("name", "space", "environments", "description", "updated_at")
PROGRAM = Program("serve", "Serve a model on this machine.", serve_model)


class ServeGroup(click.Group):
    """A group whose flags, if it is called with any, are those of the server."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if (args and not args[0].startswith("-")) or extra.get("resilient_parsing"):
            return super().make_context(info_name, args, parent, **extra)
        if args[:1] in (["--help"], ["-h"]):
            click.echo(f"Commands about the serves of the control plane: {', '.join(self.commands)}.\n")
        return PROGRAM.make_context(info_name, args, parent, **extra)


@click.group(cls=ServeGroup, help="Serve a model here (with flags), or name a command about serves.")
def serve() -> None: ...


@serve.command("list", help="List serves.")
@flag("space", "only those of this space")
@flag("name", "only those with this part of a name")
@shows(*COLUMNS)
def list_serves(session: Session, space: str | None, name: str | None) -> Any:
    return session.follow(all_pages(calls.list_serves(space, name)))


@serve.command("get", help="Show a serve.")
@click.argument("name", shell_complete=complete_serve)
@shows()
def get_serve(session: Session, name: str) -> Any:
    return session.send(calls.get_serve(name))


@serve.command("create", help="Make a serve.")
@click.argument("name")
@flag("description", "what it is for")
@flag("space", "the team, or whatever else serves are grouped by")
@flag("type", "kind of serve [default: api]", click.Choice(["api"]))
@api_options
def create_serve(session: Session, **fields: str | None) -> None:
    session.show(session.send(calls.create_serve(stated(**fields))))


@serve.command("update", help="Change the description or the space of a serve.")
@click.argument("name", shell_complete=complete_serve)
@flag("description", "what it is for")
@flag("space", "the team, or whatever else serves are grouped by")
@api_options
def change_serve(session: Session, name: str, **fields: str | None) -> None:
    session.show(session.send(calls.change_serve(name, stated(**fields))))


@serve.command("delete", help="Delete a serve that is deployed nowhere, with its history.")
@click.argument("name", shell_complete=complete_serve)
@api_options
def delete_serve(session: Session, name: str) -> None:
    session.send(calls.delete_serve(name))
    click.echo(f"serve {name} is deleted")
