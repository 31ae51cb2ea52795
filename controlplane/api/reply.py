"""Carries a change out in one transaction: once for each Idempotency-Key, not at all with `?dry_run=true`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from controlplane.api.control import Control, actor_of, control_of
from controlplane.backends.backend import BackendAway, Key
from controlplane.changes.context import ChangeContext
from controlplane.domain.bodies import refuse_unstorable
from controlplane.domain.problems import ApiProblem
from controlplane.store import idempotency
from controlplane.store.idempotency import KeptReply

MAX_KEY = 190  # characters


@dataclass(frozen=True, slots=True)
class ApiReply:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def response(self, **headers: str) -> Response:
        if self.body is None:
            return Response(status_code=self.status, headers={**self.headers, **headers})
        return JSONResponse(self.body, self.status, {**self.headers, **headers})


def carry_out(request: Request, body: Any, change: Callable[[ChangeContext], ApiReply]) -> Response:
    """The response to a change. Whatever it raises, nothing has been changed."""
    control = control_of(request)
    actor = actor_of(request)
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise ApiProblem(400, f"the Idempotency-Key has {len(key)} characters", way_out=f"send 1 to {MAX_KEY}")
    dry_run = is_dry_run(request)
    refuse_unstorable(body)
    sha256 = digest(request, body)
    with control.store.writing() as tx:
        context = ChangeContext(tx, control.store.now(), actor, control.backend_of)
        kept = idempotency.find(tx, actor.name, key, context.now) if key and not dry_run else None
        if kept is not None:
            if kept.request_sha256 != sha256:
                raise ApiProblem(
                    422, "the Idempotency-Key was sent with another request before", way_out="send another key"
                )
            return ApiReply(kept.status, kept.body, kept.headers).response(**{"idempotent-replayed": "true"})
        reply = change(context)
        if dry_run:
            transaction = tx.get_transaction()
            if transaction is not None:
                transaction.rollback()
        elif key:
            idempotency.keep(
                tx, actor.name, key, context.now, KeptReply(sha256, reply.status, reply.headers, reply.body)
            )
    if dry_run:
        return ApiReply(200, {"dry_run": True, "would": reply.body, **cluster_says(control, context)}).response()
    for each in context.dirty:
        control.mark(each)
    return reply.response()


def cluster_says(control: Control, context: ChangeContext) -> dict[str, Any]:
    """The back end's own dry run of what was not stored, where it has one."""
    for each in context.revisions:
        try:
            backend = control.backend_of(each.content.environment)
            said = backend.dry_run(Key(each.env, each.serve), each.number, each.content)
        except BackendAway as error:
            said = {"accepted": None, "refusals": [str(error)]}
        if said is not None:
            return {"cluster": dict(said)}
    return {}


def is_dry_run(request: Request) -> bool:
    text = request.query_params.get("dry_run", "false").lower()
    if text not in ("true", "false"):
        raise ApiProblem(422, f"query.dry_run is {text[:40]!r}", way_out="expected true or false")
    return text == "true"


def digest(request: Request, body: Any) -> str:
    text = json.dumps([request.method, request.url.path, body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def etag(generation: int) -> str:
    return f'"{generation}"'


def require_match(request: Request, generation: int | None) -> None:
    """Raises ApiProblem (412) if the request is for another state than the current one."""
    wanted = request.headers.get("if-match")
    if wanted is None or (wanted == "*" and generation is not None):
        return
    tags = [tag.strip().removeprefix("W/") for tag in wanted.split(",")]
    if generation is None or etag(generation) not in tags:
        current = "there is none" if generation is None else f"it is {etag(generation)}"
        raise ApiProblem(
            412, f"If-Match is {wanted[:60]}, and {current}", way_out="read it again, and repeat the change"
        )
