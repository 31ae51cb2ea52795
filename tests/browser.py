"""A browser for tests: headless Chromium, by its own protocol."""

from __future__ import annotations

import base64
import contextlib
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

from tests.serving import wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

TYPE = """(field => {
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, %s)
  field.dispatchEvent(new Event("input", {bubbles: true}))
})(document.querySelector(%s))"""


KEYS: dict[str, dict[str, Any]] = {
    "Tab": {"windowsVirtualKeyCode": 9},
    "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"},
    " ": {"windowsVirtualKeyCode": 32, "text": " "},
}


class Browser:
    """One tab, by Chrome's own protocol."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Log", "Runtime", "Page"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

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

    def open(self, url: str) -> None:
        """Goes to a page and waits until it is there."""
        self.run("window.before = true")
        error = self.call("Page.navigate", url=url).get("errorText")
        assert error is None, f"{url}: {error}"
        self.settle()

    def settle(self) -> None:
        """Waits for the page that a click or an address leads to."""
        wait_for(lambda: self.run("!window.before && document.readyState === 'complete'"), seconds=30)

    def follow(self, selector: str) -> None:
        """Clicks on what leads to another page, and waits for that."""
        self.wait(selector)
        self.run("window.before = true")
        self.click(selector)
        self.settle()

    def fill(self, selector: str, text: str) -> None:
        """Puts a text into a field, in place of what is there."""
        self.wait(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).value = ''")
        self.focus(selector)
        self.call("Input.insertText", text=text)

    def focus(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, **KEYS.get(key, {}))

    def text(self, selector: str = "main") -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait_text(self, text: str, selector: str = "main") -> None:
        wait_for(lambda: text in self.text(selector), seconds=30)

    def screenshot(self, file: Path, width: int = 1200) -> None:
        """The whole page, however long it is."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=700, deviceScaleFactor=1, mobile=False)
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def emulate(self, scheme: str) -> None:
        """`light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)


@contextlib.contextmanager
def opened_browser(profile: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs chromium")
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
