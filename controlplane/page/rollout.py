"""The page of a rollout: its steps, and what a person may do to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from controlplane.api import rollouts
from controlplane.domain.problems import not_found
from controlplane.page.rendering import render, root_of, segment

router = APIRouter()

EARLIER, MAX_LOOKS = 20, 200

VERBS: dict[str, Callable[[Request, str, str], Response]] = {
    "pause": rollouts.pause,
    "resume": rollouts.resume,
    "promote": rollouts.promote,
    "promote-fully": lambda request, name, env: rollouts.promote(request, name, env, {"full": True}),
    "abort": rollouts.abort,
    "retry": rollouts.retry,
    "undo": rollouts.undo,
}
BUTTONS = {
    "RUNNING": ("pause", "promote", "promote-fully", "abort"),
    "PAUSED": ("resume", "promote", "promote-fully", "abort"),
    "WAITING": ("abort",),
    "FAILED": ("retry",),
    "ABORTED": ("retry",),
    "SUCCEEDED": ("undo",),
}
"""What can be done to the newest rollout, by its state."""


@router.get("/serve/{name}/{env}/rollout")
def show(request: Request, name: str, env: str) -> Response:
    listed = rollouts.listed(request, name, env, 1, EARLIER)["items"]
    if not listed:
        raise not_found(
            "rollout", f"{name} in {env}", "a deployment with the strategy canary, linear or blue-green begins one"
        )
    newest = listed[0]
    return render(
        request, "rollout.html",
        serve=name, env=env, rollout=newest, earlier=listed[1:], buttons=BUTTONS.get(newest["state"], ()),
        weight=weight_of(newest),
        evidence=last_evidence(request, name, env),
    )  # fmt: skip


def weight_of(rollout: Mapping[str, Any]) -> int:
    """The percent of the requests that the new revision gets: none before its first step has begun."""
    if rollout["state"] == "SUCCEEDED":
        return 100
    begun = [each["weight"] for each in rollout["steps"] if each["begun_at"]]
    return begun[-1] if begun and rollout["state"] in ("RUNNING", "PAUSED") else 0


def last_evidence(request: Request, name: str, env: str) -> list[Any]:
    """What each gate said at the last look."""
    evidence, after = [], -1
    while looks := rollouts.looks(request, name, env, after, MAX_LOOKS)["items"]:
        evidence, after = looks[-1]["evidence"], looks[-1]["number"]
    return evidence


@router.get("/serve/{name}/{env}/rollout/picture")
def picture(request: Request, name: str, env: str, gate: Annotated[str, Query(max_length=60)]) -> Response:
    """The evidence at one gate, as it grew."""
    return rollouts.drawn(request, name, env, gate)


@router.post("/serve/{name}/{env}/rollout/{verb}")
def act(request: Request, name: str, env: str, verb: str) -> Response:
    if verb not in VERBS:
        raise not_found("verb", verb[:60], f"there are: {', '.join(VERBS)}")
    VERBS[verb](request, name, env)
    return RedirectResponse(f"{root_of(request)}/serve/{segment(name)}/{segment(env)}/rollout", 303)
