"""The real locust with our locustfile: headless and by its web page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.peers.ports import free_port
from tests.serving import Running, answers, in_thread, wait_for

FILE = Path(__file__).parents[2] / "loadtest" / "locustfile.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with in_thread(None) as running:
        yield running


def command(url: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(FILE), "--host", url, *more]


def headless(url: str, *more: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """What locust did, and its statistics by name."""
    asked = command(url, "--headless", "--json", *more)
    done = subprocess.run(asked, capture_output=True, text=True, timeout=90)
    statistics = done.stdout[done.stdout.find("[") :]
    return done, {
        one["name"]: one for one in (json.loads(statistics[: statistics.rfind("]") + 1]) if statistics else [])
    }


def test_all_protocols_headless(server: Running) -> None:
    done, stats = headless(
        server.url, "--grpc", server.grpc, "-u", "5", "-r", "5", "-t", "3s", "--slo", "p95=5s,errors=0%"
    )
    assert done.returncode == 0, done.stderr
    assert stats.keys() == {"v1", "v2", "v2-binary", "grpc", "invocations"}
    assert all(one["num_requests"] > 10 and one["num_failures"] == 0 for one in stats.values())
    assert "NOT" not in done.stdout


def test_an_open_loop_keeps_its_rate(server: Running) -> None:
    done, stats = headless(
        server.url, "-u", "2", "-r", "2", "--open-rate", "20", "-t", "4s", "--slo", "errors=0%", "V1"
    )
    assert done.returncode == 0, done.stderr
    assert 110 <= stats["v1"]["num_requests"] <= 220, "2 users, 20 a second each, for 4 to 5 seconds"


def test_steps_end_where_the_slo_breaks(server: Running) -> None:
    done, _ = headless(server.url, "-u", "5", "-t", "10s", "--shape", "step", "--slo", "mean=1us", "V1")
    assert done.returncode == 1
    assert "the SLO broke at 1 users and held at 0" in done.stdout


def test_an_unreachable_server_is_said(server: Running) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done, stats = headless(url, "-u", "1", "-t", "5s", "V1")
    assert (done.returncode, stats) == (2, {})
    assert f"error: {url} cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_locusts_web_page(server: Running, tmp_path: Path) -> None:
    port = free_port()
    log = (tmp_path / "log").open("wb")
    asked = command(server.url, "--web-host", "127.0.0.1", "--web-port", str(port), "V1", "V2")
    with log, subprocess.Popen(asked, stdout=log, stderr=log) as started:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as page:
                wait_for(lambda: answers(page, "/") == 200, lambda: started.poll() is not None, seconds=60)
                assert "open_rate" in page.get("/").text
                form = {"user_count": 2, "spawn_rate": 2, "host": server.url, "shape": "ramp", "run_time": "6s"}
                nowhere = f"http://127.0.0.1:{free_port()}"
                for wrong, words in (
                    ({"host": nowhere}, f"{nowhere} cannot be reached"),
                    ({"open_rate": "-5"}, "--open-rate: -5 is less than 0"),
                ):
                    assert page.post("/swarm", data=form | wrong).json()["success"]
                    wait_for(lambda words=words: words in page.get("/exceptions").text)
                    wait_for(lambda: page.get("/stats/requests").json()["state"] == "stopped")
                form["open_rate"] = 0
                assert page.post("/swarm", data=form).json()["success"]
                wait_for(
                    lambda: {one["name"] for one in page.get("/stats/requests").json()["stats"] if one["num_requests"] > 5}
                    >= {"v1", "v2"}
                )  # fmt: skip
                assert page.post("/stop").json()["success"]
        finally:
            started.terminate()
            started.wait(30)
    assert b"Traceback" not in (tmp_path / "log").read_bytes()
