"""The playground: ask a model, or two revisions at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from controlplane.api import deployments, serves
from controlplane.api.control import caller_of, control_of
from controlplane.domain.overlays import differences
from controlplane.domain.problems import ApiProblem, conflict
from controlplane.page.asking import ModelAnswer, answer, as_curl, as_python, description
from controlplane.page.forms import FormFields
from controlplane.page.inputs import PROTOCOLS, ModelDescription, body_of, columns_of, params_of
from controlplane.page.rendering import render
from controlplane.page.serve import environments_of

router = APIRouter()

BY_BODY = "body"
"""The button that sends the JSON; the other one sends the fields."""
MAX_SAMPLE, MAX_VALUE = 20_000, 300  # characters


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A place where a model of the serve answers."""

    key: str
    label: str
    url: str


@router.get("/serve/{name}/{env}/playground")
async def show(request: Request, name: str, env: str, protocol: Literal["v1", "v2", "invocations"] = "v1") -> Response:
    places = await run_in_threadpool(places_of, request, name, env)
    model = await description(places[0].url, name)
    sample = model.sample(name, protocol)
    body = json.dumps(sample.body, indent=2, ensure_ascii=False)
    form = {each.field: shown(each.sample) for each in (*columns_of(model), *params_of(model))}
    form |= {"a": places[0].key, "b": "", "path": sample.path, "body": body if len(body) <= MAX_SAMPLE else ""}
    return await run_in_threadpool(page, request, name, env, places, model, form)


@router.post("/serve/{name}/{env}/playground")
async def ask(request: Request, name: str, env: str, form: FormFields) -> Response:
    places = await run_in_threadpool(places_of, request, name, env)
    asked = [each for each in (chosen(places, form.get("a", "")), chosen(places, form.get("b", ""))) if each]
    asked = asked or places[:1]
    token = form.get("token", "").strip()
    model = await description(asked[0].url, name, token)
    path, body = model.sample(name, "v1").path, form.get("body", "")
    form = {"a": places[0].key, "b": "", "path": path, **form}
    try:
        if form.get("by") == BY_BODY:
            path = path_in(form, name, model)
        else:
            body = body_of(form, model)
    except ApiProblem as problem:
        return await run_in_threadpool(page, request, name, env, places, model, form, problem)
    answers = await asyncio.gather(*(answer(each.url, path, body, token) for each in asked))
    form = {**form, "body": body if form.get("by") == BY_BODY else indented(body), "path": path}
    return await run_in_threadpool(
        page, request, name, env, places, model, form, None, list(zip(asked, answers, strict=True))
    )  # fmt: skip


def page(
    request: Request,
    name: str,
    env: str,
    places: list[AskedModel],
    model: ModelDescription,
    form: Mapping[str, str],
    problem: ApiProblem | None = None,
    answers: list[tuple[AskedModel, ModelAnswer]] | None = None,
) -> Response:
    url = answers[0][0].url + form["path"] if answers else ""
    body, with_token = compact(form.get("body", "")), bool(form.get("token", "").strip())
    return render(
        request,
        "playground.html",
        problem.status if problem else 200,
        serve=name,
        env=env,
        places=places,
        columns=columns_of(model),
        params=params_of(model),
        methods=model.methods,
        protocols=[each for each in PROTOCOLS if each in model.samples],
        form=form,
        problem=problem,
        answers=answers or [],
        differing=differing(answers or []),
        curl=as_curl(url, body, with_token),
        python=as_python(url, body, with_token),
    )


def places_of(request: Request, name: str, env: str) -> list[AskedModel]:
    """Where the serve answers: what serves here, revisions beside it, and what serves in other environments."""
    caller_of(request).require("viewer", env)
    serves.get(request, name)
    others = [each for each in environments_of(request, name) if each != env]
    places = [place for each in (env, *others) for place in places_in(request, name, each)]
    if not places or not places[0].key.startswith(f"{env}@"):
        raise conflict(f"{name} does not answer in {env}", "deploy it, or wait until it is ready")
    return places


def places_in(request: Request, name: str, env: str) -> list[AskedModel]:
    status, _ = deployments.status_now(control_of(request), name, env)
    serving = status["revision"]
    places = []
    if status["url"]:
        label = f"{env}, revision {serving}" if serving else env
        places.append(AskedModel(f"{env}@", label, status["url"]))
    for each in status["pods"] or []:
        if each.get("url") and each["revision"] != serving and each["phase"] == "ready":
            places.append(
                AskedModel(f"{env}@{each['revision']}", f"{env}, revision {each['revision']} beside it", each["url"])
            )
    return places


def chosen(places: list[AskedModel], key: str) -> AskedModel | None:
    return next((each for each in places if each.key == key), None)


def path_in(form: Mapping[str, str], name: str, model: ModelDescription) -> str:
    """The path of the protocol that the body is in; no other path of the model can be asked."""
    known = [model.sample(name, protocol).path for protocol in PROTOCOLS]
    return form["path"] if form.get("path") in known else known[0]


def differing(answers: list[tuple[AskedModel, ModelAnswer]]) -> list[dict[str, Any]] | None:
    """What differs between two answers; None unless there are two that can be compared."""
    if len(answers) != 2 or not all(each.is_good and each.body is not None for _, each in answers):
        return None
    first, second = (each.body for _, each in answers)
    return [{"field": path or "answer", "before": was, "after": now} for path, was, now in differences(first, second)]


def shown(value: Any) -> str:
    """A sample as a field has it; nothing where it is too long for one."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_VALUE else ""


def indented(body: str) -> str:
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)


def compact(body: str) -> str:
    """JSON in one line, as it was sent otherwise."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        return body
