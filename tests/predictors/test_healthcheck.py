"""The check that images come with, as a command against real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.peers.ports import free_port
from tests.certificates import Authority
from tests.serving import in_thread


def check(**environment: object) -> subprocess.CompletedProcess[str]:
    variables = {f"MLFLOW_KSERVE_{name.upper()}": str(value) for name, value in environment.items()}
    return subprocess.run(
        [sys.executable, "-m", "predictors.healthcheck"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


def test_a_ready_server_is_healthy() -> None:
    with in_thread(None) as server:
        done = check(http_port=server.url.rpartition(":")[2])
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("mutual", [False, True], ids=["one-sided", "mutual"])
def test_a_server_with_https_is_healthy(mutual: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue()
    files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    if mutual:
        files["ssl_ca_certs"] = str(authority.file)
    context = authority.trusted()
    context.load_cert_chain(certificate, key)
    with in_thread(None, client_options={"verify": context}, **files) as server:
        done = check(http_port=server.url.rpartition(":")[2], **files)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_server_without_its_model_is_not_healthy() -> None:
    with in_thread(None) as server:
        assert server.post("/v2/repository/models/model/unload").status_code == 200
        done = check(http_port=server.url.rpartition(":")[2])
        assert (done.returncode, done.stderr) == (1, "not ready: status 503\n")


def test_nothing_that_answers_is_not_healthy() -> None:
    done = check(http_port=free_port())
    assert done.returncode == 1
    assert done.stderr.startswith("not ready: ")
    assert "Traceback" not in done.stderr
