"""`mlflow-kserve environment`: where serves run."""

from __future__ import annotations

from typing import Any

import click

from mlflow_kserve.cli.fields import body, flag, option_file, option_set, with_options
from mlflow_kserve.cli.session import Session, api_options, shows
from mlflow_kserve.client import calls
from mlflow_kserve.client.flows import all_pages

COLUMNS = ("name", "environment_configs.cluster_name", "environment_configs.namespace", "updated_at")


environment_flags = with_options(
    option_set,
    option_file,
    flag("ingress-class", "class of the cluster's ingresses"),
    flag("tracking-secret", "Secret with the credentials of the tracking server"),
    flag("tracking-uri", "URL of the MLflow tracking server"),
    flag("image-tag", "tag of the predictor's images"),
    flag("image-registry", "registry of the predictor's images"),
    flag("mode", "KServe's deployment mode", click.Choice(["Standard", "Knative"])),
    flag("kube-context", "context of the control plane's kubeconfig"),
    flag("backend", "where its serves run", click.Choice(["local", "kserve"])),
    flag("workflow-url", "URL of the workflow service"),
    flag("ft-redis-url", "URL of the feature store's Redis"),
    flag("subnets", "subnets, separated by commas"),
    flag("security-group", "security groups, separated by commas"),
    flag("namespace", "namespace of the serves"),
    flag("cluster-name", "name of the cluster"),
    flag("domain-suffix", "suffix of the addresses of serves, such as .mycompany.com"),
)


@click.group(help="Where serves run.")
def environment() -> None: ...


@environment.command("list", help="List environments.")
@shows(*COLUMNS)
def list_environments(session: Session) -> Any:
    return session.follow(all_pages(calls.list_environments()))


@environment.command("get", help="Show an environment.")
@click.argument("name")
@shows()
def get_environment(session: Session, name: str) -> Any:
    return session.send(calls.get_environment(name))


@environment.command("create", help="Make an environment.")
@click.argument("name")
@environment_flags
@api_options
def create_environment(session: Session, name: str, **flags: Any) -> None:
    session.show(session.send(calls.create_environment({**body(**flags), "name": name})))


@environment.command("update", help="Change an environment; what is not named stays.")
@click.argument("name")
@environment_flags
@api_options
def change_environment(session: Session, name: str, **flags: Any) -> None:
    session.show(session.send(calls.change_environment(name, body(**flags))))


@environment.command("delete", help="Delete an environment that nothing is deployed in.")
@click.argument("name")
@api_options
def delete_environment(session: Session, name: str) -> None:
    session.send(calls.delete_environment(name))
    click.echo(f"environment {name} is deleted")


@environment.command("adopt", help="Bring back the serves that a cluster has and the store has lost.")
@click.argument("name")
@api_options
def adopt_environment(session: Session, name: str) -> None:
    session.show(session.send(calls.adopt_environment(name)))
