"""What the page does with those who mean no good, and with what it cannot read."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from controlplane.access.settings import ControlAccessSettings
from tests.controlplane.api.test_rollouts import JUDGED, begin, with_traffic
from tests.controlplane.page.conftest import Pages
from tests.controlplane.page.many import fill
from tests.controlplane.plane import HEALTHY, Plane, opened

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
OUR_SCRIPTS = ("htmx.min.js", "page.js")


class ScriptFinder(HTMLParser):
    """Finds what no page of ours has: other scripts, pictures, and scripts in attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        ours = tag == "script" and str(values.get("src")).endswith(OUR_SCRIPTS)
        if (tag in ("script", "img") and not ours) or any(name.startswith("on") for name in values):
            self.found.append(tag)
        self.found += [value for value in values.values() if value and value.startswith("javascript:")]


@pytest.fixture
def hostile(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Plane:
    """A control plane that was told hostile texts wherever it takes a text."""
    plane.post("/environment", {"name": "evil", "domain_suffix": HOSTILE, "spec": {"annotations": {"a": HOSTILE}}}, 201)
    plane.post("/serve", {"name": "fraud", "description": HOSTILE, "space": HOSTILE}, 201)
    plane.backend.broken.add(f"s3://{HOSTILE}")
    plane.deploy(env="evil", reason=HOSTILE, environment_variables={"TEXT": HOSTILE})
    plane.deploy(env="evil", uri=f"s3://{HOSTILE}", reason=HOSTILE)
    monkeypatch.setattr(plane.backend, "logs", lambda key, revision, lines: HOSTILE * 20)
    return plane


@pytest.mark.parametrize(
    "path",
    [
        "/", f"/?text={HOSTILE}", "/serve/fraud/evil", "/serve/fraud/evil/diff?from=1&to=2", "/serve/fraud/evil/logs",
        "/serve/fraud/evil/roll-back?revision=2", "/serve/fraud/evil/undeploy", "/delete-serve/fraud", "/environments",
        "/environment/evil", "/audit", f"/audit?serve={HOSTILE}", f"/deploy?serve={HOSTILE[:60]}", f"/serve/{HOSTILE}",
        f"/sign-in?next={HOSTILE}", f"/{HOSTILE}",
    ],
)  # fmt: skip
def test_texts_are_texts(path: str, hostile: Plane) -> None:
    reply = Pages(hostile).get(path)
    assert reply.status_code in (200, 303, 404)
    assert ScriptFinder(reply.text).found == []


def test_a_script_is_noticed() -> None:
    page = f'<script src="/htmx.min.js"></script>{HOSTILE}<a href="javascript:x" onclick="x">'
    assert ScriptFinder(page).found == ["script", "img", "a", "javascript:x"]


def test_the_page_is_where_people_look_for_it(pages: Pages) -> None:
    for path in ("/", "/ui"):
        response = pages.client.get(path, follow_redirects=False)
        assert (response.status_code, response.headers["location"]) == (307, "/ui/")


def test_the_api_is_described_without_a_content_network(plane: Plane, pages: Pages) -> None:
    response = pages.client.get("/docs", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, "/ui/api")
    page = pages.get("/api").text
    places = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(places) > 4
    for place in places:
        assert place.startswith("/ui/")
        assert pages.client.get(place).status_code == 200
    assert "/api/v1/serve/deploy-model" in pages.get("/api/openapi.json").json()["paths"]
    assert pages.get("/api/index.html").status_code == 404
    plane.post("/token", {"name": "ops", "roles": {"*": "admin"}}, 201)
    assert pages.get("/api/openapi.json").headers["location"].startswith("/ui/sign-in")


def test_headers_of_pages(pages: Pages) -> None:
    for path in ("/", "/serve/nothing", "/sign-in", "/live/nothing"):
        headers = pages.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
        assert headers["cache-control"] == "no-store"
    page = pages.get("/").text
    style = re.search(r'href="/ui(/static/\w+/page\.css)"', page)
    assert style is not None
    assert "immutable" in pages.get(style[1]).headers["cache-control"]
    assert pages.get("/static/x/htmx.LICENSE").status_code == 404
    assert pages.get("/static/x/..%2Fpage.css").status_code == 404


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", "http://localhost:3000", "http://localhost.evil", "http://[::1"]
)
def test_forms_of_other_pages_do_nothing(plane: Plane, pages: Pages, origin: str | None) -> None:
    """Also those of other servers on this machine, which an open API lets in."""
    plane.deploy()
    for path in (
        "/serve/fraud/local/undeploy",
        "/delete-serve/fraud",
        "/deploy",
        "/new-environment",
        "/sign-in",
        "/sign-out",
    ):
        assert pages.post(path, origin, name="fraud").status_code == 403
    assert plane.status()["desired_revision"] == 1
    assert pages.post("/serve/fraud/local/undeploy").status_code == 303
    assert plane.status()["desired_revision"] is None


