"""The page of a serve: its state, revisions, processes and last events, and what differs between two revisions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from controlplane.api import deployments, operations, rollouts, serves
from controlplane.api.control import caller_of, control_of
from controlplane.domain.deployments import MAX_REVISION
from controlplane.page.rendering import render, reply_of, root_of, segment
from controlplane.store import targets

router = APIRouter()

REVISIONS = 20
EVENTS = 10

Revision = Annotated[int, Query(ge=1, le=MAX_REVISION)]


@router.get("/serve/{name}")
def choose(request: Request, name: str) -> Response:
    """The first environment that it was deployed in; the page of the serve alone if there is none."""
    about = reply_of(serves.get(request, name))
    known = environments_of(request, name)
    if known:
        return RedirectResponse(f"{root_of(request)}/serve/{segment(name)}/{segment(known[0])}", 303)
    return render(request, "undeployed.html", about=about)


@router.get("/serve/{name}/{env}")
def show(request: Request, name: str, env: str, page: Annotated[int, Query(ge=1, le=100_000)] = 1) -> Response:
    caller_of(request).require("viewer", env)
    about = reply_of(serves.get(request, name))
    status, generation = deployments.status_now(control_of(request), name, env)
    revisions = deployments.revisions(request, name, env, page, REVISIONS)
    return render(
        request,
        "serve.html",
        about=about,
        env=env,
        environments=environments_of(request, name),
        status=status,
        group=group_of(status),
        generation=generation,
        revisions=revisions,
        results=results_of(request, name, env, revisions["items"]),
        rollout=next(iter(rollouts.listed(request, name, env, 1, 1)["items"]), None),
        more=revisions["total"] > page * REVISIONS,
        events=operations.newest(request, name, env, limit=EVENTS)["items"],
    )


def environments_of(request: Request, name: str) -> list[str]:
    """The environments that it is or was deployed in and the caller may see."""
    with control_of(request).store.reading() as tx:
        return [each.env for each in targets.of_serve(tx, name) if caller_of(request).may("viewer", each.env)]


def results_of(request: Request, name: str, env: str, revisions: list[Any]) -> dict[int, Any]:
    """What came of each revision."""
    numbers = {each["revision"] for each in revisions}
    listed = deployments.deployments(request, name, env, None, 1, 200)["items"]
    return {each["revision"]: each for each in listed if each["revision"] in numbers}


def group_of(status: dict[str, Any]) -> str:
    """The colour of a state."""
    if status["operation"] is not None:
        return "changing"
    if status["status"] == "STOPPED":
        return "stopped"
    if status["status"] == "NOT_READY" or status["conflicts"]:
        return "wrong"
    return "unknown" if status["status"] == "UNKNOWN" else "running"


@router.get("/serve/{name}/{env}/diff")
def diff(
    request: Request,
    name: str,
    env: str,
    old: Annotated[int, Query(alias="from", ge=1, le=MAX_REVISION)],
    new: Annotated[int, Query(alias="to", ge=1, le=MAX_REVISION)],
) -> Response:
    return render(
        request, "diff.html", serve=name, env=env, diff=deployments.diff(request, name, env, old, new)
    )  # fmt: skip
