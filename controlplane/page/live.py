"""The stream that tells a page that something has changed."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from controlplane.api import operations, streams
from controlplane.domain.problems import ApiProblem
from controlplane.page.fleet import Text
from controlplane.page.sign_in import with_token

router = APIRouter()


@router.get("/live")
def stream(request: Request, serve: Text = "", env: Text = "") -> Response:
    """The events of the API, to a browser: it sends no header, and its cookie is as good."""
    if not streams.is_wanted(request):
        raise ApiProblem(406, "this is a stream", way_out="GET /api/v1/event has the events as a list")
    return operations.listed(with_token(request), serve or None, env or None)
