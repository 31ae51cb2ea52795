"""Decides which entries of a cache are removed, and why. Pure."""

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
class FileLinks:
    """The size of a file and its hard links: all of them, and those in model folder."""

    size: int
    total: int
    here: int


Files = Mapping[FileId, FileLinks]


@dataclass(frozen=True, slots=True)
class CachedModel:
    """An entry with all that decides about its removal."""

    key: str
    last_used: float
    files: Files = field(default_factory=dict)
    broken: str | None = None
    """Why it cannot be used, if it is broken."""
    held: str | None = None
    """Why it must stay whatever the limits are: a pod uses it, or its users are unknown."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    ttl: float
    """Seconds after the last use."""
    max_bytes: float
    """Infinity for no limit."""
    min_age: float
    """Seconds after the last use before the size is a reason: a pod may be about to start with the entry."""


@dataclass(frozen=True, slots=True)
class RemovalDecision:
    model: CachedModel
    removed: bool
    why: str


class DiskUsage:
    """Bytes on disk: a file with several links counts once, and is freed with the last of them."""

    def __init__(self, folders: Iterable[Files] = ()) -> None:
        self.bytes = 0
        self.links: Counter[FileId] = Counter()
        self.outside: dict[FileId, int] = {}
        """Links outside of the cache, which keep a file on disk."""
        for files in folders:
            for file, links in files.items():
                self.bytes += 0 if self.links[file] else links.size
                self.outside[file] = self.outside.get(file, links.total) - links.here
                self.links[file] += links.here

    def copy(self) -> DiskUsage:
        copy = DiskUsage()
        copy.bytes, copy.links, copy.outside = self.bytes, self.links.copy(), self.outside
        return copy

    def remove(self, files: Files) -> int:
        """Removes these links; returns the bytes that this frees on disk."""
        freed = 0
        for file, links in files.items():
            self.links[file] -= links.here
            if self.links[file] <= 0:
                self.bytes -= links.size
                freed += links.size if self.outside.get(file, 0) <= 0 else 0
        return freed


def decide(models: Iterable[CachedModel], limits: CacheLimits, now: float, usage: DiskUsage) -> list[RemovalDecision]:
    """A decision for each model, the least recently used first; `usage` is that of the whole cache."""
    ordered = sorted(models, key=lambda model: (model.last_used, model.key))
    remaining = usage.copy()
    decisions = {model.key: decision for model in ordered if (decision := decide_by_use(model, limits, now))}
    for decision in decisions.values():
        if decision.removed:
            remaining.remove(decision.model.files)
    for model in ordered:
        if model.key not in decisions:
            decisions[model.key] = decision = decide_by_size(model, limits, now, remaining.bytes)
            if decision.removed:
                remaining.remove(model.files)
    return [decisions[model.key] for model in ordered]


def decide_by_use(model: CachedModel, limits: CacheLimits, now: float) -> RemovalDecision | None:
    idle = now - model.last_used
    if model.held:
        return RemovalDecision(model, False, model.held)
    if model.broken:
        return RemovalDecision(model, idle > HOUR, f"{model.broken}, changed {ago(idle)}")
    if idle > limits.ttl:
        return RemovalDecision(model, True, f"used {ago(idle)}, TTL_DAYS={limits.ttl / DAY:g}")
    return None


def decide_by_size(model: CachedModel, limits: CacheLimits, now: float, size: int) -> RemovalDecision:
    idle = now - model.last_used
    if size <= limits.max_bytes:
        return RemovalDecision(model, False, f"used {ago(idle)}")
    if idle <= limits.min_age:
        return RemovalDecision(model, False, f"used {ago(idle)}, too recently to make room")
    limit = f"MAX_SIZE_GB={limits.max_bytes / GB:g}"
    return RemovalDecision(model, True, f"used {ago(idle)}, least recently used in a cache above {limit}")


def ago(seconds: float) -> str:
    for unit, length in UNITS:
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
