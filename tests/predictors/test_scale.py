"""The command of a schedule's jobs against an API server of our own, through the official client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from predictors import cluster as way
from predictors import scale
from tests.http_server import QuietHandler


class ApiServer(ThreadingHTTPServer):
    """Answers with the replies it was given, one after another, and then always with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, str, str, Any]] = []


class Handler(QuietHandler):
    server: ApiServer

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind, token = self.headers["Content-Type"], self.headers.get("Authorization", "")
        self.server.asked.append((self.path, kind, token, body))
        status, reply = self.server.replies.pop(0) if self.server.replies else (200, {"kind": "InferenceService"})
        self.reply(status, json.dumps(reply).encode())


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with ApiServer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        file = tmp_path / "config"
        file.write_text(yaml.safe_dump(kubeconfig(f"http://127.0.0.1:{server.server_port}")))
        monkeypatch.setenv("KUBECONFIG", str(file))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setattr(way, "BACKOFF", 0.01)
        yield server
        server.shutdown()


def kubeconfig(address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def test_both_numbers_in_one_merge_patch(cluster: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["fraud", "--namespace", "ml", "--min", "5", "--max", "20"]) == 0
    assert cluster.asked == [
        (
            "/apis/serving.kserve.io/v1beta1/namespaces/ml/inferenceservices/fraud?fieldManager=mlflow-kserve-scale",
            "application/merge-patch+json",
            "Bearer secret",
            {"spec": {"predictor": {"minReplicas": 5, "maxReplicas": 20}}},
        )
    ]
    assert capsys.readouterr().out == "ml/fraud: 5 to 20 pods\n"


def test_the_max_stays_when_it_is_left_out(cluster: ApiServer) -> None:
    assert scale.main(["fraud", "--min", "0"]) == 0
    assert cluster.asked[0][3] == {"spec": {"predictor": {"minReplicas": 0}}}


def test_a_cluster_that_is_busy_is_asked_again(cluster: ApiServer) -> None:
    cluster.replies = [(503, {}), (429, {})]
    assert scale.main(["fraud", "--min", "5"]) == 0
    assert len(cluster.asked) == 3


def test_a_cluster_that_stays_broken_is_given_up(cluster: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.replies = [(500, {"message": "etcd is\naway"})] * 9
    assert scale.main(["fraud", "--min", "5"]) == 1
    assert len(cluster.asked) == way.MAX_ATTEMPTS
    error = capsys.readouterr().err
    assert error.endswith("did not change default/fraud: 500 etcd is away\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize("status", [403, 404, 422])
def test_a_refusal_is_final_and_told(status: int, cluster: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.replies = [(status, {"message": "the reason"})]
    assert scale.main(["fraud", "--min", "5"]) == 1
    assert len(cluster.asked) == 1
    assert capsys.readouterr().err.endswith(f"did not change default/fraud: {status} the reason\n")


def test_nobody_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(way, "BACKOFF", 0.01)
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(kubeconfig("http://127.0.0.1:9")))
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert scale.main(["fraud", "--min", "5"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("the Kubernetes API at http://127.0.0.1:9 cannot be reached: ")
    assert error.count("\n") == 1
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert scale.main(["fraud", "--min", "5"]) == 1
    assert "the Kubernetes API is not configured" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("numbers", "why"),
    [(["--min", "5", "--max", "4"], "--min 5 is more than --max 4"), (["--min", "-1"], ""), (["--max", "4"], "--min")],
    ids=["min above max", "negative", "no min"],
)
def test_wrong_numbers(numbers: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        scale.main(["fraud", *numbers])
    assert caught.value.code == 2
    assert why in capsys.readouterr().err
