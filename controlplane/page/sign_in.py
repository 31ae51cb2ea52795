"""Signing in: the token of the API, kept in a cookie that scripts cannot read and other sites cannot send."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from controlplane.access.guard import refuse_other_hosts
from controlplane.api.control import control_of
from controlplane.domain.problems import ApiProblem
from controlplane.page.forms import FormFields
from controlplane.page.rendering import render, root_of

router = APIRouter()

COOKIE = "mlflow_kserve_token"
MAX_COOKIE = 4000  # bytes; browsers drop longer ones without a word


def signed_in(request: Request) -> None:
    """Names the caller by the cookie, as the API does by its header. Raises ApiProblem."""
    refuse_other_origins(request)
    request.state.caller = control_of(request).guard.caller(headers_with(request, request.cookies.get(COOKIE, "")))


def headers_with(request: Request, token: str) -> list[tuple[bytes, bytes]]:
    """What the API would be asked with."""
    host = (b"host", request.headers.get("host", "").encode("latin-1"))
    return [host, (b"authorization", f"Bearer {token}".encode())] if token else [host]


def with_token(request: Request) -> Request:
    """The request with its cookie as the header that the API asks for."""
    kept = [(name, value) for name, value in request.scope["headers"] if name in (b"accept", b"last-event-id")]
    return Request({**request.scope, "headers": [*kept, *headers_with(request, request.cookies.get(COOKIE, ""))]})


def refuse_other_origins(request: Request) -> None:
    """Raises ApiProblem (403) unless what changes something comes from a page of ours."""
    if request.method in ("GET", "HEAD"):
        return
    origin, host = request.headers.get("origin", ""), request.headers.get("host")
    if not host or origin.partition("://")[2] != host:
        raise ApiProblem(
            403,
            f"the form was sent by a page of {origin[:100]!r}"
            if origin
            else "it is not known which page sent the form",
            way_out="send it from the page itself; programs use the API",
        )


@router.get("/sign-in")
def ask(request: Request, next: str = "") -> Response:
    guard = control_of(request).guard
    if guard.is_open():
        refuse_other_hosts(request.headers.raw)
        return RedirectResponse(f"{root_of(request)}/", 303)
    return render(request, "sign_in.html", next=next, problem=None)


@router.post("/sign-in")
def enter(request: Request, form: FormFields) -> Response:
    refuse_other_origins(request)
    token = form.get("token", "").strip()
    try:
        if len(token) > MAX_COOKIE:
            raise ApiProblem(401, f"the token has {len(token)} characters, and browsers keep {MAX_COOKIE}")
        if not token.isascii() or not token.isprintable():
            raise ApiProblem(401, "the token holds characters that no token has")
        control_of(request).guard.caller(headers_with(request, token))
    except ApiProblem as problem:
        return render(request, "sign_in.html", problem.status, next=form.get("next", ""), problem=problem)
    response = RedirectResponse(place_after(request, form.get("next", "")), 303)
    response.set_cookie(
        COOKIE, token, path=root_of(request) or "/", httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return response


@router.post("/sign-out")
def leave(request: Request) -> Response:
    refuse_other_origins(request)
    response = RedirectResponse(f"{root_of(request)}/sign-in", 303)
    response.delete_cookie(COOKIE, path=root_of(request) or "/", httponly=True, samesite="strict")
    return response


def place_after(request: Request, wanted: str) -> str:
    """Where to go once signed in: a page of ours, whatever the link said."""
    root = root_of(request)
    ours = wanted.startswith(f"{root}/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if ours and wanted.isprintable() else f"{root}/"
