"""The page /docs in a real browser: nothing that its policy forbids, and a token opens the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from predictors.rest import pages
from tests.browser import Browser, opened_browser
from tests.controlplane.page.rules import RULES
from tests.predictors.access.test_access import ALICE, bearing, written
from tests.serving import in_thread, wait_for


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with opened_browser(tmp_path / "profile") as tab:
        yield tab


def test_the_page_asks_for_a_token_and_then_says_more(browser: Browser, tmp_path: Path) -> None:
    with in_thread(None, token_file=written(tmp_path / "callers", f"alice:{ALICE}")) as server:
        browser.call("Page.navigate", url=f"{server.url}/docs")
        browser.click(".btn.authorize")
        assert "temperature" not in browser.run("document.body.innerText")
        browser.type(".auth-container input", ALICE)
        browser.click(".auth-btn-wrapper .authorize")
        browser.click(".auth-btn-wrapper .btn-done")
        browser.click(".opblock-post .opblock-summary-control")
        example = ".opblock-body textarea"
        wait_for(
            lambda: "temperature" in (browser.run(f"document.querySelector('{example}')?.value") or ""), seconds=30
        )
        browser.click(".opblock-body .execute")
        browser.wait(".live-responses-table")
        assert "probabilities" in browser.run("document.querySelector('.live-responses-table').innerText")
        assert browser.complaints == []


MAX_PAGE = 100_000  # bytes


def test_the_playground(browser: Browser, tmp_path: Path) -> None:
    """A form made from the schema, and what it sends is what curl and Python send."""
    with in_thread(None, token_file=written(tmp_path / "callers", f"alice:{ALICE}")) as server:
        browser.open(f"{server.url}/docs")
        browser.follow("a[href='docs/playground']")
        browser.wait_text("The schema cannot be read: 401", "#answers")
        browser.fill("#token", ALICE)
        browser.click("#access button")
        browser.wait("[id='column:temperature']")
        assert browser.run("document.getElementById('column:temperature').value") == "64.2"
        browser.fill("[id='column:temperature']", "91,5")
        browser.click("button[value=fields]")
        browser.wait_text('temperature: "91,5" is no number', "#answers [role=alert]")
        for column, value in {"temperature": "91.5", "months_since_service": "", "load": "0.9"}.items():
            browser.fill(f"[id='column:{column}']", value)
        browser.click("button[value=fields]")
        browser.wait_text("months_since_service", "[aria-label=Answer]")  # the server names what it lacks
        browser.fill("[id='column:months_since_service']", "41")
        browser.fill("[id='column:vibration']", "1.05")
        browser.run("document.querySelector('#method').value = 'predict_proba'")
        browser.click("button[value=fields]")
        browser.wait_text("predictions", "[aria-label=Answer]")
        answer = json.loads(browser.text("[aria-label=Answer]"))
        environment = {**os.environ, "TOKEN": ALICE}
        replies = [
            subprocess.check_output(["sh", "-c", browser.text("[aria-label=curl]") + " -s"], env=environment, text=True),
            subprocess.check_output(
                [sys.executable, "-c", f"token = {ALICE!r}\n" + browser.text("[aria-label=Python]").replace(
                    "print(reply.json())", "print(reply.text)")], text=True,
            ),
        ]  # fmt: skip
        assert [json.loads(each) for each in replies] == [answer, answer]
        for details in ("true", "false"):
            browser.run(f"document.querySelectorAll('details').forEach((each) => each.open = {details})")
            for scheme in ("light", "dark"):
                browser.emulate(scheme)
                for width in (1200, 360):
                    browser.screenshot(tmp_path / f"playground-{scheme}-{width}.png", width)
                    assert browser.run(RULES) == []
        browser.run("document.querySelector('details').open = true")
        browser.run("document.querySelector('#protocol').value = 'v2'")
        browser.run("document.querySelector('#protocol').dispatchEvent(new Event('change'))")
        browser.click("button[value=json]")
        browser.wait_text("outputs", "[aria-label=Answer]")
        browser.fill("#body", "{")
        browser.click("button[value=json]")
        browser.wait_text("The request is no JSON", "#answers")
        assert [each for each in browser.complaints if "Failed to load resource" not in each] == []
        files = ("playground", "playground.css", "playground.js", "favicon-32x32.png")
        assert sum(len(server.get(f"/docs/{each}").content) for each in files) < MAX_PAGE


def test_no_digit_is_lost_on_the_way(browser: Browser, zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo("pyfunc-params")) as server:
        browser.open(f"{server.url}/docs/playground")
        browser.fill("[id='column:a']", "12345678901234567890.5")
        browser.fill("[id='param:times']", "3")
        browser.click("button[value=fields]")
        browser.wait_text("predictions", "[aria-label=Answer]")
        curl = browser.text("[aria-label=curl]")
        assert '"a": 12345678901234567890.5' in curl
        assert '"times": 3' in curl


def test_what_the_policy_forbids_is_noticed(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would see it."""
    strict = pages.CONTENT_SECURITY_POLICY.replace("style-src 'self'", "style-src 'none'")
    monkeypatch.setattr(pages, "PAGE_HEADERS", (("content-security-policy", strict),))
    with in_thread(None) as server:
        browser.call("Page.navigate", url=f"{server.url}/docs")
        browser.wait(".opblock-post")
        assert "Content Security Policy" in "".join(browser.complaints)


def test_headers_of_pages(tmp_path: Path) -> None:
    with in_thread(None, token_file=written(tmp_path / "callers", ALICE)) as server:
        for path in ("/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/playground"):
            headers = server.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
        for path in ("/docs", "/openapi.json", "/health", "/metrics", "/schema", "/nothing"):
            assert server.get(path).headers["x-content-type-options"] == "nosniff"
        for path in ("/v1/models/model:predict", "/v1/models/model:predict?long=way"):
            reply = server.post(path, {"instances": [[91.5, 1.05, 41, 0.9]]}, headers=bearing(ALICE))
            assert (reply.status_code, reply.headers["x-content-type-options"]) == (200, "nosniff")
