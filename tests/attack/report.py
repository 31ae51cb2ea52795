"""The table of what attacks did to the server: `make attack` prints it, and docs/attacks.md keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
PROPERTY = "attack"


@dataclass(frozen=True)
class Measurement:
    """What others saw of the server while it was under attack, and what the attack cost."""

    requests: int
    failures: int
    p99: float
    slowest: float
    memory: int


measurements: list[Measurement] = []
"""Those of the test that runs."""


def title(nodeid: str) -> str:
    """`test_frames_that_cost_work[pings]` → `frames that cost work: pings`."""
    name, _, case = nodeid.rpartition("::")[2].removeprefix("test_").partition("[")
    return name.replace("_", " ") + (f": {case[:-1]}" if case else "")


def table(rows: Iterable[tuple[str, Measurement]]) -> str:
    lines = [
        "| attack | requests of others | failed | p99 | slowest | memory |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows:
        times = f"{1000 * row.p99:.0f} ms | {1000 * row.slowest:.0f} ms"
        lines.append(f"| {name} | {row.requests} | {row.failures} | {times} | +{row.memory / 1024**2:.0f} MiB |")
    return "\n".join(lines) + "\n"


class AttackReport:
    """Gathers the measurements of all tests, from whichever process ran them."""

    def __init__(self, *, write: bool) -> None:
        self.write = write
        self.rows: list[tuple[str, Measurement]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            measured = [Measurement(**value) for name, value in report.user_properties if name == PROPERTY]  # type: ignore[arg-type]
            self.rows += [(title(report.nodeid), measurement) for measurement in measured]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        rows = table(sorted(self.rows, key=lambda row: row[0]))
        if self.rows:
            terminalreporter.section("attacks")
            terminalreporter.write(rows)
        if self.rows and self.write:
            before, _, rest = PAGE.read_text().partition(BEGIN)
            PAGE.write_text(before + BEGIN + rows + END + rest.partition(END)[2])


@pytest.fixture(autouse=True)
def measured(request: pytest.FixtureRequest) -> Iterable[None]:
    """What a test measures goes into its report."""
    measurements.clear()
    yield
    request.node.user_properties.extend((PROPERTY, asdict(measurement)) for measurement in measurements)
