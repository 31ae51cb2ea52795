"""One clean-up, from the first look at the cache to the last file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import TypeVar

from predictors.cleanup.holders import Holders
from predictors.cleanup.pods import Cluster
from predictors.cleanup.report import FAILED, KEPT, REMOVED, Kind, Line, Report, amount
from predictors.cleanup.retention import (
    DAY,
    GB,
    HOUR,
    CachedModel,
    CacheLimits,
    DiskUsage,
    RemovalDecision,
    ago,
    decide,
)
from predictors.cleanup.settings import CleanupSettings
from predictors.cleanup.sweep import EntryKept, Sweep, file_links
from predictors.storage.cache import ENTRY, Entry, Partial, keys, partials, read_entry, trash
from predictors.storage.provenance import LAYOUT

T = TypeVar("T", Entry, Partial)


class CleanupRun:
    """Reads the cache when it is created, before the cluster is asked; see `Holders`."""

    def __init__(self, settings: CleanupSettings, report: Report) -> None:
        self.settings, self.report = settings, report
        self.limits = CacheLimits(
            ttl=settings.ttl_days * DAY,
            max_bytes=settings.max_size_gb * GB or math.inf,
            min_age=settings.min_age_minutes * 60,
        )
        root = settings.root
        self.sweep = Sweep(root, settings.dry_run)
        self.now = time.time()
        self.entries = {key: entry for key in keys(root) if (entry := self.read_entry(key))}
        self.downloads, self.trash = partials(root), trash(root)
        items: tuple[Entry | Partial, ...] = (*self.entries.values(), *self.downloads, *self.trash)
        self.files = {item.path: file_links(item.path) for item in items}
        self.usage = DiskUsage(self.files.values())
        self.held = {key: why for key, entry in self.entries.items() if (why := unreadable(entry))}

    def read_entry(self, key: str) -> Entry | None:
        try:
            return read_entry(self.settings.root, key)
        except OSError as error:
            self.report.add(Line(FAILED, "entry", key, None, 0, f"cannot be read: {error.strerror}"))
            return None

    def clean(self, cluster: Cluster) -> None:
        if not self.files:
            self.report.note(f"there is no model in the cache at {self.settings.root}")
        elif self.needs_cluster():
            self.clean_with(Holders(cluster, self.settings.namespace))
        else:
            self.report_kept(self.decisions())
        self.sweep.remove_locks()
        self.report.left = self.usage.bytes
        if (excess := self.usage.bytes - self.limits.max_bytes) > 0:
            self.report.note(
                f"the cache is still {amount(excess)} above MAX_SIZE_GB={self.settings.max_size_gb:g}: the remaining "
                f"entries are in use, or were used within the last {self.settings.min_age_minutes:g} minutes"
            )

    def needs_cluster(self) -> bool:
        used = any(entry.users for entry in self.entries.values())
        return used or bool(self.downloads or self.trash) or any(decision.removed for decision in self.decisions())

    def clean_with(self, holders: Holders) -> None:
        self.held |= {key: why for key, entry in self.entries.items() if (why := holders.reason_to_keep(entry))}
        for leftover in self.trash:
            self.attempt("leftover", leftover, "an earlier removal was interrupted", self.sweep.empty_trash)
        for download in self.downloads:
            self.clean_download(download)
        kept = self.clean_entries()
        self.report_kept(kept)
        for decision in kept:
            self.remove_users(self.entries[decision.model.key], holders)

    def clean_download(self, download: Partial) -> None:
        """Checks the age as well as the lock, which some file systems do not have."""
        idle = self.now - download.newest
        reason = f"abandoned, last written {ago(idle)}"
        if idle <= HOUR:
            self.add_line(KEPT, "download", download, f"may be in progress, last written {ago(idle)}")
        elif why := self.attempt("download", download, reason, self.sweep.remove_download):
            self.add_line(KEPT, "download", download, why)

    def clean_entries(self) -> list[RemovalDecision]:
        """Removes entries and returns the decisions about the others. An entry that cannot be removed takes space that
        others must free: then all decisions are made again."""
        while True:
            decisions = self.decisions()
            has_kept = False
            for decision in decisions:
                if decision.removed:
                    key = decision.model.key
                    why = self.attempt("entry", self.entries[key], decision.why, self.sweep.remove)
                    if why is None:
                        del self.entries[key]
                    else:
                        self.held[key], has_kept = why, True
            if not has_kept:
                return [decision for decision in decisions if not decision.removed]

    def decisions(self) -> list[RemovalDecision]:
        models = [
            CachedModel(key, entry.last_used, self.files[entry.path], flaw(entry), self.held.get(key))
            for key, entry in self.entries.items()
        ]
        return decide(models, self.limits, self.now, self.usage)

    def attempt(self, kind: Kind, item: T, why: str, remove: Callable[[T], None]) -> str | None:
        """Removes it; returns why it stays, if it does."""
        try:
            remove(item)
        except EntryKept as error:
            return str(error)
        except FileNotFoundError:
            return "removed by another process in the meantime"
        except OSError as error:
            self.add_line(FAILED, kind, item, f"{why}, but it cannot be removed: {error.strerror}")
            return f"cannot be removed: {error.strerror}"
        self.report.freed += self.usage.remove(self.files[item.path])
        self.add_line(REMOVED, kind, item, why)
        return None

    def remove_users(self, item: Entry, holders: Holders) -> None:
        try:
            self.sweep.remove_users(item, holders.gone(item))
        except EntryKept:
            pass  # next time
        except OSError as error:
            self.report.note(f"the users of {item.key} cannot be updated: {error.strerror}")

    def report_kept(self, kept: list[RemovalDecision]) -> None:
        failed = {line.key for line in self.report.lines if line.action == FAILED and line.kind == "entry"}
        for decision in kept:
            if decision.model.key not in failed:
                self.add_line(KEPT, "entry", self.entries[decision.model.key], decision.why)

    def add_line(self, action: str, kind: Kind, item: Entry | Partial, why: str) -> None:
        uri = item.provenance.resolved_uri if isinstance(item, Entry) and item.provenance else None
        self.report.add(Line(action, kind, item.key, uri, item.bytes, why))


def flaw(item: Entry) -> str | None:
    return None if item.provenance else f"broken: no complete model with a readable {ENTRY}"


def unreadable(item: Entry) -> str | None:
    """Why this version cannot tell whether the entry is broken, if so."""
    if item.provenance:
        return None
    try:
        layout = json.loads((item.path / ENTRY).read_text(encoding="utf-8"))["layout"]
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{ENTRY} cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    newer = isinstance(layout, int) and layout > LAYOUT
    return f"has layout {layout}, which this version does not support" if newer else None