def test_a_name_that_is_not_of_this_machine_is_not_let_in(pages: Pages) -> None:
    assert pages.get("/", host="evil.example").status_code == 421
    assert pages.get("/sign-in", host="evil.example").status_code == 421


def test_forms_that_cannot_be_read(plane: Plane, pages: Pages) -> None:
    def sent(body: bytes, kind: str = "application/x-www-form-urlencoded") -> int:
        headers = {"origin": "http://localhost", "content-type": kind}
        return pages.client.post("/ui/deploy", content=body, headers=headers).status_code

    assert sent(b"serve_name=%ff%fe&env=local") == 400
    assert sent(b"\xff\xfe") == 400
    assert sent(b"no pairs at all") == 400
    assert sent(b"&".join(b"a=%d" % number for number in range(2000))) == 400
    assert sent(b"a=" + b"x" * (1 << 20)) == 413
    assert sent(b"{}", "application/json") == 415
    assert sent(b"serve_name=fraud&env=local&model_uri=models:/fraud/1&cores=NaN") == 422
    assert sent(b"serve_name=fraud&env=local&model_uri=models:/fraud/1&cores=1e999") == 422
    assert sent(b"serve_name=fraud&env=local&model_uri=a%00b") == 422
    assert sent(b"") == 422
    assert plane.get("/serve")["total"] == 0
    for path in ("/?page=0", "/?page=x", "/?group=all", "/serve/fraud/local/diff?from=1", "/audit?before=0"):
        assert pages.get(path).status_code == 422


@pytest.mark.parametrize("generation", ["²", "9" * 5000, "x", "-1"])
def test_a_state_that_nobody_saw(plane: Plane, pages: Pages, generation: str) -> None:
    plane.deploy()
    assert pages.post("/serve/fraud/local/undeploy", generation=generation).status_code == 412
    assert plane.status()["desired_revision"] == 1


def test_what_is_nested_too_deep(pages: Pages) -> None:
    deep = '{"a":' * 800 + "1" + "}" * 800
    assert pages.post("/new-environment", name="mine", spec=deep).status_code == 422
    assert pages.post("/deploy", serve_name="fraud", deployment_strategy_config=deep).status_code == 422


def test_a_button_may_ask_what_it_would_do(plane: Plane, pages: Pages) -> None:
    operation = plane.post("/serve/deploy-model", {"serve_name": "fraud", "model_uri": HEALTHY, "env": "local"})
    abort = f"/operation/{operation['operation']['id']}/abort"
    assert pages.post(f"{abort}?dry_run=true").status_code == 303
    assert plane.operation(operation)["state"] == "RUNNING"
    assert pages.post(f"{abort}?dry_run=perhaps").status_code == 422
    assert pages.post("/adopt-environment/local?dry_run=true").status_code == 200


ADMIN = "an-admin-token-of-this-test"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Plane]:
    (tmp_path / "admins").write_text(f"ops:{ADMIN}\n")
    with opened(tmp_path, ControlAccessSettings(admin_token_file=str(tmp_path / "admins"))) as plane:
        plane.client.headers["authorization"] = f"Bearer {ADMIN}"
        yield plane


