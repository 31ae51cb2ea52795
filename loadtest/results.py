"""A test and its results, as stored in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest import slo
from loadtest.histogram import SHARES
from loadtest.outcome import LoadResult, outcome_from
from loadtest.profiles import STEPS
from loadtest.slo import Check
from loadtest.target import UnusableTarget

KIND = "mlflow-kserve load test"
VERSION = 1


@dataclass(slots=True)
class Result:
    when: str
    url: str
    model: str
    model_version: str
    flavor: str
    protocol: str
    profile: str
    rps: float
    duration: float
    rows: int
    seed: int
    varied: str
    slo: str
    outcome: LoadResult
    server: dict[str, Any] = field(default_factory=dict)
    """What /metrics counted; `missing` says why there is none."""
    stopped: float | None = None
    """The second at which the test was stopped, which leaves it without a verdict."""

    @property
    def checks(self) -> list[Check]:
        return self.outcome.checks(slo.parse(self.slo))

    @property
    def held(self) -> float | None:
        """The highest rate of a test in steps whose own requests met the SLO."""
        if self.profile != "step":
            return None
        objectives, size, best = slo.parse(self.slo), self.duration / STEPS, 0.0
        for step in range(STEPS):
            part = self.outcome.between(round(step * size), round((step + 1) * size))
            if not all(one.kept for one in part.checks(objectives)):
                break
            best = self.rps * (step + 1) / STEPS
        return best

    @property
    def kept(self) -> bool:
        return self.stopped is None and all(one.kept for one in self.checks) and self.held in (None, self.rps)

    @property
    def verdict(self) -> str:
        if self.stopped is None:
            return f"the SLO was {'kept' if self.kept else 'missed'}"
        so_far = "kept" if all(one.kept for one in self.checks) else "missed"
        return f"stopped after {self.stopped:.0f} s of {self.duration:g}; until then the SLO was {so_far}"

    def plain(self) -> dict[str, Any]:
        content = {key: value for key, value in asdict(self).items() if key != "outcome"}
        outcome = self.outcome
        latencies = outcome.latencies
        summary = {
            "kept": self.kept,
            "held_rps": self.held,
            "checks": [
                {"name": one.objective.name, "limit": one.objective.limit, "found": one.measured, "kept": one.kept}
                for one in self.checks
            ],
            "offered": outcome.offered,
            "answered": latencies.count,
            "errors": dict(outcome.errors),
            "latency_seconds": {name: latencies.percentile(share) for name, share in SHARES.items()}
            if latencies.count
            else {},
            "generator_late_p99_seconds": outcome.late,
        }
        return {"kind": KIND, "version": VERSION, **content, "summary": summary, "outcome": outcome.plain()}

    def line(self) -> str:
        """The file's content in one line, so that a log can hold it."""
        return json.dumps(self.plain(), separators=(",", ":"))


def read(file: Path) -> Result:
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise UnusableTarget(f"{file}: {error.strerror}") from None
    except ValueError:
        raise UnusableTarget(f"{file} is not JSON: expected the result of a load test") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UnusableTarget(f"{file} is not the result of a load test")
    if content.get("version") != VERSION:
        raise UnusableTarget(f"{file} has version {content.get('version')!r}: this program reads version {VERSION}")
    try:
        content.setdefault("stopped", None)
        fields = {name: content[name] for name in Result.__dataclass_fields__ if name != "outcome"}
        return Result(**fields, outcome=outcome_from(content["outcome"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableTarget(f"{file} is not complete: {type(error).__name__} {error}") from None
