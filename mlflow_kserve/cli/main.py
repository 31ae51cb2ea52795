"""`mlflow-kserve`: models served and tested here, manifests, and what the control plane deploys."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from mlflow_kserve.cli.lazy import CommandEntry, LazyGroup

NAME = "mlflow-kserve"
OWN_FLAGS = ("--help", "-h", "--version")
ONE_STEP = {
    name: CommandEntry(f"mlflow_kserve.cli.one_step:{name.replace('-', '_')}", help)
    for name, help in {
        "deploy-model": "deploy a model: makes its serve and its artifact",
        "undeploy-model": "undeploy a model",
        "create-environment": "make an environment",
        "create-serve-repo": "make a starter repository for a serve",
        "create-serve": "make a serve",
        "create-serve-config": "say the infrastructure of a serve",
        "update-serve-config": "change it; what is deployed is deployed again",
        "create-artifact": "make a version, of a model or of a git repository",
        "deploy-artifact": "deploy a version",
        "get-serve-status": "what is wanted, what is there, and since when",
        "get-artifact-status": "how far the job of an artifact is",
    }.items()
} | {"configure": CommandEntry("mlflow_kserve.cli.logins:configure", "keep a token")}
"""The words of Darwin ML Serve's command line."""
SECTIONS = {
    "Models": {
        "serve": CommandEntry("mlflow_kserve.cli.serves:serve", "serve a model; list, create and delete serves"),
        "load": CommandEntry(
            "mlflow_kserve.cli.programs:load", "send load to a server, compare runs, find its capacity"
        ),
        "conformance": CommandEntry(
            "mlflow_kserve.cli.conformance:conformance", "check any server against the Open Inference Protocol"
        ),
    },
    "Manifests": {
        "generate": CommandEntry("mlflow_kserve.cli.programs:generate", "the manifests of a serve, and its rollouts"),
        "monitor": CommandEntry("mlflow_kserve.cli.programs:monitor", "rules, scrape configs and dashboards"),
    },
    "Control plane": {
        "up": CommandEntry("mlflow_kserve.cli.programs:up", "start the control plane"),
        "login": CommandEntry("mlflow_kserve.cli.logins:login", "keep the address of a control plane, and a token"),
        "environment": CommandEntry("mlflow_kserve.cli.environments:environment", "where serves run"),
        "infra": CommandEntry("mlflow_kserve.cli.infra:infra", "cores, memory and replicas of a serve"),
        "artifact": CommandEntry("mlflow_kserve.cli.artifacts:artifact", "versions of what a serve serves"),
        "deployment": CommandEntry("mlflow_kserve.cli.deployments:deployment", "deploy, undeploy, status and logs"),
        "apply": CommandEntry("mlflow_kserve.cli.deployments:apply", "make a serve what a spec file says"),
        "revision": CommandEntry("mlflow_kserve.cli.revisions:revision", "what was deployed, differences, rollback"),
        "rollout": CommandEntry(
            "mlflow_kserve.cli.rollouts:rollout", "new revisions, step by step: pause, promote, abort"
        ),
        "operation": CommandEntry("mlflow_kserve.cli.operations:operation", "changes under way: follow, abort"),
        "event": CommandEntry("mlflow_kserve.cli.operations:event", "who did what"),
        "webhook": CommandEntry("mlflow_kserve.cli.webhooks:webhook", "where events are posted to"),
        "token": CommandEntry("mlflow_kserve.cli.tokens:token", "who may ask"),
    },
    "In one step": ONE_STEP,
    "Shell": {
        "completion": CommandEntry("mlflow_kserve.cli.completion:completion", "completion for bash, zsh and fish"),
    },
}


def hyphenated(name: str) -> str:
    """Flags may be spelled with underscores, as those of the server."""
    return name.replace("_", "-")


def show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{NAME} {version('mlflow-kserve')}")
        context.exit()


command = LazyGroup(
    NAME,
    sections=SECTIONS,
    help="Serve MLflow models, generate what KServe needs, and deploy by a control plane.\n\n"
    "Flags without a command serve a model: mlflow-kserve --model-uri ./model",
    epilog="Exit codes: 0; 1 failed; 2 unusable flags; 3 refused; 4 in conflict; 5 unreachable; 6 still under way.",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "token_normalize_func": hyphenated,
    },
    params=[
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show_version,
            help="Show the version.",
        )
    ],
    no_args_is_help=True,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Ends the process with the status of the command."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments and arguments[0].startswith("-") and arguments[0] not in OWN_FLAGS:
        arguments = ["serve", *arguments]
    command.main(arguments, prog_name=NAME)
    raise AssertionError("click ends the process")
