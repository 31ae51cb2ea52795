"""Commands that begin a change, and how it is followed: not at all, until its end, or line by line."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import click

from mlflow_kserve.cli.fields import with_options
from mlflow_kserve.cli.session import FAILED, UNDER_WAY, Session, api_options
from mlflow_kserve.client import calls
from mlflow_kserve.client.calls import ApiCall
from mlflow_kserve.client.flows import wait_for
from mlflow_kserve.client.replies import BegunReply, OperationReply, StatusReply, UnchangedReply

BEGUN = ("serve", "env", "revision", "artifact_version", "operation.id", "operation.state", "changes")
ENDED = ("serve", "env", "status", "url", "revision", "artifact_version", "model_uri", "last_error")
WAIT_SECONDS = 660.0
"""Longer than a change may take until the control plane ends it."""
PROGRESS_INTERVAL = 0.3


follow_options = with_options(
    click.option("--timeout", type=click.FloatRange(min=0), default=WAIT_SECONDS, show_default=True,
                 metavar="SECONDS", help="how long to wait; the change itself goes on"),
    click.option("--watch", is_flag=True, help="wait, and show the progress"),
    click.option("--wait", is_flag=True, help="wait until the change has ended"),
)  # fmt: skip


def changes(command: Callable[..., ApiCall[BegunReply] | ApiCall[BegunReply | UnchangedReply]]) -> Callable[..., Any]:
    """A command that begins a change: the call that it returns is sent and followed, or sent as a question."""

    @functools.wraps(command)
    def change(
        session: Session, wait: bool, watch: bool, timeout: float, dry_run: bool, **options: Any
    ) -> None:  # fmt: skip
        call = command(session, **options)
        if dry_run:
            session.show(session.send(call.dry()))
            return
        follow(session, session.send(call), wait, watch, timeout)

    dry = click.option("--dry-run", is_flag=True, help="show what would change, and change nothing")
    return api_options(follow_options(dry(change)))


def follow(
    session: Session, begun: BegunReply | UnchangedReply, wait: bool, watch: bool, timeout: float
) -> None:  # fmt: skip
    """Shows a change that has begun, or what came of it; ends the process with a status of its own if it failed."""
    operation = begun["operation"]
    if operation is None or not (wait or watch):
        session.show(begun, BEGUN)
        return
    if operation["state"] == "WAITING":
        session.show(begun, BEGUN)
        click.echo(f"error: it waits for another person: mlflow-kserve operation approve {operation['id']}", err=True)
        raise SystemExit(UNDER_WAY)
    operation = watched(session, operation, timeout) if watch else session.follow(wait_for(operation, timeout))
    session.show(session.send(calls.get_status(operation["serve"], operation["env"])), ENDED)
    if operation["state"] == "RUNNING":
        click.echo(
            f"error: still under way after {timeout:g} s: mlflow-kserve operation get {operation['id']} --wait",
            err=True,
        )
        raise SystemExit(UNDER_WAY)
    if operation["state"] != "SUCCEEDED":
        click.echo(f"error: {operation['kind']} {operation['state'].lower()}: {operation['message']}", err=True)
        raise SystemExit(FAILED)


def watched(session: Session, operation: OperationReply, seconds: float) -> OperationReply:
    """Writes a line to stderr for each thing that changes, until the operation has ended."""
    deadline = time.monotonic() + seconds
    shown: set[str] = set()
    while True:
        operation = session.send(calls.get_operation(operation["id"]))
        for line in progress(session.send(calls.get_status(operation["serve"], operation["env"]))):
            if line not in shown:
                click.echo(line, err=True)
                shown.add(line)
        if operation["state"] != "RUNNING" or time.monotonic() >= deadline:
            return operation
        time.sleep(PROGRESS_INTERVAL)


def progress(status: StatusReply) -> list[str]:
    lines = []
    for pod in status["pods"] or []:
        starts = f", start {pod['starts']}" if pod.get("starts", 1) > 1 else ""
        weight = pod.get("weight", 0)
        serving = f", {weight} % of the requests" if 0 < weight < 100 else ", serving" if pod.get("serving") else ""
        message = f": {pod['message']}" if pod.get("message") and pod["phase"] != "ready" else ""
        place = pod.get("name") or f"revision {pod['revision']}"
        lines.append(f"{place}: {pod['phase']}{starts}{serving}{message}")
    return lines
