"""What of a cache may go, and why: a pure function of what is known about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GB = 10**9
HOUR = 3600.0
DAY = 24 * HOUR
UNITS = (("day", DAY), ("hour", HOUR), ("minute", 60.0))

FileId = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Names:
    """The data of one file, which hard links may give several names."""

    size: int
    everywhere: int
    here: int


Files = Mapping[FileId, Names]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry, as far as it matters here."""

    key: str
    last_used: float
    files: Files = field(default_factory=dict)
    broken: str | None = None
    """What is wrong with it; a broken entry serves nobody."""
    held: str | None = None
    """Who uses it, or why that cannot be known: it stays whatever the limits say."""


@dataclass(frozen=True, slots=True)
class Limits:
    ttl: float
    """Seconds after the last use."""
    most: float
    """Bytes; infinity for any number."""
    young: float
    """Seconds after the last use in which the size is no reason: a pod may be about to start with it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    candidate: Candidate
    removed: bool
    why: str


class Tally:
    """Bytes on disk: data with several names counts once, and goes with the last of them."""

    def __init__(self, folders: Iterable[Files] = ()) -> None:
        self.bytes = 0
        self.names: Counter[FileId] = Counter()
        self.outside: dict[FileId, int] = {}
        """Names outside of the cache, which keep the data on the disk."""
        for files in folders:
            for file, names in files.items():
                self.bytes += 0 if self.names[file] else names.size
                self.outside[file] = self.outside.get(file, names.everywhere) - names.here
                self.names[file] += names.here

    def copy(self) -> Tally:
        made = Tally()
        made.bytes, made.names, made.outside = self.bytes, self.names.copy(), self.outside
        return made

    def remove(self, files: Files) -> int:
        """The bytes that the disk has back when these names are gone."""
        freed = 0
        for file, names in files.items():
            self.names[file] -= names.here
            if self.names[file] <= 0:
                self.bytes -= names.size
                freed += names.size if self.outside.get(file, 0) <= 0 else 0
        return freed


def verdicts(candidates: Iterable[Candidate], limits: Limits, now: float, tally: Tally) -> list[Verdict]:
    """One for each, the least recently used first. What is held stays; `tally` is of all that is in the cache."""
    left = tally.copy()
    made: dict[str, Verdict] = {}
    ordered = sorted(candidates, key=lambda one: (one.last_used, one.key))

    def settle(one: Candidate, removed: bool, why: str) -> None:
        made[one.key] = Verdict(one, removed, why)
        if removed:
            left.remove(one.files)

    for one in ordered:
        idle = now - one.last_used
        used = f"used {ago(idle)}"
        if one.held:
            settle(one, False, one.held)
        elif one.broken:
            settle(one, idle > HOUR, f"{one.broken}, changed {ago(idle)}")
        elif idle > limits.ttl:
            settle(one, True, f"{used}, TTL_DAYS={limits.ttl / DAY:g}")
    for one in ordered:
        if one.key in made:
            continue
        idle = now - one.last_used
        used = f"used {ago(idle)}"
        if left.bytes <= limits.most:
            settle(one, False, used)
        elif idle <= limits.young:
            settle(one, False, f"{used}, too recently to make room")
        else:
            settle(one, True, f"{used}, least recently of a cache above MAX_SIZE_GB={limits.most / GB:g}")
    return [made[one.key] for one in ordered]


def ago(seconds: float) -> str:
    for unit, length in UNITS:
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
