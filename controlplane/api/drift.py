"""/serve/{name}/drift/{env}: how far the data that a serve gets has moved from its training data."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from controlplane.api import views
from controlplane.api.control import caller_of, control_of
from controlplane.backends.backend import BackendAway, Key
from controlplane.domain.deployments import MAX_REVISION
from controlplane.domain.problems import conflict
from controlplane.drift import drift_of
from controlplane.store import environments, serves, targets
from monitoring.verdict import SourceUnreadable

router = APIRouter(prefix="/serve", tags=["serves"])


@router.get("/{name}/drift/{env}", summary="How far the data of a revision has moved from its training data")
def drift(
    request: Request,
    name: str,
    env: str,
    revision: Annotated[int | None, Query(ge=1, le=MAX_REVISION, description="default: the one that serves")] = None,
) -> dict[str, Any]:
    """Read from the metrics of its pods; without a drift profile there are no columns."""
    caller_of(request).require("viewer", env)
    control = control_of(request)
    with control.store.reading() as tx:
        serves.get(tx, name)
        environment = environments.get(tx, env)
        target = targets.find(tx, name, env)
        number = revision or (target.active if target else None)
        if number is None:
            raise conflict(f"{name} does not serve in {env}", "deploy it, or wait until it is ready")
        targets.revision(tx, name, env, number)
    try:
        readings = control.backend_of(environment.config).counters(Key(env, name), number).read()
    except SourceUnreadable as error:
        raise BackendAway(str(error)) from None
    return views.drift(name, env, number, drift_of(readings))
