"""The storage initializer: resolves a model's URI and puts the model into a folder.

A URI that can move is resolved once. Through a cache on a shared volume each version is downloaded once, however many
pods ask for it at the same time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from predictors.storage import cache
from predictors.storage.checksums import checksums, differences
from predictors.storage.failures import (
    VOLUME_FULL,
    Misconfigured,
    ModelNotFound,
    SourceError,
    StorageError,
    VolumeError,
    as_storage_error,
    classified,
)
from predictors.storage.fetching import fetch, is_fetched_by_mlflow
from predictors.storage.interruption import removed_unless_finished
from predictors.storage.output_folder import OutputError, OutputFolder, remove
from predictors.storage.provenance import Provenance, provenance_of
from predictors.storage.redaction import without_secrets
from predictors.storage.registry import configure_mlflow, pinned_uri
from predictors.storage.retries import retried
from predictors.storage.settings import StorageSettings
from predictors.storage.tracking import require_tracking
from predictors.uris import ModelURI, scheme_of

log = logging.getLogger("predictors.storage")
T = TypeVar("T")

CACHE_ATTEMPTS = 5  # other pods may remove or damage an entry between its download and its use


@contextlib.contextmanager
def naming_full_volume(folder: Path) -> Iterator[None]:
    """Clients report that no space is left, but not whether on the volume of the cache or of the output folder."""
    try:
        yield
    except Exception as error:
        if isinstance(as_storage_error(error, ""), VolumeError) and re.search(VOLUME_FULL, str(error), re.IGNORECASE):
            raise VolumeError(f"the volume of {folder} is full") from error
        raise


class Initializer:
    """Puts one model into one folder."""

    def __init__(self, settings: StorageSettings) -> None:
        self.settings = settings
        self.uri = settings.model_uri or ""
        self.shown_uri = without_secrets(self.uri)
        self.full = settings.verify == "full"
        self.output = OutputFolder(Path(settings.output_path).absolute())
        self.started = time.monotonic()

    def run(self) -> None:
        resolved, version = self.resolve()
        with self.output.locked():
            existing = self.output.existing(resolved, self.full) if ModelURI.parse(resolved).is_immutable else None
            if existing:
                log.info("%s already holds %s", self.output.path, existing.resolved_uri)
                return
            root = self.cache_root(resolved)
            if root is None:
                self.download_to_output(resolved, version)
                return
            try:
                self.fill_from_cache(root, resolved, version)
            except OutputError:
                raise
            except (VolumeError, OSError) as error:
                failure = as_storage_error(error, self.uri)
                if self.settings.storage_strategy == "pvc":
                    raise failure from error
                log.warning("continuing without the cache in %s: %s", root, failure)
                self.download_to_output(resolved, version)

    def resolve(self) -> tuple[str, str | None]:
        """The URI that cannot move, and the registry's version."""
        require_tracking(self.uri, self.settings.tracking_uri)
        if is_fetched_by_mlflow(self.uri):
            configure_mlflow(self.settings)
        if scheme_of(self.uri) != "models":
            return self.uri, None
        resolved, version = self.retry(lambda: pinned_uri(self.uri), f"resolving {self.shown_uri}")
        if resolved != self.uri:
            log.info("%s resolves to %s", self.shown_uri, resolved)
        return resolved, version

    def cache_root(self, resolved: str) -> Path | None:
        """The cache's folder; None if the model is not to be cached."""
        strategy = self.settings.storage_strategy
        root = Path(self.settings.cache_path).absolute()  # the output folder may get links to it
        if strategy == "emptydir":
            return None
        if strategy == "auto" and not (root.is_dir() and os.access(root, os.W_OK | os.X_OK)):
            log.info("no writable cache at %s: continuing without a cache", root)
            return None
        if not (ModelURI.parse(resolved).is_immutable or self.settings.cache_unversioned):
            log.info("%s has no version: it is not cached", without_secrets(resolved))
            return None
        if not root.is_dir():
            raise VolumeError(f"CACHE_PATH: there is no folder {root}; is the volume mounted?")
        return root

    def download_to_output(self, resolved: str, version: str | None) -> None:
        with removed_unless_finished(self.output.stage):
            folder = self.output.create_stage()
            provenance = self.download(resolved, version, folder)
            self.output.place_download(folder, provenance)
        self.log_result(provenance, "downloaded")

    def fill_from_cache(self, root: Path, resolved: str, version: str | None) -> None:
        key = cache.key_of(resolved, self.tracking_server(resolved))
        fresh = False
        for _ in range(CACHE_ATTEMPTS):
            with self.lock(root, key, shared=True):
                entry = cache.read_entry(root, key)
                defects = self.defects(entry, full=self.full and not fresh)
                if entry and entry.provenance and not defects:
                    cache.mark_used(entry.path, cache.this_pod())
                    provenance = replace(entry.provenance, uri=self.shown_uri)
                    with removed_unless_finished(self.output.stage):
                        self.output.place_cached(entry.model, provenance, self.settings.cache_link)
                    self.log_result(provenance, "downloaded" if fresh else "from the cache")
                    return
            with self.lock(root, key) as has_lock:
                current = cache.read_entry(root, key)
                # Another pod may have replaced the entry before this one got the exclusive lock.
                damaged = current and entry and defects and current.provenance == entry.provenance
                if damaged:
                    log.warning("the cached copy is damaged and is downloaded again: %s", "; ".join(defects[:3]))
                if damaged or current is None:
                    self.download_entry(root, key, resolved, version, has_lock, current)
                    fresh = True
        raise VolumeError(f"{root / key} was removed or changed {CACHE_ATTEMPTS} times by other processes")

    def defects(self, entry: cache.Entry | None, full: bool) -> list[str]:
        if entry is None:
            return []
        if entry.provenance is None:
            return [f"{entry.key}/{cache.ENTRY} cannot be read"]
        return differences(entry.model, entry.provenance.files, full=full)

    @contextlib.contextmanager
    def lock(self, root: Path, key: str, *, shared: bool = False) -> Iterator[bool]:
        """Holds the entry's lock; logs if it has to wait. Yields False if the file system has no locks."""
        with contextlib.ExitStack() as stack:
            try:
                has_lock = stack.enter_context(cache.locked(root, key, shared=shared, wait=False))
            except cache.Busy:
                log.info("waiting for another process that holds the cache entry %s", key)
                has_lock = stack.enter_context(cache.locked(root, key, shared=shared))
            if not (has_lock or shared):
                log.warning("%s does not support locks: another pod may download the same model now", root)
            yield has_lock

    def download_entry(
        self, root: Path, key: str, resolved: str, version: str | None, has_lock: bool, damaged: cache.Entry | None
    ) -> None:
        """A damaged entry stays until its replacement is complete, and keeps its users: pods may be linked to it."""
        for partial in cache.partials(root) if has_lock else ():
            if partial.key == key:
                log.info("removing %.1f MB left by an interrupted download", partial.bytes / 1e6)
                shutil.rmtree(partial.path, ignore_errors=True)
        with cache.partial(root, key) as folder, removed_unless_finished(folder):
            (folder / cache.MODEL).mkdir()
            provenance = self.download(resolved, version, folder / cache.MODEL)
            provenance.write(folder / cache.ENTRY)
            for user in (*(damaged.users if damaged else ()), cache.this_pod()):
                cache.mark_used(folder, user)
            if damaged:
                cache.remove(damaged)
            cache.publish(folder, root, key)

    def download(self, resolved: str, version: str | None, folder: Path) -> Provenance:
        def attempt() -> None:
            for path in folder.parent.iterdir():
                remove(path)  # of the attempt before
            folder.mkdir()
            with naming_full_volume(folder):
                fetch(resolved, folder, self.settings.max_unpacked_size)

        log.info("downloading %s", without_secrets(resolved))
        self.retry(attempt, f"downloading {without_secrets(resolved)}")
        return provenance_of(folder, self.uri, resolved, version, checksums(folder))

    def retry(self, action: Callable[[], T], what: str) -> T:
        """Runs the action, again after failures that may be temporary; every failure becomes a StorageError."""

        def attempt() -> T:
            try:
                return classified(action, self.uri)
            except SourceError as error:
                kind = Misconfigured if "expected" in str(error) else ModelNotFound
                raise kind(str(error)) from error

        try:
            return retried(attempt, self.settings, log.warning, what)
        except SourceError as error:
            cause = error.__cause__
            kind = type(cause) if isinstance(cause, StorageError) else StorageError
            raise kind(f"{what} failed: {cause}") from cause

    def tracking_server(self, resolved: str) -> str:
        """The tracking server, unless the URI itself names its host."""
        if "://" in resolved:
            return ""
        registry = os.environ.get("MLFLOW_REGISTRY_URI") if resolved.startswith("models:/") else None
        return without_secrets(registry or self.settings.tracking_uri or "").rstrip("/")

    def log_result(self, provenance: Provenance, origin: str) -> None:
        seconds = time.monotonic() - self.started
        size, files = provenance.bytes, len(provenance.files)
        log.info(
            "%s is in %s: %d files, %.1f MB, %.1f s, %.1f MB/s, %s, %s",
            provenance.resolved_uri, self.output.path, files, size / 1e6, seconds, size / 1e6 / max(seconds, 1e-3),
            origin, provenance.digest,
            extra={"files": files, "bytes": size, "seconds": round(seconds, 3), "from": origin,
                   "digest": provenance.digest},
        )  # fmt: skip
