"""Server-sent events, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.api import streams
from tests.controlplane.plane import HEALTHY
from tests.mlflow_kserve.served_plane import ServedPlane, served_plane
from tests.serving import wait_for

SSE = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlane]:
    with served_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


def send(plane: ServedPlane, method: str, path: str, body: Any = None, **headers: str) -> Any:
    reply = httpx.request(method, f"{plane.url}/api/v1{path}", json=body, headers=headers, timeout=30)
    assert reply.is_success, reply.text
    return reply.json() if reply.content else None


def deploy(plane: ServedPlane, serve: str, env: str = "local") -> Any:
    return send(plane, "POST", "/serve/deploy-model", {"serve_name": serve, "model_uri": HEALTHY, "env": env})


@contextmanager
def following(plane: ServedPlane, path: str, **headers: str) -> Iterator[Iterator[str]]:
    """The lines of a stream."""
    with httpx.stream("GET", f"{plane.url}/api/v1{path}", headers={**SSE, **headers}, timeout=20) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        lines = response.iter_lines()
        assert next(lines) == "retry: 2000"
        yield lines


def data(lines: Iterator[str]) -> Iterator[Any]:
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_events_as_they_come(plane: ServedPlane) -> None:
    """Those of one environment, from now on; and after a cut, from where it was."""
    send(plane, "POST", "/environment", {"name": "prod"})
    deploy(plane, "before")
    feed: streams.EventFeed = plane.app.state.feed
    with following(plane, "/event?env=prod") as lines:
        wait_for(lambda: feed.newest > 0)
        deploy(plane, "elsewhere")
        deploy(plane, "fraud", "prod")
        came = data(lines)
        first, second = next(came), next(came)
    assert [(each["action"], each["serve"]) for each in (first, second)] == [
        ("deploy", "fraud"), ("deploy.succeeded", "fraud"),
    ]  # fmt: skip
    with following(plane, "/event?env=prod&after=1", **{"last-event-id": str(first["id"])}) as lines:
        assert next(data(lines)) == second
    with following(plane, "/event?after=0") as lines:
        listed = send(plane, "GET", "/event?limit=200")["items"]
        came = data(lines)
        assert [next(came) for _ in listed] == listed
    wait_for(lambda: feed.streams == 0)


def test_a_change_step_by_step(plane: ServedPlane) -> None:
    id = deploy(plane, "steps")["operation"]["id"]
    with following(plane, f"/operation/{id}") as lines:
        steps = list(data(lines))  # it ends by itself
    assert {each["id"] for each in steps} == {id}
    assert steps[-1]["state"] == "SUCCEEDED"


def test_what_is_refused(plane: ServedPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    def problem(path: str, **headers: str) -> tuple[int, str]:
        reply = httpx.get(f"{plane.url}/api/v1{path}", headers={**SSE, **headers})
        return reply.status_code, reply.json()["detail"]

    assert problem("/event", **{"last-event-id": "x"}) == (400, "Last-Event-ID is 'x'")
    assert problem("/operation/none")[0] == 404
    monkeypatch.setattr(streams, "MAX_STREAMS", 0)
    assert problem("/event") == (503, "there are 0 streams already")


def test_a_quiet_stream_is_alive_and_ends_with_its_token(plane: ServedPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_INTERVAL", 0.05)
    admin = send(plane, "POST", "/token", {"name": "ops", "roles": {"*": "admin"}})["token"]
    ops = {"authorization": f"Bearer {admin}"}
    who = send(plane, "POST", "/token", {"name": "who", "roles": {"*": "viewer"}}, **ops)["token"]
    try:
        with following(plane, "/event", authorization=f"Bearer {who}") as lines:
            assert next(lines) == ""
            assert ": the stream is alive" in lines
            send(plane, "DELETE", "/token/who", **ops)
            assert len(list(lines)) < 1000, "it ends by itself"
    finally:
        send(plane, "DELETE", "/token/ops", **ops)


def test_streams_end_with_the_control_plane(tmp_path: Path) -> None:
    with served_plane(tmp_path) as running, following(running, "/event") as lines:
        running.app.state.feed.close()
        assert list(lines) == [""]
