"""The benchmark against other servers: one case of it, from the command to the page, the numbers and the chart."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_case_is_measured_and_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest.peers", "--quick", "--case", "memory", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "case 1 of 1 memory" in done.stderr, "no progress is shown"
    page = (tmp_path / "peers.md").read_text()
    row = re.search(r"\| Memory.*\*\*([\d.]+)\*\*.*\| ([\d.]+) MB \| ([\d.]+) MB \|", page)
    assert row, page
    ratio, ours, stock = map(float, row.groups())
    assert ratio == pytest.approx(ours / stock, rel=0.02)
    assert json.loads((tmp_path / "peers.json").read_text())
    assert ElementTree.parse(tmp_path / "peers.svg").getroot().tag.endswith("svg")


def test_an_unknown_case_is_named() -> None:
    command = [sys.executable, "-m", "loadtest.peers", "--case", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest.peers", "--against", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"{tmp_path} is no checkout" in done.stderr
