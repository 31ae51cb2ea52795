"""Who did what, the newest first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from controlplane.api import environments, operations
from controlplane.api.control import caller_of
from controlplane.api.parameters import MAX_ID
from controlplane.page.fleet import Text
from controlplane.page.rendering import render

router = APIRouter()

ROWS = 50


@router.get("/audit")
def show(
    request: Request,
    serve: Text = "",
    env: Text = "",
    before: Annotated[int, Query(ge=1, le=MAX_ID)] = MAX_ID,
) -> Response:
    readable = [each["name"] for each in environments.listed(request)["items"]]
    everywhere = caller_of(request).may("viewer")
    if not env and not everywhere and readable:
        env = readable[0]
    items = operations.newest(request, serve.strip() or None, env or None, before, ROWS)["items"]
    return render(
        request,
        "audit.html",
        events=items,
        older=items[-1]["id"] if len(items) == ROWS else None,
        newest=before == MAX_ID,
        serve=serve,
        env=env,
        environments=readable,
        everywhere=everywhere,
    )
