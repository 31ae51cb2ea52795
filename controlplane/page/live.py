"""The stream that tells a page that something has changed."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from controlplane.api import live
from controlplane.page.fleet import Text

router = APIRouter()


@router.get("/live")
async def stream(request: Request, serve: Text = "", env: Text = "") -> Response:
    return await live.stream(request, serve or None, env or None)
