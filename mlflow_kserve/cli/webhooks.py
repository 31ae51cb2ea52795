"""`mlflow-kserve webhook`: where events are posted to, and what has come of it."""

from __future__ import annotations

from typing import Any

import click

from mlflow_kserve.cli.fields import body, flag, option_file, option_set, reference, with_options
from mlflow_kserve.cli.session import Session, api_options, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.flows import all_pages

COLUMNS = ("name", "url", "format", "env", "serve", "pending", "given_up", "last_error")
DELIVERY_COLUMNS = ("id", "event", "subject", "state", "attempts", "message", "due_at")


webhook_flags = with_options(
    option_set,
    option_file,
    click.option("--action", "actions", multiple=True, metavar="ACTION",
                 help="only events with this action, such as deploy.failed, or one below it"),
    flag("serve", "only events of this serve"),
    flag("env", "only events of this environment"),
    flag("secret", "secret that events are signed with", reference, metavar="secret:SECRET/KEY"),
    flag("format", "CloudEvents, or Slack's text", click.Choice(["cloudevents", "slack"])),
    flag("to", "where events are posted to", reference, metavar="URL|secret:SECRET/KEY"),
)  # fmt: skip


@click.group(help="Where events are posted to.")
def webhook() -> None: ...


@webhook.command("list", help="List webhooks, and what they have not got yet.")
@shows(*COLUMNS)
def list_webhooks(session: Session) -> Any:
    return session.follow(all_pages(calls.list_webhooks()))


@webhook.command("get", help="Show a webhook.")
@click.argument("name")
@shows()
def get_webhook(session: Session, name: str) -> Any:
    return session.send(calls.get_webhook(name))


@webhook.command("create", help="Make a webhook.")
@click.argument("name")
@webhook_flags
@api_options
def create_webhook(session: Session, name: str, **flags: Any) -> None:
    session.show(session.send(calls.create_webhook({**fields(**flags), "name": name})))


@webhook.command("update", help="Change a webhook; what is not named stays.")
@click.argument("name")
@webhook_flags
@api_options
def change_webhook(session: Session, name: str, **flags: Any) -> None:
    session.show(session.send(calls.change_webhook(name, fields(**flags))))


@webhook.command("delete", help="Delete a webhook, with what it has not got yet.")
@click.argument("name")
@api_options
def delete_webhook(session: Session, name: str) -> None:
    session.send(calls.delete_webhook(name))
    click.echo(f"webhook {name} is deleted")


@webhook.command("deliveries", help="List what was delivered, what waits, and what was given up; the newest first.")
@click.argument("name")
@flag("state", "only with this state", click.Choice(["PENDING", "DELIVERED", "GIVEN_UP"]))
@shows(*DELIVERY_COLUMNS)
def list_deliveries(session: Session, name: str, state: str | None) -> Any:
    return session.follow(all_pages(calls.list_deliveries(name, state)))


@webhook.command("repeat", help="Deliver once more what was given up.")
@click.argument("name")
@click.argument("delivery", type=int)
@api_options
def repeat_delivery(session: Session, name: str, delivery: int) -> None:
    session.show(session.send(calls.repeat_delivery(name, delivery)))


def fields(to: Any, **flags: Any) -> dict[str, Any]:
    """--url is where the control plane is, so that --to is where events are posted to."""
    return body(**flags, url=to)
