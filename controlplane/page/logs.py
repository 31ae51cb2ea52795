"""What a revision has written."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from controlplane.api import deployments
from controlplane.domain.deployments import MAX_REVISION
from controlplane.page.rendering import render

router = APIRouter()

MAX_SHOWN = 48_000
"""Characters: a page stays small however long the lines are."""
MAX_LISTED = 50


@router.get("/serve/{name}/{env}/logs")
def show(
    request: Request,
    name: str,
    env: str,
    revision: Annotated[int | None, Query(ge=1, le=MAX_REVISION)] = None,
    lines: Annotated[int, Query(ge=1, le=10_000)] = 200,
    follow: Literal["", "on"] = "",
) -> Response:
    text = bytes(deployments.logs(request, name, env, revision, lines).body).decode()
    numbers = [each["revision"] for each in deployments.revisions(request, name, env, 1, MAX_LISTED)["items"]]
    shown = text[-MAX_SHOWN:]
    return render(
        request,
        "logs.html",
        serve=name,
        env=env,
        revision=revision or numbers[0],
        revisions=numbers if revision is None or revision in numbers else [*numbers, revision],
        lines=lines,
        follow=bool(follow),
        text=shown,
        left_out=len(text) - len(shown),
    )
