"""`mlflow-kserve rollout`: how far a new revision is on its way to all requests, and what a person may do to it."""

from __future__ import annotations

from typing import Any, Literal

import click

from mlflow_kserve.cli.fields import flag
from mlflow_kserve.cli.following import changes
from mlflow_kserve.cli.output import cell, described, table
from mlflow_kserve.cli.session import Session, argument_serve, option_env, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.calls import ApiCall
from mlflow_kserve.client.flows import all_pages
from mlflow_kserve.client.replies import BegunReply, RolloutReply

SUMMARY = (
    "serve", "env", "strategy", "state", "revision", "baseline", "message", "paused_by", "pause_reason", "deadline",
    "keep_until",
)  # fmt: skip
STEPS = ("number", "weight", "state", "begun_at", "ended_at", "reason")
COLUMNS = ("env", "revision", "baseline", "strategy", "state", "message", "author", "created_at")


@click.group(help="New revisions on their way to all requests: pause, promote, abort.")
def rollout() -> None: ...


@rollout.command("status", help="Show how far the newest rollout is, step by step.")
@argument_serve
@option_env
@shows()
def status(session: Session, serve: str, env: str) -> Any:
    return shown(session, session.send(calls.get_rollout(serve, env)))


@rollout.command("list", help="List the rollouts of a serve, the newest first.")
@argument_serve
@flag("env", "only in this environment")
@shows(*COLUMNS)
def list_rollouts(session: Session, serve: str, env: str | None) -> Any:
    return session.follow(all_pages(calls.list_rollouts(serve, env)))


def steering(verb: Literal["pause", "resume", "abort"], help: str) -> None:
    """A verb that needs no more than the rollout."""

    @rollout.command(verb, help=help)
    @argument_serve
    @option_env
    @shows(watch=False)
    def steer(session: Session, serve: str, env: str) -> Any:
        return shown(session, session.send(calls.steer_rollout(serve, env, verb)))


steering("pause", "Leave the traffic as it is until somebody resumes, promotes or aborts.")
steering("resume", "Go on with a paused rollout.")
steering("abort", "Send all requests back to the revision before.")


@rollout.command("promote", help="Go to the next step, whatever is known of the revision.")
@argument_serve
@option_env
@click.option("--full", is_flag=True, help="to all of the traffic")
@shows(watch=False)
def promote(session: Session, serve: str, env: str, full: bool) -> Any:
    return shown(session, session.send(calls.steer_rollout(serve, env, "promote", {"full": full})))


@rollout.command("retry", help="Roll a revision that has failed out again.")
@argument_serve
@option_env
@changes
def retry(session: Session, serve: str, env: str) -> ApiCall[BegunReply]:
    return calls.retry_rollout(serve, env)


@rollout.command("undo", help="Go back to the revision that was active before, at once.")
@argument_serve
@option_env
@changes
def undo(session: Session, serve: str, env: str) -> ApiCall[BegunReply]:
    return calls.undo_rollout(serve, env)


def shown(session: Session, reply: RolloutReply) -> Any:
    """For people: what it is about, and a line for each step."""
    if session.form != "table":
        return reply
    lines = [[cell(step.get(column)) for column in STEPS] for step in reply["steps"]]
    return f"{described(reply, SUMMARY)}\n\n{table(lines, STEPS)}"
