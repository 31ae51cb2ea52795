"""/artifact: versions of what a serve serves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from controlplane.api import views
from controlplane.api.control import caller_of, control_of
from controlplane.api.parameters import DRY, JsonBody, Limit, PageNumber, documented
from controlplane.api.reply import ApiReply, carry_out
from controlplane.api.waiting import Wait, wait_while
from controlplane.changes import serves as changes
from controlplane.changes.context import ChangeContext
from controlplane.domain.artifacts import NewArtifact
from controlplane.store import artifact_jobs, artifacts, serves
from controlplane.store.artifact_jobs import ArtifactJob

router = APIRouter(prefix="/artifact", tags=["artifacts"])


@router.post("", status_code=201, responses=DRY, summary="Make an artifact", openapi_extra=documented(NewArtifact))
def create(request: Request, body: JsonBody) -> Response:
    caller_of(request).require_somewhere("deployer")

    def change(context: ChangeContext) -> ApiReply:
        artifact = changes.create_artifact(context, body)
        if isinstance(artifact, ArtifactJob):
            place = f"/api/v1/artifact_builder_job/{artifact.id}"
            return ApiReply(201, views.job(artifact), {"location": place})
        return ApiReply(
            201, views.artifact(artifact), {"location": f"/api/v1/artifact/{artifact.serve}/{artifact.version}"}
        )

    response = carry_out(request, body, change)
    control_of(request).mark_artifacts()
    return response


@router.get("/{serve}", summary="The artifacts of a serve, the newest first")
def listed(request: Request, serve: str, page: PageNumber = 1, limit: Limit = 50) -> dict[str, Any]:
    caller_of(request).require_somewhere("viewer")
    with control_of(request).store.listing() as tx:
        serves.get(tx, serve)
        rows, total = artifacts.listed(tx, serve, page, limit)
    return views.page([views.artifact(row) for row in rows], total, page, limit)


@router.get("/{serve}/{version}", summary="Get an artifact")
def get(request: Request, serve: str, version: str) -> dict[str, Any]:
    caller_of(request).require_somewhere("viewer")
    with control_of(request).store.reading() as tx:
        serves.get(tx, serve)
        return views.artifact(artifacts.get(tx, serve, version))


jobs = APIRouter(prefix="/artifact_builder_job", tags=["artifacts"])


@jobs.get("", summary="Jobs that fetch artifacts, the newest first")
def listed_jobs(
    request: Request, status: artifact_jobs.JobState | None = None, page: PageNumber = 1, limit: Limit = 50
) -> dict[str, Any]:
    caller_of(request).require_somewhere("viewer")
    with control_of(request).store.listing() as tx:
        rows, total = artifact_jobs.listed(tx, status, page, limit)
    return views.page([views.job(row) for row in rows], total, page, limit)


@jobs.get("/{id}", summary="How far a job is")
@jobs.get("/{id}/status", summary="How far a job is")
async def get_job(request: Request, id: str, wait: Wait = 0) -> dict[str, Any]:
    caller_of(request).require_somewhere("viewer")

    def read() -> ArtifactJob:
        with control_of(request).store.reading() as tx:
            return artifact_jobs.get(tx, id)

    await wait_while(lambda: read().state in ("PENDING", "RUNNING"), wait)
    return views.job(await run_in_threadpool(read))
