"""Every error as `application/problem+json`."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from controlplane.backends.backend import BackendAway
from controlplane.domain.bodies import shown
from controlplane.domain.problems import ApiProblem, FieldProblem, conflict

log = logging.getLogger("controlplane")


def response(problem: ApiProblem) -> JSONResponse:
    return JSONResponse(
        problem.as_json(), problem.status, problem.headers, media_type="application/problem+json"
    )  # fmt: skip


Respond = Callable[[Request, ApiProblem], Response]


def install(app: FastAPI, respond: Respond = lambda request, problem: response(problem)) -> None:
    """Whatever goes wrong in the application becomes a problem, and `respond` makes a response of it."""

    @app.exception_handler(ApiProblem)
    def refused(request: Request, error: ApiProblem) -> Response:
        return respond(request, error)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        return respond(request, invalid_request(error))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        ways = {404: "GET /docs shows all routes", 405: "GET /docs shows the methods of each route"}
        headers = tuple((error.headers or {}).items())
        return respond(
            request,
            ApiProblem(error.status_code, str(error.detail), way_out=ways.get(error.status_code), headers=headers),
        )

    @app.exception_handler(IntegrityError)
    def met_another(request: Request, error: IntegrityError) -> Response:
        return respond(request, conflict("another request made the same at the same moment", "repeat the request"))

    @app.exception_handler(DataError)
    def not_storable(request: Request, error: DataError) -> Response:
        return respond(
            request, ApiProblem(422, "a name or a value holds what the database cannot store", way_out="correct it")
        )

    @app.exception_handler(DBAPIError)
    @app.exception_handler(PoolTimeout)
    def store_away(request: Request, error: Exception) -> Response:
        reason = getattr(error, "orig", None)
        log.error("the store cannot be used: %s", reason or error)
        # SQLite's own words name no host and no user: database is locked, database or disk is full.
        detail = f"the store cannot be used: {reason}" if isinstance(reason, sqlite3.Error) else "the store is away"
        return respond(request, unavailable(detail, "nothing has been changed: try again; what serves goes on serving"))

    @app.exception_handler(BackendAway)
    def backend_away(request: Request, error: BackendAway) -> Response:
        return respond(request, unavailable(str(error), "try again once the back end answers"))

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return respond(
            request, ApiProblem(500, "the control plane has failed", way_out="its log says why; please report it")
        )


def unavailable(detail: str, way_out: str) -> ApiProblem:
    return ApiProblem(503, detail, way_out=way_out, headers=[("retry-after", "1")])


def invalid_request(error: RequestValidationError) -> ApiProblem:
    """Problems of the path, the query, or of JSON that cannot be read."""
    fields = []
    for each in error.errors():
        if each["type"] == "json_invalid":
            return ApiProblem(400, f"the body is not JSON: {reason_of(each)}", way_out="send a JSON object")
        if each["type"] == "missing" and tuple(each["loc"]) == ("body",):
            return ApiProblem(
                422, "the request has no JSON body", way_out="send a JSON object as content-type application/json"
            )
        name = ".".join(map(str, each["loc"]))
        fields.append(FieldProblem(name, f"is {shown(each.get('input'))}", str(each["msg"]).lower()))
    detail = "; ".join(f"{each.field} {each.reason}: {each.expected}" for each in fields)
    return ApiProblem(422, detail, way_out="correct the fields named in errors", fields=fields)


def reason_of(error: Any) -> str:
    return str(error.get("ctx", {}).get("error", "it ends early"))
