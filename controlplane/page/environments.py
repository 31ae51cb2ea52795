"""The environments: where serves run, and a form for each that is made from what an environment has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from controlplane.api import clusters
from controlplane.api import environments as api
from controlplane.api.control import caller_of, control_of
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.infra import with_nulls
from controlplane.domain.overlays import merged, nested, value_at
from controlplane.domain.problems import ApiProblem, wrong_field
from controlplane.page.changes import matching
from controlplane.page.forms import FormFields, json_of, number
from controlplane.page.rendering import outcome_of, render, reply_of, root_of, segment
from controlplane.store import targets

router = APIRouter()

SPEC = "spec"


@dataclass(frozen=True, slots=True)
class ConfigField:
    """A field of an environment as a form has it; one of a part of it has the name of the part first."""

    name: str
    help: str
    kind: Literal["text", "choice", "number", "list"]
    choices: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))


def fields_of(model: type[BaseModel], above: str = "") -> Iterator[ConfigField]:
    """The fields in their order, those of parts last; all but the spec, which is JSON."""
    parts = []
    for name, field in model.model_fields.items():
        kind, help = field.annotation, field.description or ""
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            parts.append((kind, f"{above}{name}."))
        elif get_origin(kind) is Literal:
            yield ConfigField(above + name, help, "choice", get_args(kind))
        elif kind is bool:
            yield ConfigField(above + name, help, "choice", ("false", "true"))
        elif field.default is None or isinstance(field.default, float):
            yield ConfigField(above + name, help, "number")
        elif get_origin(kind) is list:
            yield ConfigField(above + name, help, "list")
        elif name != SPEC:
            yield ConfigField(above + name, help, "text")
    for part, place in parts:
        yield from fields_of(part, place)


FIELDS = tuple(fields_of(EnvironmentConfig))


@router.get("/environments")
def listed(request: Request) -> Response:
    items = api.listed(request)["items"]
    with control_of(request).store.reading() as tx:
        running = Counter(each.env for each in targets.everything(tx) if each.wanted is not None)
    return render(request, "environments.html", environments=items, running=running)


@router.get("/new-environment")
def ask_new(request: Request) -> Response:
    caller_of(request).require("admin")
    return form_page(request, form_of(EnvironmentConfig().model_dump(mode="json")))


@router.post("/new-environment")
def create(request: Request, form: FormFields) -> Response:
    try:
        api.create(request, {"name": form.get("name", "").strip(), **merged({}, body_of(form, {}))})
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
    found = outcome_of(clusters.adopt_environment(request, name))["serves"]
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
    form = {each.name: text_of(value_at(config, each.path)) for each in FIELDS}
    return {**form, SPEC: json.dumps(config[SPEC], indent=2, ensure_ascii=False) if config[SPEC] else ""}


def text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "\n".join(value) if isinstance(value, list) else "" if value is None else str(value)


def body_of(form: Mapping[str, str], old_spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the form as the API takes them. Raises ApiProblem (422)."""
    body: dict[str, Any] = {}
    for field in FIELDS:
        if field.name in form:
            body = with_nulls(body, nested(field.path, value_of(field, form[field.name].strip())))
    body[SPEC] = replacing(old_spec, json_of(SPEC, form.get(SPEC, "")))
    return body


def value_of(field: ConfigField, text: str) -> Any:
    """What the form says of a field; null for a number that was taken out."""
    if field.kind == "list":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if field.choices == ("false", "true"):
        return text == "true"
    if field.kind != "number":
        return text
    try:
        return number(text) if text else None
    except ValueError:
        raise wrong_field(field.name, f"is {text[:40]!r}", "a number") from None


def replacing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that makes the old mapping the new one."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        below = old.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        patch[name] = replacing(below, value) if both and below is not None else value
    return patch
