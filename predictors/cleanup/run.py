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
    verdicts,
)
from predictors.cleanup.settings import CleanupSettings
from predictors.cleanup.sweep import Stays, Sweep, files_of
from predictors.storage.cache import ENTRY, Entry, Partial, keys, partials, read_entry, trash
from predictors.storage.provenance import LAYOUT

T = TypeVar("T", Entry, Partial)


class CleanupRun:
    """Looks at all that is in the cache when it is made: the cluster is asked only after that, see `Holders`."""

    def __init__(self, settings: CleanupSettings, report: Report) -> None:
        self.settings, self.report = settings, report
        self.limits = CacheLimits(
            ttl=settings.ttl_days * DAY,
            most=settings.max_size_gb * GB or math.inf,
            young=settings.min_age_minutes * 60,
        )
        root = settings.root
        self.sweep = Sweep(root, settings.dry_run)
        self.now = time.time()
        self.entries = {key: one for key in keys(root) if (one := self.look_at(key))}
        self.downloads, self.trash = partials(root), trash(root)
        everything: tuple[Entry | Partial, ...] = (*self.entries.values(), *self.downloads, *self.trash)
        self.files = {one.path: files_of(one.path) for one in everything}
        self.tally = DiskUsage(self.files.values())
        self.held = {key: why for key, one in self.entries.items() if (why := unclear(one))}

    def look_at(self, key: str) -> Entry | None:
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
            self.say_kept(self.verdicts())
        self.sweep.forget_locks()
        self.report.left = self.tally.bytes
        if (above := self.tally.bytes - self.limits.most) > 0:
            self.report.note(
                f"the cache is still {amount(above)} above MAX_SIZE_GB={self.settings.max_size_gb:g}: what is left is "
                f"in use, or was used within the last {self.settings.min_age_minutes:g} minutes"
            )

    def needs_cluster(self) -> bool:
        used = any(one.users for one in self.entries.values())
        return used or bool(self.downloads or self.trash) or any(one.removed for one in self.verdicts())

    def clean_with(self, holders: Holders) -> None:
        self.held |= {key: why for key, one in self.entries.items() if (why := holders.of(one))}
        for one in self.trash:
            self.attempt("leftover", one, "an earlier removal was cut short", self.sweep.empty_trash)
        for one in self.downloads:
            self.clean_download(one)
        kept = self.clean_entries()
        self.say_kept(kept)
        for verdict in kept:
            self.forget_users(self.entries[verdict.candidate.key], holders)

    def clean_download(self, one: Partial) -> None:
        """The age is for file systems without locks, where nobody can tell that it goes on."""
        idle = self.now - one.newest
        if idle <= HOUR:
            self.say(KEPT, "download", one, f"may be going on, last written {ago(idle)}")
        elif why := self.attempt("download", one, f"abandoned, last written {ago(idle)}", self.sweep.remove_download):
            self.say(KEPT, "download", one, why)

    def clean_entries(self) -> list[RemovalDecision]:
        """What stays after all takes room that others have to make: until it is so, it is decided anew."""
        while True:
            made = self.verdicts()
            stays = False
            for verdict in made:
                if verdict.removed:
                    key = verdict.candidate.key
                    why = self.attempt("entry", self.entries[key], verdict.why, self.sweep.remove)
                    if why is None:
                        del self.entries[key]
                    else:
                        self.held[key], stays = why, True
            if not stays:
                return [verdict for verdict in made if not verdict.removed]

    def verdicts(self) -> list[RemovalDecision]:
        candidates = [
            CachedModel(key, one.last_used, self.files[one.path], flaw(one), self.held.get(key))
            for key, one in self.entries.items()
        ]
        return verdicts(candidates, self.limits, self.now, self.tally)

    def attempt(self, kind: Kind, one: T, why: str, remove: Callable[[T], None]) -> str | None:
        """Why it stays, if it does."""
        try:
            remove(one)
        except Stays as error:
            return str(error)
        except FileNotFoundError:
            return "removed by another meanwhile"
        except OSError as error:
            self.say(FAILED, kind, one, f"{why}, but it cannot be removed: {error.strerror}")
            return f"cannot be removed: {error.strerror}"
        self.report.freed += self.tally.remove(self.files[one.path])
        self.say(REMOVED, kind, one, why)
        return None

    def forget_users(self, one: Entry, holders: Holders) -> None:
        try:
            self.sweep.forget_users(one, holders.gone(one))
        except Stays:
            pass  # next time
        except OSError as error:
            self.report.note(f"the list of users of {one.key} cannot be changed: {error.strerror}")

    def say_kept(self, kept: list[RemovalDecision]) -> None:
        failed = {line.key for line in self.report.lines if line.action == FAILED and line.kind == "entry"}
        for verdict in kept:
            if verdict.candidate.key not in failed:
                self.say(KEPT, "entry", self.entries[verdict.candidate.key], verdict.why)

    def say(self, action: str, kind: Kind, one: Entry | Partial, why: str) -> None:
        uri = one.provenance.resolved_uri if isinstance(one, Entry) and one.provenance else None
        self.report.add(Line(action, kind, one.key, uri, one.bytes, why))


def flaw(one: Entry) -> str | None:
    return None if one.provenance else f"broken: no complete model with an {ENTRY} that can be read"


def unclear(one: Entry) -> str | None:
    """Not broken, but not ours to judge either."""
    if one.provenance:
        return None
    try:
        layout = json.loads((one.path / ENTRY).read_text(encoding="utf-8"))["layout"]
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{ENTRY} cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    newer = isinstance(layout, int) and layout > LAYOUT
    return f"has layout {layout}, which this version does not know" if newer else None
