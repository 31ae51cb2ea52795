"""The report of a clean-up: a line for each decision and a summary, or everything as one JSON object."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Literal

REMOVED, KEPT, FAILED = "removed", "kept", "failed"
Kind = Literal["entry", "download", "leftover"]
UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


@dataclass(frozen=True, slots=True)
class Line:
    action: str
    kind: Kind
    key: str
    uri: str | None
    bytes: int
    why: str


@dataclass
class Report:
    dry_run: bool = False
    as_json: bool = False
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    freed: int = 0
    left: int = 0
    error: str | None = None

    def add(self, line: Line) -> None:
        self.lines.append(line)
        if not self.as_json:
            action = "would remove" if self.dry_run and line.action == REMOVED else line.action
            prefix = f"{line.uri}, " if line.uri else "" if line.kind == "entry" else f"{line.kind}, "
            print(f"{action} {line.key} ({prefix}{amount(line.bytes)}): {line.why}", flush=True)

    def note(self, text: str) -> None:
        """A remark for the operator, on stderr."""
        self.notes.append(text)
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)

    def fail(self, text: str) -> None:
        self.error = text
        print(text, file=sys.stderr, flush=True)

    @property
    def has_failed(self) -> bool:
        return self.count(FAILED) > 0

    def count(self, action: str) -> int:
        return sum(line.action == action for line in self.lines)

    def finish(self) -> None:
        if self.as_json:
            content = {**asdict(self), **{action: self.count(action) for action in (REMOVED, KEPT, FAILED)}}
            del content["as_json"]
            print(json.dumps(content, indent=1))
        if self.as_json or self.error:
            return
        removed, kept, failed = (self.count(action) for action in (REMOVED, KEPT, FAILED))
        freed, left = amount(self.freed), amount(self.left)
        failures = f", {failed} failed" if failed else ""
        if self.dry_run:
            print(f"would remove {removed}, keep {kept}{failures}; would free {freed}, {left} left")
        else:
            print(f"removed {removed}, kept {kept}{failures}; {freed} freed, {left} left")


def amount(count: float) -> str:
    for unit, size in UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{int(count)} bytes"
