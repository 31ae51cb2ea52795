"""The page /docs in a real browser: nothing that its policy forbids, and a token opens the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from predictors.rest import pages
from tests.browser import Browser, opened_browser
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
        for path in ("/docs", "/docs/start.js", "/docs/swagger-ui.css"):
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
