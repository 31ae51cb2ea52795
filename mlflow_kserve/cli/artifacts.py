"""`mlflow-kserve artifact`: versions of what a serve serves."""

from __future__ import annotations

import time
from typing import Any

import click

from mlflow_kserve.cli.fields import flag, stated, with_options
from mlflow_kserve.cli.following import WAIT_SECONDS
from mlflow_kserve.cli.session import FAILED, UNDER_WAY, Session, api_options, argument_serve, shows
from mlflow_kserve.client import calls, flows
from mlflow_kserve.client.flows import all_pages
from mlflow_kserve.client.replies import ArtifactJobReply

COLUMNS = ("version", "model_uri", "author", "created_at")
JOB_COLUMNS = ("job_id", "serve_name", "version", "status", "message", "updated_at")


source_flags = with_options(
    flag("path", "folder of the model in the repository"),
    flag("branch", "branch or tag of the repository"),
    flag("github-repo-url", "URL of any git repository that holds the model"),
    flag("model-uri", "URI of the model"),
)


@click.group(help="Versions of what a serve serves.")
def artifact() -> None: ...


@artifact.command("list", help="List the versions of a serve.")
@argument_serve
@shows(*COLUMNS)
def list_artifacts(session: Session, serve: str) -> Any:
    return session.follow(all_pages(calls.list_artifacts(serve)))


@artifact.command("get", help="Show a version.")
@argument_serve
@click.argument("version")
@shows()
def get_artifact(session: Session, serve: str, version: str) -> Any:
    return session.send(calls.get_artifact(serve, version))


@artifact.command("create", help="Make a version, of a model or of a git repository.")
@argument_serve
@click.argument("version")
@source_flags
@click.option("--wait", is_flag=True, help="wait until the repository is fetched")
@api_options
def create_artifact(session: Session, serve: str, version: str, wait: bool, **source: str | None) -> None:
    say_artifact(session, {"serve_name": serve, "version": version, **stated(**source)}, wait)


def say_artifact(session: Session, fields: dict[str, Any], wait: bool) -> None:
    reply = session.send(calls.create_artifact(fields))
    job = reply.get("job_id")
    if wait and job is not None:
        show_job(session, str(job), WAIT_SECONDS)
    else:
        session.show(reply)


@artifact.command("jobs", help="List the jobs that fetch repositories.")
@flag("status", "only these", click.Choice(["PENDING", "RUNNING", "SUCCESSFUL", "FAILED"]))
@shows(*JOB_COLUMNS)
def list_jobs(session: Session, status: str | None) -> Any:
    return session.follow(all_pages(calls.list_artifact_jobs(status)))


@artifact.command("status", help="Show how far a job is.")
@click.argument("job")
@click.option("--wait", is_flag=True, help="wait until it has ended")
@api_options
def job_status(session: Session, job: str, wait: bool) -> None:
    show_job(session, job, WAIT_SECONDS if wait else 0)


def show_job(session: Session, id: str, seconds: float) -> None:
    """Ends the process with a status of its own if the job has failed, or goes on."""
    deadline = time.monotonic() + seconds
    job: ArtifactJobReply = session.send(calls.get_artifact_job(id))
    while job["status"] in ("PENDING", "RUNNING") and (left := deadline - time.monotonic()) > 0:
        job = session.send(calls.get_artifact_job(id, wait=min(left, flows.WAIT_SECONDS)))
    session.show(job)
    if job["status"] == "FAILED":
        raise SystemExit(FAILED)
    if seconds and job["status"] != "SUCCESSFUL":
        raise SystemExit(UNDER_WAY)
