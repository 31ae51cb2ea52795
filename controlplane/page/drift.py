"""How far the data of a serve has moved from its training data: a page of its own, and a part of the serve's."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from controlplane.api import drift
from controlplane.page.rendering import render

router = APIRouter()

MAX_SHOWN = 20


@router.get("/serve/{name}/{env}/drift")
def show(request: Request, name: str, env: str) -> Response:
    read = drift.drift(request, name, env)
    return render(request, "drift.html", serve=name, env=env, drift=read, shown=read["columns"][:MAX_SHOWN])
