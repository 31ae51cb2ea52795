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
class CachedModel:
    """An entry, as far as it matters here."""

    key: str
    last_used: float
    files: Files = field(default_factory=dict)
    broken: str | None = None
    """What is wrong with it; a broken entry serves nobody."""
    held: str | None = None
    """Who uses it, or why that cannot be known: it stays whatever the limits say."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    ttl: float
    """Seconds after the last use."""
    most: float
    """Bytes; infinity for any number."""
    young: float
    """Seconds after the last use in which the size is no reason: a pod may be about to start with it."""


@dataclass(frozen=True, slots=True)
class RemovalDecision:
    candidate: CachedModel
    removed: bool
    why: str


class DiskUsage:
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

    def copy(self) -> DiskUsage:
        made = DiskUsage()
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


def verdicts(
    candidates: Iterable[CachedModel], limits: CacheLimits, now: float, tally: DiskUsage
) -> list[RemovalDecision]:
    """One for each, the least recently used first; `tally` is of all that is in the cache."""
    ordered = sorted(candidates, key=lambda one: (one.last_used, one.key))
    left = tally.copy()
    made = {one.key: verdict for one in ordered if (verdict := whatever_the_size(one, limits, now))}
    for verdict in made.values():
        if verdict.removed:
            left.remove(verdict.candidate.files)
    for one in ordered:
        if one.key not in made:
            made[one.key] = verdict = for_the_size(one, limits, now, left.bytes)
            if verdict.removed:
                left.remove(one.files)
    return [made[one.key] for one in ordered]


def whatever_the_size(one: CachedModel, limits: CacheLimits, now: float) -> RemovalDecision | None:
    idle = now - one.last_used
    if one.held:
        return RemovalDecision(one, False, one.held)
    if one.broken:
        return RemovalDecision(one, idle > HOUR, f"{one.broken}, changed {ago(idle)}")
    if idle > limits.ttl:
        return RemovalDecision(one, True, f"used {ago(idle)}, TTL_DAYS={limits.ttl / DAY:g}")
    return None


def for_the_size(one: CachedModel, limits: CacheLimits, now: float, left: int) -> RemovalDecision:
    idle = now - one.last_used
    if left <= limits.most:
        return RemovalDecision(one, False, f"used {ago(idle)}")
    if idle <= limits.young:
        return RemovalDecision(one, False, f"used {ago(idle)}, too recently to make room")
    above = f"MAX_SIZE_GB={limits.most / GB:g}"
    return RemovalDecision(one, True, f"used {ago(idle)}, least recently of a cache above {above}")


def ago(seconds: float) -> str:
    for unit, length in UNITS:
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