def test_signing_in(closed: Plane) -> None:
    pages = Pages(closed)
    asked = pages.get("/serve/fraud/local?page=2")
    assert (asked.status_code, asked.headers["location"]) == (
        303,
        "/ui/sign-in?next=%2Fui%2Fserve%2Ffraud%2Flocal%3Fpage%3D2",
    )
    assert pages.get("/", **{"hx-request": "true"}).headers["hx-redirect"] == "/ui/sign-in"
    assert pages.post("/deploy", serve_name="fraud").headers["location"] == "/ui/sign-in"
    for wrong in ("", "x" * 40, "x" * 5000, "a\nb", "ä"):
        refused = pages.post("/sign-in", token=wrong)
        assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    entered = pages.post("/sign-in", token=ADMIN, next="/ui/audit?env=local")
    assert (entered.status_code, entered.headers["location"]) == (303, "/ui/audit?env=local")
    cookie = entered.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/ui"))
    page = pages.get("/").text
    assert "ops" in page
    assert ADMIN not in page
    assert pages.post("/sign-out").status_code == 303
    assert pages.get("/").status_code == 303


def test_the_cookie_opens_the_page_alone(closed: Plane) -> None:
    """A cookie goes with every request that a browser sends: the API does not know it."""
    pages = Pages(closed)
    pages.post("/sign-in", token=ADMIN)
    cookie = {"cookie": f"mlflow_kserve_token={ADMIN}"}
    assert pages.client.get("/api/v1/serve", headers=cookie).status_code == 401


def test_the_cookie_is_for_encrypted_connections_where_there_are_some(closed: Plane) -> None:
    pages = Pages(closed)
    pages.client.base_url = "https://localhost"
    assert "secure" in pages.post("/sign-in", "https://localhost", token=ADMIN).headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "next", ["https://evil.example", "//evil.example", "/\\evil.example", "/ui/\\..", "javascript:x", "/docs", ""]
)
def test_signing_in_leads_nowhere_else(closed: Plane, next: str) -> None:
    assert Pages(closed).post("/sign-in", token=ADMIN, next=next).headers["location"] == "/ui/"


def test_everybody_sees_and_does_what_the_role_allows(closed: Plane) -> None:
    closed.post("/environment", {"name": "prod"}, 201)
    closed.deploy("fraud", env="local")
    closed.deploy("secret", env="prod")
    token = closed.post("/token", {"name": "viewer", "roles": {"local": "viewer"}}, 201)["token"]
    pages = Pages(closed)
    pages.post("/sign-in", token=token)
    fleet = pages.get("/").text
    assert "fraud" in fleet
    assert "secret" not in fleet
    assert "prod" not in fleet
    assert "secret" not in pages.get("/audit").text
    assert pages.get("/audit?env=prod").status_code == 403
    assert pages.get("/serve/secret/prod").status_code == 403
    assert pages.get("/deploy").status_code == 403
    serve = pages.get("/serve/fraud/local").text
    assert not any(word in serve for word in ("Undeploy", "Delete", "Roll back", "Deploy…"))
    for path in ("/serve/fraud/local/undeploy", "/serve/fraud/local/roll-back", "/delete-serve/fraud"):
        assert pages.post(path, name="fraud", revision="1").status_code == 403
    assert closed.status()["desired_revision"] == 1


def test_a_thousand_serves_without_a_pause(plane: Plane, pages: Pages) -> None:
    """A page reads a few rows of each and asks no back end."""
    fill(plane.store, 1000)
    plane.backend.away = True
    began = time.process_time()
    page = pages.get("/")
    assert page.status_code == 200
    assert time.process_time() - began < 1.0
    assert "1000 unknown" in page.text
    assert page.text.count("<tr>") == 51
    assert len(page.content) < 30_000
    assert "serve-0999" in pages.get("/?page=20").text
    assert pages.get("/?text=0500").text.count("<tr>") == 2


