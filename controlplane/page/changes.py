"""The buttons: deploy, roll back, undeploy, delete, and the two ways out of a conflict. Each asks first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from controlplane.api import clusters, deployments, environments, operations, serves
from controlplane.api.control import caller_of, control_of
from controlplane.domain.problems import ApiProblem, wrong_field
from controlplane.page.fleet import Text
from controlplane.page.forms import FormFields, json_of, said
from controlplane.page.rendering import outcome_of, render, reply_of, root_of, segment
from controlplane.page.serve import Revision

router = APIRouter()

TEXTS = (
    "serve_name",
    "env",
    "model_uri",
    "artifact_version",
    "node_capacity",
    "storage_strategy",
    "follow",
    "deployment_strategy",
    "reason",
)
NUMBERS = ("cores", "memory", "min_replicas", "max_replicas")
VARIABLES, STRATEGY = "environment_variables", "deployment_strategy_config"


# -- deploy ---------------------------------------------------------------------------------------------------------


@router.get("/deploy")
def deploy_form(request: Request, serve: Text = "", env: Text = "") -> Response:
    caller_of(request).require_somewhere("deployer")
    form = {"serve_name": serve, "env": env}
    if serve and env:
        caller_of(request).require("viewer", env)
        form["model_uri"] = deployments.status_now(control_of(request), serve, env)[0]["model_uri"] or ""
    return deploy_page(request, form)


@router.post("/deploy")
def deploy(request: Request, form: FormFields) -> Response:
    try:
        body = said(form, TEXTS, NUMBERS)
        if form.get(VARIABLES, "").strip():
            body[VARIABLES] = variables(form[VARIABLES])
        if form.get(STRATEGY, "").strip():
            body[STRATEGY] = json_of(STRATEGY, form[STRATEGY])
        reply = reply_of(deployments.deploy_model(request, body))
    except ApiProblem as problem:
        return deploy_page(request, form, problem)
    if reply.get("dry_run"):
        return deploy_page(request, form, None, reply)
    return to_serve(request, body["serve_name"], body["env"])


def deploy_page(
    request: Request, form: dict[str, str], problem: ApiProblem | None = None, would: Any = None
) -> Response:
    listed = [each["name"] for each in environments.listed(request)["items"]]
    return render(
        request,
        "deploy.html",
        problem.status if problem else 200,
        form=form,
        problem=problem,
        wrong={each.field: each for each in problem.fields} if problem else {},
        would=would,
        environments=[each for each in listed if caller_of(request).may("deployer", each)],
    )


def variables(text: str) -> dict[str, str]:
    """NAME=value, one in a line. Raises ApiProblem (422)."""
    result = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, separator, value = line.partition("=")
        if line.strip() and not separator:
            raise wrong_field(VARIABLES, f"line {number} has no =", "NAME=value in each line")
        if line.strip():
            result[name.strip()] = value
    return result


# -- roll back, undeploy, delete ------------------------------------------------------------------------------------


@router.get("/serve/{name}/{env}/roll-back")
def ask_roll_back(request: Request, name: str, env: str, revision: Revision) -> Response:
    caller_of(request).require("deployer", env)
    status, generation = deployments.status_now(control_of(request), name, env)
    current = status["desired_revision"]
    there = deployments.revision(request, name, env, revision)
    return render(
        request,
        "roll_back.html",
        serve=name,
        env=env,
        revision=there,
        current=current,
        changes=deployments.diff(request, name, env, current, revision)["changes"] if current else None,
        generation=generation,
    )


@router.post("/serve/{name}/{env}/roll-back")
def roll_back(request: Request, name: str, env: str, form: FormFields) -> Response:
    body = {"env": env, **said(form, ["reason"], ["revision"])}
    deployments.roll_back(matching(request, form), name, body)
    return to_serve(request, name, env)


@router.get("/serve/{name}/{env}/undeploy")
def ask_undeploy(request: Request, name: str, env: str) -> Response:
    caller_of(request).require("deployer", env)
    status, generation = deployments.status_now(control_of(request), name, env)
    return render(request, "undeploy.html", serve=name, env=env, status=status, generation=generation)


@router.post("/serve/{name}/{env}/undeploy")
def undeploy(request: Request, name: str, env: str, form: FormFields) -> Response:
    deployments.undeploy(matching(request, form), name, env)
    return to_serve(request, name, env)


@router.get("/delete-serve/{name}")
def ask_delete(request: Request, name: str) -> Response:
    caller_of(request).require("deployer")
    about = reply_of(serves.get(request, name))
    return render(request, "delete.html", 200, about=about, problem=None)


@router.post("/delete-serve/{name}")
def delete(request: Request, name: str, form: FormFields) -> Response:
    about = reply_of(serves.get(request, name))
    try:
        if form.get("name", "").strip() != name:
            raise wrong_field("name", "is not the name of the serve", name)
        serves.delete(matching(request, form), name)
    except ApiProblem as problem:
        return render(request, "delete.html", problem.status, about=about, problem=problem)
    return RedirectResponse(f"{root_of(request)}/", 303)


# -- what is under way ----------------------------------------------------------------------------------------------


@router.post("/operation/{id}/abort")
def abort(request: Request, id: str) -> Response:
    return to_changed(request, operations.abort(request, id))


@router.post("/operation/{id}/approve")
def approve(request: Request, id: str, form: FormFields) -> Response:
    return to_changed(request, operations.approve(request, id, said(form, ["reason"])))


@router.post("/operation/{id}/reject")
def reject(request: Request, id: str, form: FormFields) -> Response:
    return to_changed(request, operations.reject(request, id, said(form, ["reason"])))


@router.post("/serve/{name}/{env}/adopt")
def adopt(request: Request, name: str, env: str) -> Response:
    return settled(request, name, env, clusters.adopt)


@router.post("/serve/{name}/{env}/take-over")
def take_over(request: Request, name: str, env: str) -> Response:
    return settled(request, name, env, clusters.take_over)


def settled(request: Request, name: str, env: str, way_out: Callable[[Request, str, str], Response]) -> Response:
    way_out(request, name, env)
    return to_serve(request, name, env)


def matching(request: Request, form: dict[str, str]) -> Request:
    """The request with the state that the person saw: it is refused if that has changed meanwhile."""
    if not (generation := form.get("generation")):
        return request
    headers = [*request.scope["headers"], (b"if-match", f'"{generation}"'.encode("ascii", "replace"))]
    return Request({**request.scope, "headers": headers}, request.receive)


def to_changed(request: Request, response: Response) -> Response:
    operation = outcome_of(response)
    return to_serve(request, operation["serve"], operation["env"])


def to_serve(request: Request, name: str, env: str) -> Response:
    return RedirectResponse(f"{root_of(request)}/serve/{segment(name)}/{segment(env)}", 303)
