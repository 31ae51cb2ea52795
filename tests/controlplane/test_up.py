"""`mlflow-kserve up` with real processes: one story, since starts are what takes time."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import predictors
from controlplane.cli import main
from tests.controlplane.up import cleaned, processes_of, servers_of, up
from tests.serving import wait_for

DEMO = Path(predictors.__path__[0]) / "demo"
ROW = {"instances": [{"temperature": 91.5, "vibration": 1.05, "months_since_service": 41, "load": 0.9}]}
PAGE = Path(__file__).parents[2] / "docs" / "controlplane.md"
EXAMPLE = re.compile(r"<!-- run -->\n```sh\n(.*?)```\n\n```json\n(.*?)```", re.DOTALL)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with cleaned(tmp_path / "data"):
        yield tmp_path / "data"


def predicted(url: str) -> Any:
    return httpx.post(f"{url}/v1/models/machines:predict", json=ROW, timeout=30).json()["predictions"]


@pytest.mark.slow
def test_a_serve_outlives_its_process_and_its_control_plane(data: Path) -> None:
    with up(data) as first:
        first.deploy(DEMO)
        status = first.status()
        assert status["status"] == "READY", status
        url, pid = status["url"], status["pods"][0]["pid"]
        assert predicted(url) == [1]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: first.status(wait=0)["pods"][0]["pid"] not in (None, pid), seconds=60)
        status = first.wait_ready()
        assert (status["url"], status["pods"][0]["starts"]) == (url, 2)
        assert "revision 1 ended and is started again" in status["last_error"]
        pid = status["pods"][0]["pid"]
        first.process.kill()
        first.process.wait(30)
        assert predicted(url) == [1]
    with up(data) as second:
        status = second.wait_ready()
        assert (status["url"], status["pods"][0]["pid"]) == (url, pid)
        gateway = next(each for each in processes_of(data) if "controlplane.backends.local.gateway" in each.cmdline())
        gateway.kill()
        wait_for(lambda: answers_again(url), seconds=60)
        second.post("/serve/undeploy-model", {"serve_name": "machines", "env": "local"})
        assert second.status()["status"] == "STOPPED"
        assert servers_of(data) == []
        response = httpx.get(f"{url}/v2/health/ready")
        assert (response.status_code, response.json()) == (503, {"error": "no process of this serve is ready"})


def answers_again(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_the_page_is_what_happens(data: Path, tmp_path: Path) -> None:
    """The commands of the page, in one shell; each reply has what the page shows of it."""
    examples = EXAMPLE.findall(PAGE.read_text())
    with up(data, "--stop-serves") as plane:
        script = "".join(f"{command}echo; echo ---\n" for command, _ in examples)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", script.replace("http://localhost:8007", plane.url)],
            capture_output=True, text=True, timeout=280, cwd=tmp_path, env={**os.environ, "PATH": path},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    replies = done.stdout.split("\n---\n")[:-1]
    assert len(replies) == len(examples) >= 8
    for (command, shown), reply in zip(examples, replies, strict=True):
        assert contains(json.loads(reply), json.loads(shown)), (command, reply)
    wait_for(lambda: not servers_of(data), seconds=60)


def contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What is said of flags that cannot be used."""
    try:
        code: object = main(flags)
    except SystemExit as error:
        code = error.code
    assert code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0 lets other machines in, and no token is known"),
        (("--data", __file__), f"--data {__file__}: File exists"),
        (("--database", "sqlite://"), "--database: expected a file"),
        (("--database", "nonsense"), "--database: "),
        (("--database-replica", "nonsense"), "--database-replica: "),
        (("--admin-token-file", "/nowhere"), "--admin-token-file: /nowhere: No such file"),
        (("--webhook-secret-file", "/nowhere"), "--webhook-secret-file: there is no file /nowhere"),
        (("--jwt-issuer", "https://issuer"), "--jwt-jwks, --jwt-issuer and --jwt-audience belong together"),
        (("--jwt-admin-scope", "admin"), "--jwt-approver-scope and --jwt-admin-scope need --jwt-jwks"),
        (("--serve-ports", "9-1"), "'9-1' is not a range of ports"),
        (("--port", "70000"), "--port 70000 on 127.0.0.1"),
    ],
)
def test_settings_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    """One line that names the setting, and status 2."""
    assert message in refused(capsys, "--port", "0", "--data", str(tmp_path), *flags)


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert f"--port {port} on 127.0.0.1: " in refused(capsys, "--data", str(tmp_path), "--port", port)
