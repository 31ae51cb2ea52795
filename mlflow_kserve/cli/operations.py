"""`mlflow-kserve operation` and `event`: changes under way, and who did what."""

from __future__ import annotations

from typing import Any

import click

from mlflow_kserve.cli.fields import flag
from mlflow_kserve.cli.following import WAIT_SECONDS
from mlflow_kserve.cli.session import FAILED, UNDER_WAY, Session, api_options, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.flows import all_pages, wait_for

OPERATION_COLUMNS = ("id", "kind", "serve", "env", "revision", "state", "author", "created_at", "message")
COLUMNS = ("at", "actor", "action", "serve", "env", "message")


@click.group(help="Changes under way: follow, abort.")
def operation() -> None: ...


@operation.command("get", help="Show how far a change is.")
@click.argument("id")
@click.option("--wait", is_flag=True, help="wait until it has ended")
@api_options
def get_operation(session: Session, id: str, wait: bool) -> None:
    reply = session.send(calls.get_operation(id))
    if wait:
        reply = session.follow(wait_for(reply, WAIT_SECONDS))
    session.show(reply)
    if reply["state"] in ("FAILED", "ABORTED"):
        raise SystemExit(FAILED)
    if wait and reply["state"] in ("WAITING", "RUNNING"):
        raise SystemExit(UNDER_WAY)


@operation.command("list", help="List changes, the newest first.")
@flag("state", "only these", click.Choice(["WAITING", "RUNNING", "SUCCEEDED", "FAILED", "ABORTED"]))
@flag("serve", "only of this serve")
@flag("env", "only in this environment")
@shows(*OPERATION_COLUMNS)
def list_operations(session: Session, **filters: str | None) -> Any:
    return session.follow(all_pages(calls.list_operations(**filters)))


@operation.command("approve", help="Let a change begin that waits for a second person.")
@click.argument("id")
@flag("reason", "why", default="")
@api_options
def approve(session: Session, id: str, reason: str) -> None:
    session.show(session.send(calls.approve_operation(id, reason)))


@operation.command("reject", help="End a change that waits for a second person.")
@click.argument("id")
@flag("reason", "why", default="")
@api_options
def reject(session: Session, id: str, reason: str) -> None:
    session.show(session.send(calls.reject_operation(id, reason)))


@operation.command("abort", help="End a change under way: what was active before is wanted again.")
@click.argument("id")
@api_options
def abort(session: Session, id: str) -> None:
    session.show(session.send(calls.abort_operation(id)))


@click.group(help="Who did what.")
def event() -> None: ...


@event.command("list", help="List audit events, the oldest first.")
@flag("serve", "only of this serve")
@flag("env", "only in this environment")
@click.option("--after", type=int, default=0, metavar="ID", help="only events after this one")
@click.option("--limit", type=click.IntRange(1, 200), default=100, show_default=True)
@shows(*COLUMNS)
def list_events(session: Session, **filters: Any) -> Any:
    return session.send(calls.list_events(**filters))["items"]
