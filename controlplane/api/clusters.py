"""What there is in clusters alone: manifests to take along, and fields that others have changed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from controlplane.api.control import caller_of, control_of
from controlplane.api.deployments import begin
from controlplane.api.parameters import DRY, documented
from controlplane.api.reply import ApiReply, carry_out
from controlplane.backends.backend import Key
from controlplane.backends.kserve.manifests import problems, rendered
from controlplane.changes import conflicts
from controlplane.changes import environments as changes
from controlplane.changes.context import ChangeContext
from controlplane.decide import FieldConflict
from controlplane.domain.deployments import MAX_REVISION
from controlplane.domain.problems import ApiProblem, conflict
from controlplane.store import environments, serves, targets
from generator import to_yaml

router = APIRouter(tags=["clusters"])


@router.get(
    "/serve/{name}/export/{env}",
    summary="The manifests of a revision, as anybody can apply them",
    response_class=Response,
    responses={200: {"content": {"application/yaml": {"schema": {"type": "string"}}}}},
)
def export(
    request: Request,
    name: str,
    env: str,
    revision: Annotated[int | None, Query(ge=1, le=MAX_REVISION, description="default: the wanted one")] = None,
) -> Response:
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
        serves.get(tx, name)
        environments.get(tx, env)
        target = targets.find(tx, name, env)
        number = revision or (target.wanted if target else None)
        if number is None:
            raise conflict(f"{name} is not deployed in {env}", "?revision= names one of its revisions")
        content = targets.revision(tx, name, env, number).content
    if wrong := list(problems(name, content)):
        raise ApiProblem(
            409, f"revision {number} of {name} cannot be rendered for a cluster", fields=wrong,
            way_out="deploy it to an environment whose back end is kserve",
        )  # fmt: skip
    header = f"{name}, revision {number} of the environment {env}, sha256 {content.sha256}"
    return Response(to_yaml(rendered(name, content), header), media_type="application/yaml")


@router.post(
    "/serve/{name}/adopt/{env}",
    status_code=202,
    responses=DRY,
    summary="Make what others have changed in the cluster a revision",
    openapi_extra=documented(),
)
def adopt(request: Request, name: str, env: str) -> Response:
    caller_of(request).require("deployer", env)
    found = conflicts_now(request, name, env)
    return begin(request, None, name, env, lambda context: conflicts.adopt(context, name, env, found))


@router.post(
    "/serve/{name}/take-over/{env}",
    status_code=202,
    responses=DRY,
    summary="Overwrite what others have changed in the cluster",
    openapi_extra=documented(),
)
def take_over(request: Request, name: str, env: str) -> Response:
    return begin(request, None, name, env, lambda context: conflicts.take_over(context, name, env))


def conflicts_now(request: Request, name: str, env: str) -> tuple[FieldConflict, ...]:
    control = control_of(request)
    with control.store.reading() as tx:
        serves.get(tx, name)
        environment = environments.get(tx, env)
        target = targets.find(tx, name, env)
        wanted = target.wanted if target else None
        content = targets.revision(tx, name, env, wanted).content if wanted else None
    return control.backend_of(environment.config).observe(Key(env, name), wanted, content, closely=True).conflicts


@router.post(
    "/environment/{name}/adopt",
    responses=DRY,
    summary="Bring back the serves that a cluster has and the store has lost",
    openapi_extra=documented(),
)
def adopt_environment(request: Request, name: str) -> Response:
    caller_of(request).require("admin", name)
    control = control_of(request)
    with control.store.reading() as tx:
        environment = environments.get(tx, name)
    found = control.backend_of(environment.config).deployed(name)

    def carried(context: ChangeContext) -> ApiReply:
        return ApiReply(200, {"serves": changes.adopt(context, environment, found)})

    return carry_out(request, None, carried)
