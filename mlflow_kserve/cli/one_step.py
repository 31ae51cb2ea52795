"""Commands in the words of Darwin ML Serve's command line, with its flags.

In a folder that `create-serve-repo` made, what is not said is taken from its deploy.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from mlflow_kserve.cli import starter
from mlflow_kserve.cli.artifacts import say_artifact, show_job, source_flags
from mlflow_kserve.cli.environments import environment_flags
from mlflow_kserve.cli.fields import (
    body,
    flag,
    follow_flag,
    json_object,
    object_file,
    option_variables,
    resource_flags,
    stated,
    strategy_flags,
    variables_of,
)
from mlflow_kserve.cli.following import ENDED, WAIT_SECONDS, changes, follow_options
from mlflow_kserve.cli.infra import say_infra
from mlflow_kserve.cli.session import Session, api_options, complete_env, complete_serve, default_env, shows
from mlflow_kserve.cli.starter import DEPLOY_FILE
from mlflow_kserve.client import calls
from mlflow_kserve.client.calls import ApiCall
from mlflow_kserve.client.login import DEFAULT_ENV, ENV
from mlflow_kserve.client.replies import BegunReply

F = TypeVar("F", bound=Callable[..., Any])
SEED_ENV = "ENV"
"""The variable by which the command line of the same words names the environment."""


def option_env(command: F) -> F:
    return click.option(
        "--env", default=seed_env, metavar="NAME", shell_complete=complete_env,
        help=f"environment [{ENV}; default: that of login, else {SEED_ENV}, else local]",
    )(command)  # fmt: skip


def seed_env() -> str:
    return default_env(os.environ.get(SEED_ENV) or DEFAULT_ENV)


def deploy_file() -> Mapping[str, Any]:
    """What the deploy.yaml of this folder says; nothing, if there is none."""
    if not Path(DEPLOY_FILE).is_file():
        return {}
    return object_file(DEPLOY_FILE)


def part(*path: str) -> dict[str, Any]:
    """A part of it, without what is empty."""
    value: Any = deploy_file()
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return {name: each for name, each in (value or {}).items() if each not in (None, "")}


def named_serve(name: str | None) -> str:
    known = name or part("serve").get("name")
    if not known:
        raise click.UsageError(f"--serve-name is missing, and {DEPLOY_FILE} in this folder names no serve")
    return str(known)


option_serve = flag(
    "serve-name", f"name of the serve [default: that of {DEPLOY_FILE}]", metavar="NAME", shell_complete=complete_serve
)


@click.command("deploy-model", help="Deploy a model in one step.")
@click.option("--serve-name", required=True, metavar="NAME", shell_complete=complete_serve, help="name of the serve")
@click.option("--model-uri", required=True, metavar="URI", help="URI of the model, or a folder of this machine")
@option_env
@flag("artifact-version", "label of the version [default: v1, v2, …]", metavar="VERSION")
@resource_flags
@flag("flavor", "flavor of the model, where the control plane cannot read its MLmodel file")
@flag("storage-strategy", "how the model reaches a pod", click.Choice(["auto", "emptydir", "pvc"]))
@strategy_flags
@option_variables
@follow_flag
@flag("reason", "why, for the history")
@changes
def deploy_model(session: Session, model_uri: str, variables: Any, **fields: Any) -> ApiCall[BegunReply]:
    fields |= {"environment_variables": variables_of(variables), "model_uri": absolute(model_uri)}
    return calls.deploy_model(stated(**fields))


def absolute(uri: str) -> str:
    """A folder of this machine by its whole path: the control plane has another one."""
    return str(Path(uri).absolute()) if ":" not in uri and Path(uri).is_dir() else uri


@click.command("undeploy-model", help="Undeploy a model.")
@click.option("--serve-name", required=True, metavar="NAME", shell_complete=complete_serve, help="name of the serve")
@flag("artifact-version", "is not needed: a serve has one version in an environment", metavar="VERSION")
@option_env
@changes
def undeploy_model(
    session: Session, serve_name: str, artifact_version: str | None, env: str
) -> ApiCall[BegunReply]:  # fmt: skip
    return calls.undeploy_model({"serve_name": serve_name, "env": env})


@click.command("create-environment", help="Make an environment.")
@click.option("--name", required=True, metavar="NAME", help="name of the environment")
@environment_flags
@api_options
def create_environment(session: Session, name: str, **flags: Any) -> None:
    session.show(session.send(calls.create_environment({**body(**flags), "name": name})))


@click.command("create-serve", help="Make a serve.")
@flag("name", f"name of the serve [default: that of {DEPLOY_FILE}]", metavar="NAME")
@flag("type", "kind of serve", click.Choice(["api"]))
@flag("space", "the team, or whatever else serves are grouped by")
@flag("description", "what it is for")
@click.option("--filename", "file", type=object_file, metavar="FILE", help="YAML or JSON with these fields")
@api_options
def create_serve(session: Session, file: Mapping[str, Any] | None, **flags: Any) -> None:
    fields = {**part("serve"), **(file or {}), **stated(**flags)}
    session.show(session.send(calls.create_serve({**fields, "name": named_serve(fields.get("name"))})))


def config_command(name: str, help: str) -> click.Command:
    """`create-serve-config` and `update-serve-config`: both say the infrastructure, and change what it names."""

    @click.command(name, help=help)
    @option_serve
    @option_env
    @flag("api-config", 'fields as JSON, such as \'{"cores": 2, "memory": 4}\'', json_object, metavar="JSON")
    @click.option("--filename", "file", type=object_file, metavar="FILE", help="YAML or JSON with these fields")
    @resource_flags
    @click.option("--dry-run", is_flag=True, help="show what would change, and change nothing")
    @follow_options
    @api_options
    def command(
        session: Session, serve_name: str | None, env: str, api_config: Mapping[str, Any] | None,
        file: Mapping[str, Any] | None, node_capacity: str | None, dry_run: bool, wait: bool, watch: bool,
        timeout: float, **flags: Any,
    ) -> None:  # fmt: skip
        said = {**(file or {}), **(api_config or {}), **stated(node_capacity_type=node_capacity, **flags)}
        fields = said or part("environments", env, "infra")
        if not fields:
            raise click.UsageError(f"nothing is said: expected --api-config or --cores and so on, or {DEPLOY_FILE}")
        say_infra(session, named_serve(serve_name), env, fields, dry_run, wait, watch, timeout)

    return command


create_serve_config = config_command("create-serve-config", "Say the infrastructure of a serve.")
update_serve_config = config_command(
    "update-serve-config", "Change the infrastructure of a serve; what is deployed is deployed again."
)


@click.command("create-artifact", help="Make a version, of a model or of a git repository.")
@option_serve
@click.option("--version", required=True, metavar="VERSION", help="label of the version; it never changes")
@source_flags
@click.option("--wait", is_flag=True, help="wait until the repository is fetched")
@api_options
def create_artifact(session: Session, serve_name: str | None, version: str, wait: bool, **source: Any) -> None:
    said = stated(**source)
    if "model_uri" not in said:
        said = {**part("artifact"), **said}
    say_artifact(session, {"serve_name": named_serve(serve_name), "version": version, **said}, wait)


@click.command("deploy-artifact", help="Deploy a version.")
@option_serve
@click.option("--artifact-version", required=True, metavar="VERSION", help="label of the version")
@option_env
@flag("api-serve-deployment-config", "strategy and variables as JSON", json_object, metavar="JSON")
@changes
def deploy_artifact(
    session: Session, serve_name: str | None, artifact_version: str, env: str,
    api_serve_deployment_config: Mapping[str, Any] | None,
) -> ApiCall[BegunReply]:  # fmt: skip
    config = api_serve_deployment_config or part("environments", env, "deployment")
    wrapped = {"api_serve_deployment_config": dict(config)} if config else {}
    return calls.deploy(named_serve(serve_name), {"env": env, "artifact_version": artifact_version, **wrapped})


@click.command("get-serve-status", help="Show what is wanted, what is there, and since when.")
@option_serve
@option_env
@shows(*ENDED, "replicas.ready", "operation.state", "since")
def get_serve_status(session: Session, serve_name: str | None, env: str) -> Any:
    return session.send(calls.get_status(named_serve(serve_name), env))


@click.command("get-artifact-status", help="Show how far the job of an artifact is.")
@click.option("--job-id", required=True, metavar="ID", help="the job, from the reply of create-artifact")
@click.option("--wait", is_flag=True, help="wait until it has ended")
@api_options
def get_artifact_status(session: Session, job_id: str, wait: bool) -> None:
    show_job(session, job_id, WAIT_SECONDS if wait else 0)


@click.command("create-serve-repo", help="Make a starter repository for a serve.")
@flag("name", "name of the serve", metavar="NAME")
@click.option(
    "--template", "-t", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
    help="folder of a template of your own",
)  # fmt: skip
@click.option("--filename", "-f", "file", type=object_file, metavar="FILE", help="YAML with values for the template")
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="DIR", help="folder [default: the name]")
def create_serve_repo(
    name: str | None, template: Path | None, file: Mapping[str, Any] | None, output: Path | None
) -> None:  # fmt: skip
    values = {**(file or {}), **stated(name=name)}
    folder = output or Path(values.get("name") or starter.DEFAULTS["name"])
    try:
        starter.write(folder, values, template)
    except starter.TargetExists as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{folder} is a repository for a serve; its README.md says what comes next.")
