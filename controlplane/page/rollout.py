"""The page of a rollout: its steps, and what a person may do to it."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from controlplane.api import rollouts
from controlplane.domain.problems import not_found
from controlplane.page.rendering import render, root_of, segment

router = APIRouter()

EARLIER = 20

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
    )  # fmt: skip


@router.post("/serve/{name}/{env}/rollout/{verb}")
def act(request: Request, name: str, env: str, verb: str) -> Response:
    if verb not in VERBS:
        raise not_found("verb", verb[:60], f"there are: {', '.join(VERBS)}")
    VERBS[verb](request, name, env)
    return RedirectResponse(f"{root_of(request)}/serve/{segment(name)}/{segment(env)}/rollout", 303)
