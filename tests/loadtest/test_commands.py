"""`python -m loadtest` against a real server: numbers, verdicts, exit codes, and one line for what cannot be."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvloop

from loadtest.__main__ import main
from loadtest.clients import HttpClient
from loadtest.offer import offer
from loadtest.outcome import LoadResult
from loadtest.payloads import PROTOCOLS, Payload
from loadtest.peers.ports import free_port
from loadtest.target import Target
from predictors.access.limits import Rate
from tests.certificates import Authority
from tests.http_server import QuietHandler
from tests.serving import Running, in_thread

ROOT = Path(__file__).parents[2]
EASY = "p50=2s,p95=5s,errors=1%"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with in_thread(None) as running:
        yield running


def run(server: Running, out: Path, *more: str) -> int:
    where = ["--url", server.url, "--grpc", server.grpc, "--out", str(out), "--warmup", "0.2"]
    return main(["run", *where, "--slo", EASY, "--rps", "50", "--duration", "1.2", *more])


@pytest.mark.parametrize("protocol", ["v1", "grpc"])
def test_a_server_over_tls(protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue()
    options: dict[str, Any] = {
        "client_options": {"verify": authority.trusted()},
        "ssl_certfile": str(certificate),
        "ssl_keyfile": str(key),
    }
    with in_thread(None, **options) as server:
        assert run(server, tmp_path / "a.json", "--protocol", protocol, "--ca", str(authority.file)) == 0
        assert run(server, tmp_path / "a.json", "--protocol", protocol, "--ca", str(key)) == 2
        assert f"--ca: {key} holds no certificates" in capsys.readouterr().err
        if protocol == "grpc":
            assert run(server, tmp_path / "a.json", "--protocol", protocol, "--insecure") == 2
            assert "expected --ca with the authority" in capsys.readouterr().err
        else:
            assert run(server, tmp_path / "a.json", "--protocol", protocol, "--insecure") == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_test_of_each_protocol(
    protocol: str, server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server, tmp_path / "a.json", "--protocol", protocol, "--duration", "2.2") == 0
    told = capsys.readouterr()
    assert "within 2 s" in told.out
    assert "the SLO was kept" in told.out
    assert re.search(r"[12] s of 2: \d+ sent, p50 ", told.err), "no progress is shown"
    content = json.loads((tmp_path / "a.json").read_text())
    summary = content["summary"]
    assert (content["version"], summary["kept"], summary["offered"], summary["answered"]) == (1, True, 110, 110)
    assert content["server"]["predictions"] == 110
    assert 0 < content["server"]["latency"]["p50"] <= summary["latency_seconds"]["p50"]
    assert "<svg" in (tmp_path / "a.html").read_text()


def test_a_missed_objective(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = f"http://127.0.0.1:{free_port()}/metrics"
    assert run(server, tmp_path / "a.json", "--slo", "p50=1us", "--metrics-url", elsewhere) == 1
    told = capsys.readouterr().out
    assert "NOT within 1 µs" in told
    assert "no metrics from the server: /metrics answers Cannot connect" in told


def test_errors_are_told_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with in_thread(None, rate_limit=Rate(110, 3600)) as limited:
        assert run(limited, tmp_path / "a.json", "--rps", "200") == 1
    errors = json.loads((tmp_path / "a.json").read_text())["summary"]["errors"]
    assert errors.keys() == {"429"}
    assert "429" in (tmp_path / "a.html").read_text()


def test_the_result_as_a_line_of_a_log(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, Path("-")) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("{"))
    file = tmp_path / "from-a-log.json"
    file.write_text(line)
    assert main(["report", str(file)]) == 0
    assert "The SLO was kept" in (tmp_path / "from-a-log.html").read_text()


def test_steps_end_where_the_slo_breaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 64 are sent to begin with, some warm up, 20 are due on the first step and 40 on the second.
    with in_thread(None, rate_limit=Rate(110, 3600)) as limited:
        assert run(limited, tmp_path / "a.json", "--profile", "step", "--duration", "10") == 1
    assert "the SLO held at 10 requests per second" in capsys.readouterr().out
    summary = json.loads((tmp_path / "a.json").read_text())["summary"]
    assert 60 <= summary["offered"] < 120, "it ends on the third of five"


def test_compare_and_capacity(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = tmp_path / "a.json"
    assert run(server, a, "--duration", "10") == 0
    slower = json.loads(a.read_text())
    for second in slower["outcome"]["seconds"]:  # 100 steps of 1 %: 2.7 times as long
        second["latencies"] = {str(int(step) + 100): count for step, count in second["latencies"].items()}
    b = tmp_path / "b.json"
    b.write_text(json.dumps(slower))
    page = ["--html", str(tmp_path / "compare.html")]
    assert main(["compare", str(a), str(a), *page]) == 0
    assert main(["compare", str(a), str(b), *page]) == 1
    assert "B is worse than A" in capsys.readouterr().out
    assert "B is worse than A" in (tmp_path / "compare.html").read_text()
    out = tmp_path / "capacity.json"
    search = [
        "capacity",
        "--url",
        server.url,
        "--slo",
        EASY,
        "--start",
        "20",
        "--most",
        "40",
        "--probe",
        "0.7",
        "--warmup",
        "0.1",
    ]
    assert main([*search, "--target-rps", "100", "--headroom", "0%", "--out", str(out)]) == 0
    assert "100 requests per second need 3 pod(s)" in capsys.readouterr().out
    assert json.loads(out.read_text())["pods_needed"] == 3
    assert main([*search[:4], "p50=1us", *search[5:], "--out", str(out)]) == 1
    assert "not even 14.2857 requests per second" in capsys.readouterr().out, "it goes down to ten requests in a try"
    tries = json.loads(out.read_text())["tries"]
    assert [one["rps"] for one in tries] == [20, pytest.approx(14.2857, abs=1e-4)]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that cannot be done."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    told = capsys.readouterr()
    assert not told.out
    line, end, rest = told.err.partition("\n")
    assert (end, rest) == ("\n", "")
    assert line.startswith("error: ")
    return line


def test_what_cannot_be_is_told_in_one_line(
    server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert f"{nowhere} cannot be reached" in refused(capsys, "run", "--url", nowhere)
    assert "is not a URL" in refused(capsys, "run", "--url", "localhost:8080")
    assert "'nowhere' is not a URL" in refused(capsys, "run", "--url", server.url, "--metrics-url", "nowhere")
    assert "--slo: 'p95' is not understood" in refused(capsys, "run", "--url", server.url, "--slo", "p95")
    assert "without a colon" in refused(capsys, "run", "--url", server.url, "--header", "Host")
    assert "no folder" in refused(capsys, "run", "--url", server.url, "--out", "not/there.json")
    grpc = f"127.0.0.1:{free_port()}"
    line = refused(capsys, "run", "--url", server.url, "--protocol", "grpc", "--grpc", grpc)
    assert f"{grpc} cannot be reached" in line
    assert "No such file" in refused(capsys, "compare", "a.json", "b.json")
    Path("text.json").write_text("hello")
    assert "is not JSON" in refused(capsys, "compare", "text.json", "text.json")
    Path("other.json").write_text("{}")
    assert "not the result of a load test" in refused(capsys, "report", "other.json")
    Path("new.json").write_text('{"kind": "mlflow-kserve load test", "version": 2}')
    assert "has version 2: this program reads version 1" in refused(capsys, "compare", "new.json", "new.json")
    Path("half.json").write_text('{"kind": "mlflow-kserve load test", "version": 1}')
    assert "is not complete" in refused(capsys, "report", "half.json")
    assert "is not a URL: Invalid IPv6 URL" in refused(capsys, "run", "--url", "http://[::1")
    assert "is not a URL: Port out of range" in refused(capsys, "run", "--url", "http://localhost:99999")
    for header in ("X: 漢", "X: a\nb", "X Y: a"):
        assert "no header can carry" in refused(capsys, "run", "--url", server.url, "--header", header)
    Path("bytes").write_bytes(b"\xff\xfe")
    assert "does not hold a token" in refused(capsys, "run", "--url", server.url, "--token-file", "bytes")
    assert "are more than 50,000,000" in refused(capsys, "run", "--url", server.url, "--rps", "1e9")
    assert "no request is due" in refused(capsys, "run", "--url", server.url, "--rps", "0.1", "--duration", "2")
    assert not Path("loadtest.json").exists(), "an empty file is left behind"
    assert run(server, Path("good.json")) == 0
    assert "No space left" in refused(capsys, "report", "good.json", "--html", "/dev/full")


def test_a_model_that_is_not_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with in_thread(None) as server:
        assert server.post("/v2/repository/models/model/unload").status_code == 200
        line = refused(capsys, "run", "--url", server.url, "--out", str(tmp_path / "a.json"))
    assert "is not ready: 503" in line


class Elsewhere(QuietHandler):
    """Where metrics are asked for."""

    heard: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.heard.append(str(self.headers))
        self.reply(200)


def test_a_token_opens_the_server_and_is_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = "a-token-that-is-long-enough-0123456789"
    known, own = tmp_path / "callers", tmp_path / "own"
    known.write_text(f"alice:{token}\n")
    own.write_text(token)
    for file in (known, own):
        file.chmod(0o600)
    with in_thread(None, token_file=known) as server:
        assert "401" in refused(capsys, "run", "--url", server.url, "--out", str(tmp_path / "a.json"))
        assert run(server, tmp_path / "a.json", "--token-file", str(own)) == 0
        with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as other:
            threading.Thread(target=other.serve_forever, daemon=True).start()
            metrics = f"http://127.0.0.1:{other.server_port}/metrics"
            assert run(server, tmp_path / "a.json", "--token-file", str(own), "--metrics-url", metrics) == 0
            other.shutdown()
    assert Elsewhere.heard
    assert token not in "".join(Elsewhere.heard), "it is for the server alone"
    told = capsys.readouterr()
    assert token not in told.out + told.err
    assert all(token not in file.read_text() for file in (tmp_path / "a.json", tmp_path / "a.html"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_measured_is_kept_when_it_is_stopped(server: Running, tmp_path: Path, number: int) -> None:
    out = tmp_path / "a.json"
    command = [sys.executable, "-m", "loadtest", "run", "--url", server.url, "--duration", "50", "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        next(line for line in started.stderr if "1 s of 50" in line)
        started.send_signal(number)
        told, wrong = started.communicate(timeout=30)
    assert (started.returncode, "Traceback" in wrong) == (130, False)
    assert re.search(r"stopped after \d s of 50; until then the SLO was \w+: ", told)
    content = json.loads(out.read_text())
    summary = content["summary"]
    assert 1 <= content["stopped"] < 10
    assert not summary["kept"], "half a test is no verdict"
    assert summary["offered"] == summary["answered"] + sum(summary["errors"].values()) > 50
    assert "Stopped after" in out.with_suffix(".html").read_text()


def test_a_request_that_cannot_be_sent_is_an_error() -> None:
    class Broken:
        async def send(self, payload: Payload) -> str:
            raise ValueError("no header like this")

    outcome = LoadResult()
    uvloop.run(offer(Broken(), [Payload("/", b"")], [0.0, 0.01, 0.02], outcome))
    assert (outcome.offered, outcome.errors) == (3, {"ValueError": 3})


class Slow:
    async def send(self, payload: Payload) -> str:
        await asyncio.sleep(0.2)
        return ""


def test_what_warms_up_is_not_counted() -> None:
    outcome = LoadResult()
    uvloop.run(offer(Slow(), [Payload("/", b"")], [-0.02, -0.01, 0.0, 0.01, 0.02], outcome))
    assert (outcome.offered, outcome.latencies.count, outcome.lags.count) == (3, 3, 3)
    assert outcome.latencies.percentile(0) >= 0.19


def test_a_server_that_does_not_answer_is_not_asked_without_end() -> None:
    outcome = LoadResult()
    due = [-0.02, -0.01, 0.0, 0.01, 0.02, 0.03]
    uvloop.run(offer(Slow(), [Payload("/", b"")], due, outcome, max_unanswered=1))
    assert (outcome.offered, outcome.latencies.count, outcome.errors) == (4, 0, {"too many unanswered": 4})


class Stalling(QuietHandler):
    """Answers at once, but for half a second in which nobody is answered."""

    protocol_version = "HTTP/1.1"
    began = 0.0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        since = time.perf_counter() - Stalling.began
        if 0.5 < since < 1:
            time.sleep(1 - since)
        self.reply(200)


class Patient(ThreadingHTTPServer):
    request_queue_size = 256
    """All who come while it stalls wait for it, and nobody is turned away."""


def test_a_stall_is_counted_for_all_who_were_due_meanwhile() -> None:
    """One that sends only after a reply would see a single slow request."""
    with Patient(("127.0.0.1", 0), Stalling) as stalling:
        threading.Thread(target=stalling.serve_forever, daemon=True).start()
        outcome, target = LoadResult(), Target(f"http://127.0.0.1:{stalling.server_port}")

        async def go() -> None:
            async with HttpClient(target, 5) as client:
                Stalling.began = time.perf_counter()
                await offer(client, [Payload("/", b"")], [number / 100 for number in range(200)], outcome)

        uvloop.run(go())
        stalling.shutdown()
    latencies = outcome.latencies
    assert latencies.count == 200
    slow = sum(count for step, count in latencies.steps.items() if step > 930)  # about 10 ms
    assert slow >= 40, "50 were due while the server stalled"
    assert latencies.percentile(0.99) > 0.4


def test_the_job_fits_and_its_program_runs_from_a_config_map(tmp_path: Path) -> None:
    import yaml

    from tests.generator.judge import judge
    from tests.generator.kubectl import kubectl

    text = (ROOT / "loadtest" / "job.yaml").read_text()
    verdict = judge([yaml.safe_load(text)])
    assert (verdict.problems, verdict.external) == ([], ["ConfigMap models/loadtest"])
    config_map = yaml.safe_load(
        kubectl("create", "configmap", "loadtest", f"--from-file={ROOT / 'loadtest'}", "--dry-run=client", "-o", "yaml")
    )
    package = tmp_path / "loadtest"
    package.mkdir()
    for name, content in config_map["data"].items():
        (package / name).write_text(content)
    container = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"][0]
    arguments = [one for one in container["args"] if not one.startswith("--url")]
    command = [sys.executable, *container["command"][1:], *arguments, f"--url=http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: http://127.0.0.1:")


def test_the_job_needs_nothing_that_a_predictors_image_lacks() -> None:
    code = "import sys; sys.modules |= dict.fromkeys(('monitoring', 'generator', 'controlplane')); import loadtest.__main__"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("hey") is None, reason="needs hey")
def test_hey(server: Running) -> None:
    script = str(ROOT / "loadtest" / "hey.sh")
    done = subprocess.run([script, server.url, "model"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\[200\]\s+1000 responses", done.stdout)
    environment = {**os.environ, "N": "10"}
    few = subprocess.run([script, server.url], env=environment, capture_output=True, text=True, timeout=60)
    assert (few.returncode, few.stderr.count("\n")) == (2, 1)
    assert "N=10 C=50" in few.stderr
    for arguments, words in {
        (): "usage: ",
        (server.url, "another"): "the server has the model 'model', not 'another'",
        (f"http://127.0.0.1:{free_port()}",): "cannot be reached",
    }.items():
        done = subprocess.run([script, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    with in_thread(None, rate_limit=Rate(5, 3600)) as limited:
        done = subprocess.run([script, limited.url], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "not all requests were answered with 200" in done.stderr
