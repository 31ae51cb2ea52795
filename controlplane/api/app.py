"""The application: routes, errors, and the guard before all of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from controlplane.api import (
    artifacts,
    clusters,
    deployments,
    drift,
    environments,
    fleet,
    hooks,
    operations,
    problems,
    rollouts,
    serves,
    tokens,
    webhooks,
)
from controlplane.api.control import Control, caller_of, control_of
from controlplane.api.parameters import PROBLEMS
from controlplane.api.streams import EventFeed
from controlplane.domain.problems import ApiProblem

PREFIX = "/api/v1"
MAX_BODY = 1 << 20  # bytes
OPEN = ("/healthcheck", "/readycheck", hooks.PATH)
"""Paths for probes, which tell nothing of what is deployed, and for signed events."""


def build(control: Control) -> FastAPI:
    app = FastAPI(
        title="mlflow-kserve control plane",
        description="Environments, serves, deployments and rollback. Errors are application/problem+json.",
        version="1",
        docs_url=None,  # the page has them, without a content network
        redoc_url=None,
        telemetry={"tracing": False},  # newer versions trace by themselves; ours are the same with each
    )
    app.state.control = control
    app.state.feed = EventFeed(control.store)
    problems.install(app)
    app.add_middleware(GuardMiddleware)
    api = APIRouter(prefix=PREFIX, responses=PROBLEMS)
    routers = (
        environments, clusters, deployments, drift, rollouts, serves, fleet, artifacts, operations, tokens, webhooks,
    )  # fmt: skip
    for each in routers:
        api.include_router(each.router)
    api.include_router(artifacts.jobs)
    app.include_router(api)
    app.include_router(hooks.router)
    app.include_router(health)
    return app


class GuardMiddleware:
    """Names the caller before anything is read of the request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            try:
                refuse_unreadable(request)
                if scope["path"] not in OPEN:
                    guard = control_of(request).guard
                    request.state.caller = await run_in_threadpool(guard.caller, request.headers.raw)
            except ApiProblem as problem:
                return await problems.response(problem)(scope, receive, send)
            except DBAPIError:
                away = problems.unavailable("the store does not answer", "try again")
                return await problems.response(away)(scope, receive, send)
        return await self.app(scope, receive, send)


def refuse_unreadable(request: Request) -> None:
    """A body is JSON of a length that is known; a page of another site could send other types unasked."""
    length = request.headers.get("content-length")
    if length is None and "transfer-encoding" in request.headers:
        raise ApiProblem(411, "the body has no content-length", way_out="send one")
    if length is not None and length.isdigit() and int(length) > MAX_BODY:
        raise ApiProblem(413, f"the body has {length} bytes", way_out=f"send at most {MAX_BODY}")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if length not in (None, "0") and kind != "application/json":
        raise ApiProblem(415, f"the content-type is {kind[:60]!r}", way_out="send application/json")


health = APIRouter(tags=["health"])


@health.get("/healthcheck", summary="Whether the control plane runs")
def healthcheck() -> dict[str, Any]:
    return {"status": "ok"}


@health.get("/readycheck", summary="Whether the store answers, and whether this control plane acts")
def readycheck(request: Request) -> JSONResponse:
    control = control_of(request)
    try:
        control.store.check()
    except DBAPIError:
        return JSONResponse({"status": "unavailable", "store": "does not answer"}, 503)
    return JSONResponse({"status": "ok", "acts": control.acts(), "waiting": control.waiting()})


@health.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    caller_of(request).require_somewhere("viewer")
    return Response(generate_latest(control_of(request).metrics), media_type=CONTENT_TYPE_LATEST)
