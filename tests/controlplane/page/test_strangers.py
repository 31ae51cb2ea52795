"""Models that say strange things of themselves: the playground believes none of them."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from controlplane.page import asking
from tests.controlplane.page.conftest import Pages
from tests.controlplane.page.test_manners import HOSTILE, ScriptFinder
from tests.controlplane.plane import Plane
from tests.http_server import endless_server

ROW = {"name": "a", "type": "double", "required": True}


class StrangeModel:
    """A server that answers what it was told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, bytes] = {}
        self.asked: list[tuple[str, bytes]] = []
        model = self

        class Reply(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                model.asked.append((self.path, body))
                reply = model.replies.get(self.path)
                self.send_response(404 if reply is None else 200)
                self.end_headers()
                self.wfile.write(reply or b"")

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Reply)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def strange_model() -> Iterator[StrangeModel]:
    model = StrangeModel()
    thread = threading.Thread(target=model.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield model
    finally:
        model.server.shutdown()
        model.server.server_close()
        thread.join()


@pytest.fixture
def stranger(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Iterator[StrangeModel]:
    with strange_model() as model:
        plane.deploy()
        observe = plane.backend.observe
        monkeypatch.setattr(
            plane.backend, "observe", lambda *said, **more: replace(observe(*said, **more), url=model.url)
        )
        yield model


PLACE = "/serve/fraud/local/playground"
STRANGE: list[Any] = [
    None,
    [],
    "text",
    {"inputs": 3},
    {"inputs": [3]},
    {"inputs": [{"name": 3, "type": []}]},
    {"inputs": [ROW], "samples": {"v1": 7}},
    {"inputs": [ROW], "samples": {"v1": {"path": 7}}},
    {"inputs": [ROW], "samples": {"v1": {"path": "/p", "body": [1]}}},
    {"inputs": [ROW], "samples": {"v1": {"path": "/p", "body": {"instances": [[1]]}}}},
    {"inputs": [{"name": HOSTILE, "type": HOSTILE}], "methods": [HOSTILE, "b"], "samples": {}},
    {"inputs": [{**ROW, "name": HOSTILE}], "methods": [HOSTILE, "b"], "samples": {"v1": {"path": "/" + HOSTILE}}},
    {"inputs": [{"name": "x", "datatype": "FP64", "shape": [10**30, -1]}]},
    {"params": [{"name": f"p{number}"} for number in range(5000)]},
    {"inputs": [{**ROW, "name": f"c{number}"} for number in range(5000)], "samples": {"v1": {"path": "/p"}}},
    {"inputs": [ROW], "samples": {"v1": {"path": "/p", "body": {"instances": [{"a": "x" * 500_000}]}}}},
]


@pytest.mark.parametrize("said", STRANGE, ids=range(len(STRANGE)))
def test_whatever_a_model_says_the_page_is_there(said: Any, stranger: StrangeModel, plane: Plane) -> None:
    stranger.replies["/schema"] = json.dumps(said).encode()
    page = Pages(plane).get(PLACE)
    assert page.status_code == 200
    assert ScriptFinder(page.text).found == []
    assert len(page.content) < 60_000


def test_what_a_model_answers_is_text(stranger: StrangeModel, plane: Plane) -> None:
    for reply in (HOSTILE.encode(), json.dumps({HOSTILE: HOSTILE}).encode(), b"\xff\xfe<script>", b"[" * 100_000):
        stranger.replies["/v1/models/fraud:predict"] = reply
        page = Pages(plane).post(PLACE, by="body", body="{}")
        assert page.status_code == 200
        assert ScriptFinder(page.text).found == []
        assert "alert(1)" in page.text or b"alert" not in reply


def test_an_answer_without_end_is_not_read_to_its_end(stranger: StrangeModel, plane: Plane) -> None:
    stranger.replies["/v1/models/fraud:predict"] = b"x" * (2 << 20)
    assert "more than 1048576 bytes" in Pages(plane).post(PLACE, by="body", body="{}").text


def test_an_answer_that_never_ends_is_not_waited_for(
    stranger: StrangeModel, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(asking, "DESCRIPTION_SECONDS", 0.3)
    with endless_server() as stranger.url:
        assert "not all of it came within 0.3 s" in Pages(plane).post(PLACE, by="body", body="{}").text


def test_what_a_model_has_packed_is_not_unpacked(stranger: StrangeModel, plane: Plane) -> None:
    with endless_server(gzip.compress(b"x" * (64 << 20))) as stranger.url:
        assert "more than" not in Pages(plane).post(PLACE, by="body", body="{}").text


@pytest.mark.parametrize("path", ["@127.0.0.2/", ".evil.example/", "//evil.example/", "", "http://evil.example/"])
def test_no_model_sends_the_request_elsewhere(path: str, stranger: StrangeModel, plane: Plane) -> None:
    stranger.replies["/schema"] = json.dumps({"inputs": [ROW], "samples": {"v1": {"path": path, "body": {}}}}).encode()
    page = Pages(plane).post(PLACE, by="body", path=path, body="{}")
    assert page.status_code == 200
    assert stranger.asked[-1][1] == b"{}"


def test_what_is_sent_is_what_was_written(stranger: StrangeModel, plane: Plane) -> None:
    text = '{"instances":  [[1.10, 12345678901234567890123, 1e400]]}'
    Pages(plane).post(PLACE, by="body", body=text)
    assert stranger.asked[-1] == ("/v1/models/fraud:predict", text.encode())


def test_a_model_that_only_speaks_v2(stranger: StrangeModel, plane: Plane) -> None:
    inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    stranger.replies["/v2/models/fraud"] = json.dumps({"name": "fraud", "inputs": inputs}).encode()
    stranger.replies["/v2/models/fraud/infer"] = b'{"outputs": []}'
    pages = Pages(plane)
    assert "/v2/models/fraud/infer" in pages.get(PLACE).text
    assert "&#34;outputs&#34;" in pages.post(PLACE, by="body", body='{"inputs": []}').text


def test_a_model_that_is_away(plane: Plane) -> None:
    plane.deploy()
    page = Pages(plane).post(PLACE, by="body", body="{}")
    assert page.status_code == 200
    assert "does not answer" in page.text
