"""/fleet: every serve in every environment, what is wrong first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection

from controlplane.api import views
from controlplane.api.control import Control, caller_of, control_of
from controlplane.api.parameters import Limit, PageNumber
from controlplane.backends.backend import Key
from controlplane.decide import Observed
from controlplane.store import serves, targets
from controlplane.store.serves import Serve
from controlplane.store.targets import ServeTarget

router = APIRouter(prefix="/fleet", tags=["serves"])

Group = Literal["wrong", "changing", "unknown", "running", "stopped"]
GROUPS: tuple[Group, ...] = get_args(Group)
"""In the order in which they are listed."""


@dataclass(frozen=True, slots=True)
class FleetEntry:
    """A serve in an environment, or a serve that was deployed in none."""

    serve: Serve
    target: ServeTarget | None
    group: Group
    state: views.State
    message: str

    @property
    def order(self) -> tuple[int, bool, str, str]:
        """What is wrong first, then what was wrong, then by name."""
        return GROUPS.index(self.group), not self.message, self.serve.name, self.target.env if self.target else ""

    def holds(self, text: str) -> bool:
        return text in self.serve.name or text in self.serve.space or text in (self.env or "")

    @property
    def env(self) -> str | None:
        return self.target.env if self.target else None


@router.get("", summary="Every serve in every environment, what is wrong first")
def listed(
    request: Request,
    page: PageNumber = 1,
    limit: Limit = 50,
    text: Annotated[str, Query(max_length=63, description="a part of the name, the space or the environment")] = "",
    env: Annotated[str | None, Query(max_length=63, description="only in this environment")] = None,
    group: Annotated[Group | None, Query(description="only what is in this state")] = None,
) -> dict[str, Any]:
    """From what the loops saw last: it asks no back end, so that it answers at once."""
    caller = caller_of(request)
    caller.require_somewhere("viewer")
    control = control_of(request)
    with control.store.listing() as tx:
        entries = [
            each
            for each in everything(tx, control)
            if (each.env is None or caller.may("viewer", each.env)) and (env is None or each.env == env)
        ]
        if text:
            entries = [each for each in entries if each.holds(text)]
        counts = Counter(each.group for each in entries)
        chosen = sorted((each for each in entries if group in (None, each.group)), key=lambda each: each.order)
        items = [view(tx, each) for each in chosen[(page - 1) * limit : page * limit]]
    return {**views.page(items, len(chosen), page, limit), "groups": {name: counts[name] for name in GROUPS}}


def everything(tx: Connection, control: Control) -> Iterator[FleetEntry]:
    unseen = {row.name: row for row in serves.everything(tx)}
    known = dict(unseen)
    for target in targets.everything(tx):
        unseen.pop(target.serve, None)
        yield entry(known[target.serve], target, control.last_seen(Key(target.env, target.serve)))
    for serve in unseen.values():
        yield FleetEntry(serve, None, "stopped", "STOPPED", "")


def entry(serve: Serve, target: ServeTarget, seen: Observed | None) -> FleetEntry:
    state = views.state(target, seen)
    return FleetEntry(serve, target, group_of(target, state, seen), state, message_of(target, seen))


def group_of(target: ServeTarget, state: views.State, seen: Observed | None) -> Group:
    if target.operation is not None:
        return "changing"
    if target.wanted is None:
        failed = target.last_error_at is not None and target.last_error_at >= target.updated_at
        return "wrong" if failed else "stopped"
    if state == "NOT_READY" or (seen is not None and seen.conflicts):
        return "wrong"
    return "unknown" if state == "UNKNOWN" else "running"


def message_of(target: ServeTarget, seen: Observed | None) -> str:
    """What has gone wrong last, unless it was undeployed since."""
    if target.wanted is None and target.last_error_at is not None and target.last_error_at < target.updated_at:
        return ""
    serving = seen.instance(seen.serving) if seen else None
    return target.last_error or (serving.message if serving is not None else "")


def view(tx: Connection, each: FleetEntry) -> dict[str, Any]:
    target = each.target
    number = (target.active or target.wanted or target.last_revision or None) if target else None
    revision = targets.revision(tx, target.serve, target.env, number) if target and number else None
    return {
        "serve": each.serve.name,
        "env": each.env,
        "space": each.serve.space,
        "group": each.group,
        "status": each.state,
        "message": each.message,
        "revision": revision.number if revision else None,
        "desired_revision": target.wanted if target else None,
        "model_uri": revision.content.model_uri if revision else None,
        "artifact_version": revision.content.artifact_version if revision else None,
        "operation": target.operation if target else None,
        "updated_at": views.when(target.updated_at if target else each.serve.updated_at),
    }
