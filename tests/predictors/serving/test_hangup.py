"""SIGHUP: files that may have been renewed are read again, in every process, and the server goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.serving import Process, answers, children, process, wait_for

TOKEN, OTHER = "a-token-that-is-long", "another-token-that-is-long"
ROWS = {"instances": [[91.5, 1.05, 41, 0.9]]}


def status(server: Process, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
    return server.running.post("/v1/models/model:predict", ROWS, headers=headers).status_code


def lines(server: Process, words: str) -> int:
    return sum(words in line for line in server.log.splitlines())


@pytest.mark.parametrize("workers", [1, 2])
def test_tokens_are_read_again(tmp_path: Path, workers: int) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    with process(tmp_path, "--token-file", str(tokens), "--workers", str(workers)) as server:
        pids = children(server.process.pid)
        for round_ in (1, 2):
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda count=round_ * workers: lines(server, "--token-file: read again") == count, seconds=10)
        assert status(server, TOKEN) == 200
        tokens.write_text(OTHER)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: lines(server, "--token-file: read again") >= 3 * workers, seconds=10)
        assert {status(server, OTHER) for _ in range(8)} == {200}
        assert {status(server, TOKEN) for _ in range(8)} == {401}
        assert children(server.process.pid) == pids
        assert server.terminate() == 0


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    with process(tmp_path, "--token-file", str(tokens)) as server:
        tokens.unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: lines(server, "its previous content stays in force"), seconds=10)
        assert status(server, TOKEN) == 200


def test_certificates_are_read_again(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue()
    with process(tmp_path, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key), ready=False) as server:
        wait_for(lambda: lines(server, "loaded model version"), seconds=60)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: lines(server, "--ssl-certfile, --ssl-keyfile: read again") == 2, seconds=10)  # HTTP and gRPC
        assert server.terminate() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hangup_while_the_server_starts(tmp_path: Path, workers: int) -> None:
    with process(tmp_path, "--workers", str(workers), ready=False) as server:

        def hang_up_until_ready() -> bool:
            server.process.send_signal(signal.SIGHUP)
            return answers(server.running.client, "/v2/health/ready") == 200

        wait_for(lambda: server.log, lambda: server.process.poll(), seconds=60)
        wait_for(hang_up_until_ready, lambda: server.process.poll(), seconds=60)
        assert server.terminate() == 0
