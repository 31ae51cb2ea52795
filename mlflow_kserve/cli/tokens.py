"""`mlflow-kserve token`: who may ask."""

from __future__ import annotations

from typing import Any

import click

from mlflow_kserve.cli.fields import stated, text_assignment
from mlflow_kserve.cli.session import Session, api_options, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.flows import all_pages

COLUMNS = ("name", "roles", "author", "expires_at")


@click.group(help="Who may ask.")
def token() -> None: ...


@token.command("list", help="List tokens.")
@shows(*COLUMNS)
def list_tokens(session: Session) -> Any:
    return session.follow(all_pages(calls.list_tokens()))


@token.command("create", help="Make a token; it is shown once.")
@click.argument("name")
@click.option(
    "--role", "roles", type=text_assignment, multiple=True, required=True, metavar="ENV=ROLE",
    help="a role in an environment, such as local=deployer; * stands for all",
)  # fmt: skip
@click.option("--days", type=float, metavar="N", help="until it expires [default: 90]")
@api_options
def create_token(session: Session, name: str, roles: tuple[tuple[str, str], ...], days: float | None) -> None:
    session.show(session.send(calls.create_token({"name": name, "roles": dict(roles), **stated(days=days)})))


@token.command("rotate", help="Replace a token; the new one is shown once.")
@click.argument("name")
@api_options
def rotate_token(session: Session, name: str) -> None:
    session.show(session.send(calls.rotate_token(name)))


@token.command("delete", help="Withdraw a token.")
@click.argument("name")
@api_options
def delete_token(session: Session, name: str) -> None:
    session.send(calls.delete_token(name))
    click.echo(f"token {name} is withdrawn")
