"""Templates into pages: everything that is put into one is escaped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from controlplane.api.control import control_of
from controlplane.domain.problems import ApiProblem
from controlplane.page.files import VERSION

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
REPEATED = ("GET", "HEAD")
"""Methods of requests that can be sent again once the caller is signed in."""

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(request: Request, template: str, code: int = 200, /, **content: Any) -> HTMLResponse:
    text = templates.get_template(template).render(
        root=root_of(request),
        files=f"{root_of(request)}/static/{VERSION}",
        here=request.url.path,
        query=dict(request.query_params),
        caller=getattr(request.state, "caller", None),
        now=control_of(request).store.now(),
        **content,
    )
    return HTMLResponse(text, code)


def root_of(request: Request) -> str:
    """The path that the page lies under."""
    return str(request.scope.get("root_path", ""))


def reply_of(response: Response) -> Any:
    """What a function of the API has replied."""
    return json.loads(bytes(response.body))


def outcome_of(response: Response) -> Any:
    """What a change has replied; of a dry run, what it would have."""
    reply = reply_of(response)
    return reply.get("would", reply)


def problem_page(request: Request, problem: ApiProblem) -> Response:
    if problem.status == 401:
        return to_sign_in(request)
    response = render(request, "problem.html", problem.status, problem=problem)
    response.headers.update(problem.headers)
    return response


def to_sign_in(request: Request) -> Response:
    place = f"{root_of(request)}/sign-in"
    if request.headers.get("hx-request"):
        return Response(status_code=200, headers={"hx-redirect": place})
    if request.method in REPEATED:
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        place += f"?{urlencode({'next': wanted})}"
    return RedirectResponse(place, 303)


def ago(text: str | None, now: float) -> str:
    """How long ago something was."""
    if text is None:
        return "never"
    said = lasting(text, now)
    return f"{said} ago" if said else "just now"


def lasting(text: str, now: float) -> str:
    """The time since, in the largest unit that fits; nothing for less than a minute."""
    seconds = now - datetime.fromisoformat(text).timestamp()
    return next((f"{seconds // size:.0f} {unit}" for size, unit in UNITS if seconds >= size), "")


def duration(seconds: float) -> str:
    """A time span in the largest unit that divides it."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds and seconds % size == 0), (1.0, "s"))
    return f"{seconds / size:g} {unit}"


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"


def clock(text: str | None) -> str:
    """A time to the second, in UTC."""
    return "" if text is None else f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def shown(value: Any) -> str:
    """A value of a field in one line."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def segment(text: Any) -> str:
    """A text as one part of a path."""
    return quote(str(text), safe="")


def sentence(text: str) -> str:
    """The text with a capital first; the rest stays, unlike with Jinja's own filter."""
    return text[:1].upper() + text[1:]


def pair(text: str) -> tuple[str, str]:
    """An option of a choice whose word is its value."""
    return text, text


templates.filters |= {
    each.__name__: each for each in (ago, lasting, duration, percent, clock, shown, as_json, segment, sentence, pair)
}
