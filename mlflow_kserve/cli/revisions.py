"""`mlflow-kserve revision`: what was deployed, what differs, and the way back."""

from __future__ import annotations

from typing import Any

import click

from mlflow_kserve.cli.fields import flag, stated
from mlflow_kserve.cli.following import changes
from mlflow_kserve.cli.session import Session, argument_serve, option_env, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.calls import ApiCall
from mlflow_kserve.client.flows import all_pages
from mlflow_kserve.client.replies import BegunReply

COLUMNS = ("env", "revision", "content.artifact_version", "content.model_uri", "reason", "author", "created_at")


@click.group(help="What was deployed, what differs, and the way back.")
def revision() -> None: ...


@revision.command("list", help="List the revisions of a serve, the newest first.")
@argument_serve
@flag("env", "only in this environment")
@shows(*COLUMNS)
def list_revisions(session: Session, serve: str, env: str | None) -> Any:
    return session.follow(all_pages(calls.list_revisions(serve, env)))


@revision.command("get", help="Show a revision.")
@argument_serve
@click.argument("number", type=int)
@option_env
@shows(watch=False)
def get_revision(session: Session, serve: str, number: int, env: str) -> Any:
    return session.send(calls.get_revision(serve, env, number))


@revision.command("diff", help="Show what differs between two revisions.")
@argument_serve
@click.argument("number", type=int)
@click.argument("other", type=int)
@option_env
@shows(watch=False)
def compare(session: Session, serve: str, number: int, other: int, env: str) -> Any:
    reply = session.send(calls.compare_revisions(serve, env, number, other))
    return ("\n".join(reply["text"]) or "no difference") if session.form == "table" else reply


@revision.command("rollback", help="Go back to a revision: a new one with its content.")
@argument_serve
@click.argument("number", type=int)
@option_env
@flag("reason", "why, for the history")
@changes
def roll_back(session: Session, serve: str, number: int, env: str, reason: str | None) -> ApiCall[BegunReply]:
    return calls.roll_back(serve, {"env": env, "revision": number, **stated(reason=reason)})
