"""/hooks/mlflow: the registry says that something has moved, and the loops ask it what."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from controlplane.access.registry_webhook import may_move
from controlplane.api.control import control_of
from controlplane.api.parameters import PROBLEMS
from controlplane.store import followed

PATH = "/hooks/mlflow"
ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"description": "The registry is asked at once"}}

router = APIRouter(tags=["hooks"], responses=PROBLEMS | ACCEPTED)


@router.post(PATH, summary="A signed event of MLflow's registry: serves that follow it are seen to at once")
async def mlflow(request: Request) -> JSONResponse:
    return await run_in_threadpool(heard, request, await request.body())


def heard(request: Request, body: bytes) -> JSONResponse:
    control = control_of(request)
    event = control.registry_webhook.event(request.headers, body)
    with control.store.reading() as tx:
        uris = {each.uri for each in followed.everything(tx) if may_move(event, each.uri)}
    if not uris:
        return JSONResponse({"ignored": "nothing that is followed here"})
    control.mark_followed()
    return JSONResponse({"looking": sorted(uris)}, 202)
