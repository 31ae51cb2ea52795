"""`mlflow-kserve infra`: cores, memory and replicas of a serve in an environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mlflow_kserve.cli.fields import body, option_file, option_set, resource_flags
from mlflow_kserve.cli.following import follow, follow_options
from mlflow_kserve.cli.session import Session, api_options, argument_serve, option_env, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.flows import set_infra


@click.group(help="Cores, memory and replicas of a serve.")
def infra() -> None: ...


@infra.command("get", help="Show the infrastructure of a serve.")
@argument_serve
@option_env
@shows()
def get_infra(session: Session, serve: str, env: str) -> Any:
    return session.send(calls.get_infra(serve, env))


@infra.command("set", help="Say or change it. What is not named stays; what is deployed is deployed again.")
@argument_serve
@option_env
@resource_flags
@option_file
@option_set
@click.option("--dry-run", is_flag=True, help="show what would change, and change nothing")
@follow_options
@api_options
def change(
    session: Session, serve: str, env: str, file: Mapping[str, Any] | None, assigned: tuple[Any, ...],
    node_capacity: str | None, dry_run: bool, wait: bool, watch: bool, timeout: float, **flags: Any,
) -> None:  # fmt: skip
    fields = body(file, assigned, node_capacity_type=node_capacity, **flags)
    say_infra(session, serve, env, fields, dry_run, wait, watch, timeout)


def say_infra(
    session: Session, serve: str, env: str, fields: Mapping[str, Any], dry_run: bool, wait: bool, watch: bool,
    timeout: float,
) -> None:  # fmt: skip
    reply = session.follow(set_infra(serve, env, fields, dry_run=dry_run))
    if dry_run or reply["deployment"] is None:
        session.show(reply)
    else:
        follow(session, reply["deployment"], wait, watch, timeout)
