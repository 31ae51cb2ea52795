"""The environments: where serves run, and a form for each that is made from what an environment has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from controlplane.api import clusters
from controlplane.api import environments as api
from controlplane.api.control import caller_of, control_of
from controlplane.domain.environments import EnvironmentConfig, Quotas
from controlplane.domain.problems import ApiProblem, wrong_field
from controlplane.page.changes import matching
from controlplane.page.forms import FormFields, number
from controlplane.page.rendering import render, reply_of, root_of, segment
from controlplane.store import targets

router = APIRouter()

SPEC = "spec"


@dataclass(frozen=True, slots=True)
class ConfigField:
    """A field of an environment as a form has it."""

    name: str
    help: str
    choices: tuple[str, ...] = ()
    is_number: bool = False


def fields_of(model: type[BaseModel], above: str = "") -> list[ConfigField]:
    return [
        ConfigField(
            f"{above}{name}", field.description or "", get_args(field.annotation) if not above else (), bool(above)
        )
        for name, field in model.model_fields.items()
        if name not in ("quotas", SPEC)
    ]


FIELDS = [*fields_of(EnvironmentConfig), *fields_of(Quotas, "quotas.")]


@router.get("/environments")
def listed(request: Request) -> Response:
    items = api.listed(request)["items"]
    with control_of(request).store.reading() as tx:
        running = Counter(each.env for each in targets.everything(tx) if each.wanted is not None)
    return render(request, "environments.html", environments=items, running=running)


@router.get("/new-environment")
def ask_new(request: Request) -> Response:
    caller_of(request).require("admin")
    return form_page(request, {"backend": "local"})


@router.post("/new-environment")
def create(request: Request, form: FormFields) -> Response:
    try:
        api.create(request, {"name": form.get("name", "").strip(), **body_of(form, {})})
    except ApiProblem as problem:
        return form_page(request, form, problem)
    return RedirectResponse(f"{root_of(request)}/environment/{segment(form['name'].strip())}", 303)


@router.get("/environment/{name}")
def show(request: Request, name: str) -> Response:
    there = reply_of(api.get(request, name))
    return form_page(request, form_of(there["environment_configs"]), None, there)


@router.post("/environment/{name}")
def change(request: Request, name: str, form: FormFields) -> Response:
    there = reply_of(api.get(request, name))
    try:
        api.patch(matching(request, form), name, body_of(form, there["environment_configs"][SPEC]))
    except ApiProblem as problem:
        return form_page(request, form, problem, there)
    return RedirectResponse(f"{root_of(request)}/environments", 303)


@router.post("/adopt-environment/{name}")
def adopt(request: Request, name: str) -> Response:
    found = reply_of(clusters.adopt_environment(request, name))["serves"]
    there = reply_of(api.get(request, name))
    return form_page(request, form_of(there["environment_configs"]), None, there, found)


@router.get("/delete-environment/{name}")
def ask_delete(request: Request, name: str) -> Response:
    caller_of(request).require("admin", name)
    return render(request, "delete_environment.html", environment=reply_of(api.get(request, name)), problem=None)


@router.post("/delete-environment/{name}")
def delete(request: Request, name: str, form: FormFields) -> Response:
    there = reply_of(api.get(request, name))
    try:
        api.delete(matching(request, form), name)
    except ApiProblem as problem:
        return render(request, "delete_environment.html", problem.status, environment=there, problem=problem)
    return RedirectResponse(f"{root_of(request)}/environments", 303)


def form_page(
    request: Request,
    form: Mapping[str, str],
    problem: ApiProblem | None = None,
    there: Any = None,
    adopted: Any = None,
) -> Response:
    return render(
        request,
        "environment.html",
        problem.status if problem else 200,
        form=form,
        problem=problem,
        there=there,
        adopted=adopted,
        fields=FIELDS,
        may_change=caller_of(request).may("admin", there["name"] if there else None),
    )


def form_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The configuration as the fields of a form."""
    flat = {**config, **{f"quotas.{name}": value for name, value in config["quotas"].items()}}
    form = {each.name: "" if flat[each.name] is None else str(flat[each.name]) for each in FIELDS}
    return {**form, SPEC: json.dumps(config[SPEC], indent=2, ensure_ascii=False) if config[SPEC] else ""}


def body_of(form: Mapping[str, str], old_spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the form as the API takes them. Raises ApiProblem (422)."""
    body: dict[str, Any] = {"quotas": {}}
    for field in FIELDS:
        text = form.get(field.name, "").strip()
        if field.is_number:
            body["quotas"][field.name.partition(".")[2]] = quota(field.name, text)
        elif text or not field.choices:
            body[field.name] = text
    body[SPEC] = replacing(old_spec, spec_of(form.get(SPEC, "")))
    return body


def quota(name: str, text: str) -> int | float | None:
    if not text:
        return None
    try:
        return number(text)
    except ValueError:
        raise wrong_field(name, f"is {text[:40]!r}", "a number") from None


def spec_of(text: str) -> dict[str, Any]:
    try:
        spec = json.loads(text.strip() or "{}")
    except (ValueError, RecursionError) as error:
        raise wrong_field(SPEC, f"is no JSON: {error}", "an object") from None
    if not isinstance(spec, dict):
        raise wrong_field(SPEC, "is no object", 'an object such as {"replicas": {"max": 3}}')
    return spec


def replacing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that makes the old mapping the new one."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        below = old.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        patch[name] = replacing(below, value) if both and below is not None else value
    return patch
