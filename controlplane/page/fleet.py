"""The first page: what runs, what is wrong first."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from controlplane.api import environments
from controlplane.api import fleet as api
from controlplane.api.parameters import PageNumber
from controlplane.page.rendering import render

router = APIRouter()

ROWS = 50

Text = Annotated[str, Query(max_length=63)]


@router.get("/")
def show(
    request: Request, page: PageNumber = 1, text: Text = "", env: Text = "", group: api.Group | Literal[""] = ""
) -> Response:
    listed = api.listed(request, page, ROWS, text.strip(), env or None, group or None)
    return render(
        request,
        "fleet.html",
        fleet=listed,
        pages=math.ceil(listed["total"] / ROWS),
        environments=[each["name"] for each in environments.listed(request)["items"]],
        text=text,
        env=env,
        group=group,
    )
