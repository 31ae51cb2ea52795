"""The page /docs in a real browser: nothing that its policy forbids, and a token opens the rest."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websocket import WebSocket, create_connection

from predictors.rest import pages
from tests.predictors.access.test_access import ALICE, bearing, written
from tests.serving import in_thread, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

TYPE = """(field => {
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, %s)
  field.dispatchEvent(new Event("input", {bubbles: true}))
})(document.querySelector(%s))"""


class Browser:
    """One tab, by Chrome's own protocol."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Log", "Runtime", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                return message["result"]
            if message["method"] in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(json.dumps(message))

    def run(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait(self, selector: str) -> None:
        wait_for(lambda: self.run(f"!!document.querySelector({json.dumps(selector)})"), seconds=30)

    def click(self, selector: str) -> None:
        self.wait(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        self.wait(selector)
        self.run(TYPE % (json.dumps(text), json.dumps(selector)))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    profile = tmp_path / "profile"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--remote-allow-origins=*"]
    started = subprocess.Popen(
        [CHROMIUM, *flags, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        told = profile / "DevToolsActivePort"
        wait_for(lambda: told.exists() and len(told.read_text().split()) == 2, seconds=60)
        tabs = httpx.get(f"http://127.0.0.1:{told.read_text().split()[0]}/json", timeout=30).json()
        tab = next(one for one in tabs if one["type"] == "page")
        socket = create_connection(tab["webSocketDebuggerUrl"], timeout=30)
        yield Browser(socket)
        socket.close()
    finally:
        started.terminate()
        started.wait(30)


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