def test_a_second_person_approves_what_was_shown(closed: Plane) -> None:
    closed.post("/environment", {"name": "prod"}, 201)
    closed.deploy("fraud", env="prod")
    closed.patch("/environment/prod", {"protection": {"second_person": True}})
    deployer, approver = (
        closed.post("/token", {"name": name, "roles": {"*": name}}, 201)["token"] for name in ("deployer", "approver")
    )
    pages, others = Pages(closed), Pages(closed)
    pages.post("/sign-in", token=deployer)
    others.post("/sign-in", token=approver)
    assert pages.post("/deploy", serve_name="fraud", env="prod", model_uri="models:/fraud/2").status_code == 303
    place = "/serve/fraud/prod"
    waiting = pages.get(place).text
    assert "Deploy of revision 2 waits for a second person" in waiting
    assert "/approve" not in waiting
    action = re.search(r'action="/ui(/operation/\w+)/approve"', others.get(place).text)
    assert action is not None
    assert pages.post(f"{action[1]}/approve").status_code == 403
    assert others.post(f"{action[1]}/approve", reason="seen").status_code == 303
    closed.settle()
    assert "running, revision 2" in re.sub(r"<[^>]+>", "", others.get(place).text)
    pages.post("/deploy", serve_name="fraud", env="prod", model_uri="models:/fraud/3")
    action = re.search(r'action="/ui(/operation/\w+)/approve"', others.get(place).text)
    assert action is not None
    assert others.post(f"{action[1]}/reject").status_code == 303
    assert closed.status(env="prod")["operation"] is None


def test_a_rollout_goes_on_when_a_person_says_so(plane: Plane, pages: Pages) -> None:
    plane.deploy(uri="models:/fraud/1")
    assert pages.get("/serve/fraud/local/rollout").status_code == 404
    steps = '{"steps": [5, 50], "interval": "1h"}'
    fields = {"serve_name": "fraud", "env": "local", "model_uri": "models:/fraud/2", "deployment_strategy": "canary"}
    assert pages.post("/deploy", **fields, deployment_strategy_config="[").status_code == 422
    assert pages.post("/deploy", **fields, deployment_strategy_config=steps).status_code == 303
    place = "/serve/fraud/local/rollout"
    assert 'value="0" aria-label="Requests to revision 2"' in pages.get(place).text
    plane.settle(60)
    assert 'value="5" aria-label="Requests to revision 2"' in pages.get(place).text

    def text() -> str:
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", pages.get(place).text))

    assert "running, step 1 of 2" in text()
    assert "5 %" in text()
    assert pages.post(f"{place}/pause").headers["location"] == f"/ui{place}"
    assert "Paused just now by anybody on this machine" in text()
    pages.post(f"{place}/resume")
    pages.post(f"{place}/promote")
    plane.settle(60)
    assert "running, step 2 of 2" in text()
    assert "step 2 of 2" in re.sub(r"<[^>]+>", "", pages.get("/serve/fraud/local").text)
    pages.post(f"{place}/promote-fully")
    plane.settle(60)
    assert "succeeded" in text()
    assert pages.post(f"{place}/pause").status_code == 409
    assert pages.post(f"{place}/nothing").status_code == 404
    assert plane.status()["revision"] == 2


def test_the_evidence_is_on_the_page(plane: Plane, pages: Pages) -> None:
    begin(plane, **JUDGED)
    assert with_traffic(plane, 20, errors=3) == "FAILED"
    place = "/serve/fraud/local/rollout"
    page = pages.get(place).text
    rows = dict(re.findall(r'<tr><th scope="row">(\w+)</th><td class="result \w*">(\w+)</td>', page))
    assert rows["errors"] == "fail"
    pictures = re.findall(r'<img class="evidence" src="/ui([^"]+)"', page)
    assert pictures
    drawn = pages.get(pictures[0].replace("&amp;", "&"))
    assert (drawn.headers["content-type"], drawn.text[:4]) == ("image/svg+xml", "<svg")
    assert pages.get(f"{place}/picture?gate=nothing").status_code == 404
    assert 'id="retry"' in page
