"""Our server beside a real `mlflow models serve`: content types, lengths, routes and methods, which a test client skips."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from loadtest.peers.ports import free_port
from tests.compat.echo import save_echo
from tests.compat.test_invocations import MODELS, NAMES, RECORD, split
from tests.serving import Running, answers, in_thread, wait_for

BODY = json.dumps({"dataframe_records": [RECORD]}).encode()
CSV = b"x,n,s\n1.5,2,t\n"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, httpx.Client]]:
    folder = tmp_path_factory.mktemp("transport")
    save_echo(folder / "model", *MODELS["table"])
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager=local", "-m", str(folder / "model")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(
            [*command, "--host=127.0.0.1", f"--port={port}"], stdout=log, stderr=log, env={**os.environ, "PATH": path}
        )
    try:
        with (
            in_thread(folder / "model") as ours,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as theirs,
        ):
            wait_for(
                lambda: answers(theirs, "/ping") == 200,
                lambda: started.poll() is not None and (folder / "log").read_text(),
            )
            yield ours, theirs
    finally:
        started.terminate()
        started.wait(30)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", BODY),
        ("application/json; charset=utf-8", BODY),
        ("application/json", b'{"dataframe_split": {"columns": ["x", "n", "s"], "data": [[NaN, 2, "\xc3\xbc"]]}}'),
        ("application/json", json.dumps(split(NAMES, [1.5, 2, "t"] * 1)).encode() + b"\n"),
        ("text/csv", CSV),
        ("text/csv; charset=utf-8", CSV),
        ("text/csv", CSV.replace(b"\n", b"\r\n")),
    ],
)
def test_the_same_answer(both: tuple[Running, httpx.Client], kind: str, content: bytes) -> None:
    ours, theirs = (
        client.post("/invocations", content=content, headers={"Content-Type": kind})
        for client in (both[0].client, both[1])
    )
    assert (ours.status_code, theirs.status_code) == (200, 200), (ours.text, theirs.text)
    assert ours.json() == theirs.json()
    assert ours.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_the_same_refusal(both: tuple[Running, httpx.Client], kind: str | None) -> None:
    headers = {"Connection": "close"}  # MLflow's server leaves it after 500
    if kind:
        headers["Content-Type"] = kind
    statuses = [
        client.post("/invocations", content=BODY, headers=headers).status_code for client in (both[0].client, both[1])
    ]
    assert statuses == [415, 415 if kind else 500]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"inputs": "\xff"}'])
def test_malformed_bodies(both: tuple[Running, httpx.Client], body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for client in (both[0].client, both[1]):
        response = client.post("/invocations", content=body, headers=headers)
        assert response.status_code == 400, response.text


def test_a_body_in_chunks(both: tuple[Running, httpx.Client]) -> None:
    def chunks() -> Iterator[bytes]:
        yield BODY[:10]
        yield BODY[10:]

    headers = {"Content-Type": "application/json"}
    ours, theirs = (
        client.post("/invocations", content=chunks(), headers=headers) for client in (both[0].client, both[1])
    )
    assert ours.json() == theirs.json()


@pytest.mark.parametrize("path", ["/ping", "/health", "/version"])
def test_routes(both: tuple[Running, httpx.Client], path: str) -> None:
    ours, theirs = both[0].get(path), both[1].get(path)
    assert ours.status_code == theirs.status_code == 200
    if path != "/health":
        assert ours.text == theirs.text


def test_methods(both: tuple[Running, httpx.Client]) -> None:
    assert both[0].get("/invocations").status_code == both[1].get("/invocations").status_code == 405
    assert both[0].get("/nothing").status_code == both[1].get("/nothing").status_code == 404


def test_compressed_bodies_are_taken_beyond_mlflow(both: tuple[Running, httpx.Client]) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    statuses = [
        client.post("/invocations", content=gzip.compress(BODY), headers=headers).status_code
        for client in (both[0].client, both[1])
    ]
    assert statuses == [200, 400]
