"""`follow: off`: the version that an alias names at deployment is what is served, and what a rollback brings back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse

import pytest

from tests.controlplane.plane import Plane

ALIASES = {"champion": "7"}
MOVING = "models:/fraud@champion"


class RegistryReply(BaseHTTPRequestHandler):
    """The two answers of MLflow's registry that are asked for."""

    def do_GET(self) -> None:
        alias = parse_qs(urlparse(self.path).query)["alias"][0]
        if alias in ALIASES:
            self.reply(200, {"model_version": {"name": "fraud", "version": ALIASES[alias]}})
        else:
            self.reply(
                404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"Registered model alias {alias} not found."}
            )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        versions = [{"version": "3"}, {"version": "12"}] if body.get("stages", ["Production"]) == ["Production"] else []
        self.reply(200, {"model_versions": versions})

    def reply(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    monkeypatch.setitem(ALIASES, "champion", "7")
    server = HTTPServer(("127.0.0.1", 0), RegistryReply)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    plane.patch("/environment/local", {"tracking_uri": f"http://127.0.0.1:{server.server_port}"})
    yield plane
    server.shutdown()
    thread.join()
    server.server_close()


def served(plane: Plane) -> object:
    return plane.status()["model_uri"]


def test_a_rollback_brings_back_the_version(registry: Plane) -> None:
    registry.deploy(uri=MOVING, follow="off")
    assert served(registry) == "models:/fraud/7"
    ALIASES["champion"] = "8"
    registry.deploy(uri=MOVING)
    assert served(registry) == "models:/fraud/8"
    assert registry.get("/artifact/fraud/v1")["model_uri"] == MOVING
    registry.patch("/serve/fraud/infra-config/local", {"cores": 2}, 202)
    registry.settle()
    registry.post("/serve/fraud/rollback", {"env": "local", "revision": 1})
    registry.settle()
    assert served(registry) == "models:/fraud/7"


def test_a_server_follows_by_itself_otherwise(registry: Plane) -> None:
    registry.deploy(uri=MOVING)
    assert served(registry) == MOVING
    registry.deploy(uri=MOVING, follow="off")
    registry.deploy(uri=MOVING, follow="hot")
    assert served(registry) == MOVING


def test_an_artifact_is_settled_too(registry: Plane) -> None:
    registry.post("/serve", {"name": "fraud"}, 201)
    registry.post("/artifact", {"serve_name": "fraud", "version": "v1", "model_uri": "models:/fraud/Production"}, 201)
    registry.post("/serve/fraud/deploy", {"env": "local", "artifact_version": "v1", "follow": "off"})
    registry.settle()
    assert served(registry) == "models:/fraud/12"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("models:/fraud@none", "alias none not found"), ("models:/fraud/Archived", "no version of fraud in Archived")],
)
def test_what_the_registry_does_not_know(registry: Plane, uri: str, reason: str) -> None:
    body = {"serve_name": "fraud", "model_uri": uri, "env": "local", "follow": "off"}
    problem = registry.post("/serve/deploy-model", body, 422)
    assert reason in problem["errors"][0]["reason"]
    assert registry.send("GET", "/serve/fraud").status_code == 404


def test_without_a_registry(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    body = {"serve_name": "fraud", "model_uri": MOVING, "env": "local", "follow": "off"}
    assert "no tracking server is known" in plane.post("/serve/deploy-model", body, 422)["detail"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "does not answer: ConnectError" in plane.post("/serve/deploy-model", body, 422)["detail"]
    plane.deploy(uri="models:/fraud/3", follow="off")
    assert served(plane) == "models:/fraud/3"
