"""Results of a run: rows with ratios, whether floor and goal are met, and failures."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from loadtest.peers.cases import Bar, BenchmarkCase
from loadtest.peers.progress import Progress


@dataclass(slots=True)
class ComparisonRow:
    """One comparison, with the values and ratios of each round; `reason` says why there are none."""

    case: str
    title: str
    ours: str
    peer: str | None
    unit: str
    higher_is_better: bool
    floor: float | None
    goal: float | None
    ours_values: list[float] = field(default_factory=list)
    peer_values: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    # Ratios of requests per second of the server's processor time.
    cpu_ratios: list[float] = field(default_factory=list)
    # The ratio in the table; by default the median of the rounds' ratios.
    ratio: float | None = None
    reason: str = ""
    note: str = ""

    @classmethod
    def of(cls, case: BenchmarkCase, bar: Bar, unit: str, **values: Any) -> ComparisonRow:
        row = cls(
            case=case.name,
            title=case.title,
            ours=bar.ours,
            peer=bar.peer,
            unit=unit,
            higher_is_better=case.higher_is_better,
            floor=bar.floor,
            goal=bar.goal,
            **values,
        )
        if row.ratio is None and row.ratios:
            row.ratio = statistics.median(row.ratios)
        return row

    @classmethod
    def read(cls, row: dict[str, Any]) -> ComparisonRow:
        return cls(**{name: value for name, value in row.items() if name != "verdict"})

    def meets(self, mark: float | None) -> bool:
        if self.ratio is None or mark is None:
            return False
        return self.ratio >= mark if self.higher_is_better else self.ratio <= mark

    @property
    def verdict(self) -> str:
        """`goal`, `floor`, `neither` or `not measured`; empty without a bar."""
        if self.ratio is None:
            return "not measured"
        if self.floor is None and self.goal is None:
            return ""
        if self.meets(self.goal):
            return "goal"
        return "floor" if self.meets(self.floor) else "neither"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict}


class CaseResult:
    """One case while it is measured: its servers, raw rounds and rows."""

    def __init__(self, case: BenchmarkCase, progress: Progress) -> None:
        self.case = case
        self.progress = progress
        self.rows: list[ComparisonRow] = []
        self.seen: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.left_out: dict[str, str] = {}

    @property
    def present(self) -> list[str]:
        return [who for who in self.case.contenders if who not in self.left_out]

    def leave_out(self, who: str, reason: str) -> None:
        self.left_out[who] = reason
        self.progress.say(f"{who} is left out: {reason}")

    def fail(self, who: str, text: str) -> None:
        self.left_out[who] = text.splitlines()[0]
        self.failures.append(f"{self.case.name}: {who}: {text}")
        self.progress.say(f"{who} FAILED: {text}")

    def see(self, number: int, who: str, **values: Any) -> None:
        self.seen.append({"case": self.case.name, "round": number, "server": who, **values})

    def row(self, bar: Bar, unit: str, values: dict[str, list[float]]) -> ComparisonRow:
        """Adds the row of a bar, with the ratio of each round, or the reason why there are none."""
        concerned = [who for who in (bar.ours, bar.peer) if who in self.left_out]
        reason = "; ".join(f"{who}: {self.left_out[who]}" for who in concerned)
        ours, peer = values[bar.ours], values[bar.peer] if bar.peer else []
        ratios: list[float] = []
        # A server that failed half way has fewer rounds than the others.
        if not reason:
            ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)] if bar.peer else ours
        row = ComparisonRow.of(self.case, bar, unit, ours_values=ours, peer_values=peer, ratios=ratios, reason=reason)
        self.rows.append(row)
        return row

    def skip(self, reason: str) -> None:
        self.rows = [ComparisonRow.of(self.case, bar, "", reason=reason) for bar in self.case.bars]
