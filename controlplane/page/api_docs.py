"""The routes of the API for people to read: Swagger UI from an installed package, not from a content network."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from swagger_ui_bundle import swagger_ui_path

from controlplane.domain.problems import not_found
from controlplane.page.rendering import render

router = APIRouter(prefix="/api")

TYPES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
START = 'SwaggerUIBundle({url: "api/openapi.json", dom_id: "#swagger", supportedSubmitMethods: []})'
"""It sends nothing: the API does not take the cookie of the page."""
SHOWN_AS = "3.0.3"
"""The document is of 3.1, which this Swagger UI refuses by its number alone."""


@router.get("")
def show(request: Request) -> Response:
    return render(request, "api.html")


@router.get("/openapi.json")
def document(request: Request) -> Response:
    api: FastAPI = request.app.state.api
    return JSONResponse({**api.openapi(), "openapi": SHOWN_AS})


@router.get("/start.js")
def start() -> Response:
    return Response(START, media_type="text/javascript")


@router.get("/{name}")
def file(name: str) -> Response:
    if name not in TYPES:
        raise not_found("file", name[:60], "the page names those there are")
    content = (Path(swagger_ui_path) / name).read_bytes()
    return Response(content, media_type=TYPES[name], headers={"cache-control": "private, max-age=3600"})
