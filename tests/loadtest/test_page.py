"""The commands of docs/loadtest.md, run as they are written but for shorter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import in_thread

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "loadtest.md").read_text()
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
# Other tests share the machine, so that two runs on one server may differ much.
SHORTER = (
    (r"--tolerance 10%", "--tolerance 90%"),
    (r"--duration 60", "--duration 10"),
    (r"60s", "3s"),
    (r"--probe 10", "--probe 0.5 --start 20 --most 40"),
)


@pytest.mark.slow
def test_the_commands_work(tmp_path: Path) -> None:
    """The demo is served from this process: what is promised there would be kept by a server of its own only."""
    folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    (tmp_path / "loadtest").symlink_to(ROOT / "loadtest")
    commands = [line for line in LINES if not line.startswith("pip ")]
    assert len(commands) == 8
    with in_thread(None) as server:
        for command in commands:
            for long, short in SHORTER:
                command = re.sub(long, short, command)
            command = command.replace("http://localhost:8080", server.url)
            if "locust -f" in command:
                command += f" --grpc {server.grpc}"
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90
            )
            assert done.returncode == 0, (command, done.stdout[-1000:], done.stderr[-1000:])
    files = {file.name for file in tmp_path.iterdir()}
    assert {"loadtest.json", "loadtest.html", "stable.json", "compare.html", "capacity.json"} <= files


def test_the_flags_are_on_the_page() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "run", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    for flag in set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}:
        assert f"`{flag}" in PAGE or f"{flag} " in PAGE, flag
