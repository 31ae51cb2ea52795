"""The application of `mlflow-kserve up`: the page under /ui, and the API everywhere else."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request
from fastapi.responses import RedirectResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from controlplane.api import app as api
from controlplane.api import problems
from controlplane.api.control import Control
from controlplane.page import (
    api_docs,
    audit,
    changes,
    drift,
    environments,
    files,
    fleet,
    live,
    logs,
    playground,
    rollout,
    serve,
    sign_in,
)
from controlplane.page.headers import PageHeaders
from controlplane.page.rendering import problem_page

PREFIX = "/ui"


def site(control: Control) -> Starlette:
    below, page = api.build(control), pages(control)
    app = Starlette(
        routes=[
            Route("/", to_the_page),
            Route(PREFIX, to_the_page),
            Route("/docs", to_the_docs),
            Mount(PREFIX, page),
            Mount("/", below),
        ]
    )
    page.state.api = below
    app.state.feed = page.state.feed = below.state.feed  # one for all streams
    return app


async def to_the_page(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PREFIX}/")


async def to_the_docs(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PREFIX}/api")


def pages(control: Control) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=[Middleware(PageHeaders)])
    app.state.control = control
    problems.install(app, problem_page)
    for each in (files, sign_in):
        app.include_router(each.router)
    for page in (api_docs, fleet, serve, changes, rollout, drift, logs, playground, environments, audit, live):
        app.include_router(page.router, dependencies=[Depends(sign_in.signed_in)])
    return app
