"""`mlflow-kserve deployment`: deploy, undeploy, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mlflow_kserve.cli.fields import (
    flag,
    follow_flag,
    object_file,
    option_variables,
    stated,
    strategy_flags,
    variables_of,
)
from mlflow_kserve.cli.following import ENDED, changes
from mlflow_kserve.cli.session import Session, argument_serve, option_env, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.calls import ApiCall
from mlflow_kserve.client.flows import all_pages
from mlflow_kserve.client.replies import BegunReply, UnchangedReply

COLUMNS = ("env", "revision", "artifact_version", "status", "message", "created_at")
STATUSES = click.Choice(["PENDING", "ACTIVE", "ENDED", "FAILED", "ABORTED"])


@click.group(help="Deploy, undeploy, and what came of it.")
def deployment() -> None: ...


@deployment.command("create", help="Deploy a version of a serve.")
@argument_serve
@click.argument("version")
@option_env
@strategy_flags
@option_variables
@follow_flag
@flag("reason", "why, for the history")
@changes
def create(session: Session, serve: str, version: str, env: str, variables: Any, **more: Any) -> ApiCall[BegunReply]:
    fields = {"env": env, "artifact_version": version}
    return calls.deploy(serve, fields | stated(environment_variables=variables_of(variables), **more))


@deployment.command("delete", help="Undeploy a serve.")
@argument_serve
@option_env
@changes
def delete(session: Session, serve: str, env: str) -> ApiCall[BegunReply]:
    return calls.undeploy(serve, env)


@deployment.command("list", help="List deployments of a serve, the newest first.")
@argument_serve
@flag("env", "only in this environment")
@flag("status", "only with this status", STATUSES)
@shows(*COLUMNS)
def list_deployments(session: Session, serve: str, env: str | None, status: str | None) -> Any:
    return session.follow(all_pages(calls.list_deployments(serve, env, status)))


@deployment.command("status", help="Show what is wanted, what is there, and since when.")
@argument_serve
@option_env
@shows(*ENDED, "replicas.ready", "operation.state", "since")
def status(session: Session, serve: str, env: str) -> Any:
    return session.send(calls.get_status(serve, env))


@deployment.command("logs", help="Show the last lines of a revision's log.")
@argument_serve
@option_env
@click.option("--revision", type=int, metavar="N", help="default: the newest")
@click.option("--lines", type=click.IntRange(1, 10_000), default=100, show_default=True)
@shows(watch=False)
def logs(session: Session, serve: str, env: str, revision: int | None, lines: int) -> Any:
    return session.send(calls.get_logs(serve, env, revision, lines))


@deployment.command("export", help="Print the manifests of a revision, as anybody can apply them.")
@argument_serve
@option_env
@click.option("--revision", type=int, metavar="N", help="default: the wanted one")
@shows(watch=False)
def export(session: Session, serve: str, env: str, revision: int | None) -> Any:
    return session.send(calls.export(serve, env, revision))


@deployment.command("adopt", help="Make what others have changed in the cluster a revision.")
@argument_serve
@option_env
@changes
def adopt(session: Session, serve: str, env: str) -> ApiCall[BegunReply]:
    return calls.adopt(serve, env)


@deployment.command("take-over", help="Overwrite what others have changed in the cluster.")
@argument_serve
@option_env
@changes
def take_over(session: Session, serve: str, env: str) -> ApiCall[BegunReply]:
    return calls.take_over(serve, env)


@click.command("apply", help="Make a serve what a spec file says; any number of times with the same outcome.")
@click.option("-f", "--file", type=object_file, required=True, metavar="FILE", help="the spec; - is stdin")
@option_env
@flag("artifact-version", "label of the version [default: v1, v2, …]", metavar="VERSION")
@flag("reason", "why, for the history")
@changes
def apply(
    session: Session, file: Mapping[str, Any], env: str, **more: Any
) -> ApiCall[BegunReply | UnchangedReply]:  # fmt: skip
    return calls.apply_spec({"env": env, "spec": dict(file), **stated(**more)})
