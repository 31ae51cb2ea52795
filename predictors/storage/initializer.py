"""`python -m predictors.storage URI FOLDER`: fetches a model into a folder, as KServe's storage initializer does.

A URI that can move is resolved once. Through a cache on a shared volume each version is downloaded once, however many
pods ask for it at the same time.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from predictors.storage import cache
from predictors.storage.checksums import checksums, differences
from predictors.storage.failures import (
    FULL,
    Misconfigured,
    ModelNotFound,
    SourceError,
    StorageError,
    VolumeError,
    explained,
)
from predictors.storage.fetching import by_mlflow, fetch
from predictors.storage.output import PLACING, OutputError, OutputFolder, remove
from predictors.storage.provenance import Provenance, provenance, without_secrets
from predictors.storage.registry import configure_mlflow, pin
from predictors.storage.retries import retried
from predictors.storage.settings import StorageSettings
from predictors.uris import ModelURI, scheme_of

log = logging.getLogger("predictors.storage")
T = TypeVar("T")

ATTEMPTS = 5  # at an entry of the cache that others remove or spoil at the same time
half_done: set[Path] = set()
"""Folders that a signal has to remove."""


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Ends at once: nothing waits for threads that are downloading, which go on filling the folder for a moment."""
    log.warning("stopped by %s", signal.Signals(number).name)
    for child in multiprocessing.active_children():
        child.terminate()
    for folder in list(half_done):
        for _ in range(20):
            throw_away(folder)
            if not folder.exists():
                break
    os._exit(128 + number)


def throw_away(folder: Path) -> None:
    """Unless it tells the next run what is being put in place."""
    if not (folder / PLACING).exists():
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def removed_when_stopped(folder: Path) -> Iterator[None]:
    half_done.add(folder)
    try:
        yield
    except BaseException:
        throw_away(folder)
        raise
    finally:
        half_done.discard(folder)


@contextlib.contextmanager
def named_when_full(folder: Path) -> Iterator[None]:
    """Clients say that there is no space left, but not on which volume: that of the cache, or of the folder."""
    try:
        yield
    except Exception as error:
        if isinstance(explained(error, ""), VolumeError) and re.search(FULL, str(error), re.IGNORECASE):
            raise VolumeError(f"the volume of {folder} is full") from error
        raise


class Initializer:
    """One model on its way into one folder."""

    def __init__(self, settings: StorageSettings) -> None:
        self.settings = settings
        self.uri = settings.model_uri or ""
        self.shown = without_secrets(self.uri)
        self.full = settings.verify == "full"
        self.output = OutputFolder(Path(settings.output_path).absolute())
        self.begun = time.monotonic()

    def run(self) -> None:
        resolved, version = self.resolved()
        with self.output.held():
            there = self.output.holds(resolved, self.full) if ModelURI.parse(resolved).is_immutable else None
            if there:
                log.info("%s holds %s already", self.output.path, there.resolved_uri)
                return
            root = self.cache_root(resolved)
            if root is None:
                self.straight(resolved, version)
                return
            try:
                self.through_cache(root, resolved, version)
            except OutputError:
                raise
            except (VolumeError, OSError) as error:
                failure = explained(error, self.uri)
                if self.settings.storage_strategy == "pvc":
                    raise failure from error
                log.warning("going without the cache in %s: %s", root, failure)
                self.straight(resolved, version)

    def resolved(self) -> tuple[str, str | None]:
        """What the URI names now."""
        scheme = scheme_of(self.uri)
        if scheme in ("models", "runs", "mlflow-artifacts") and "://" not in self.uri:
            given = self.settings.tracking_uri or os.environ.get("MLFLOW_REGISTRY_URI")
            if not given:
                raise Misconfigured(f"MLFLOW_TRACKING_URI is not set: which server knows {self.shown}?")
        if by_mlflow(self.uri):
            configure_mlflow(self.settings)
        if scheme != "models":
            return self.uri, None
        found = self.patiently(lambda: pin(self.uri), f"resolving {self.shown}")
        if found[0] != self.uri:
            log.info("%s is %s", self.shown, found[0])
        return found

    def cache_root(self, resolved: str) -> Path | None:
        """The cache, if the model goes through it."""
        strategy, root = self.settings.storage_strategy, Path(self.settings.cache_path).absolute()  # links lead there
        if strategy == "emptydir":
            return None
        if strategy == "auto" and not (root.is_dir() and os.access(root, os.W_OK | os.X_OK)):
            log.info("there is no cache that can be written at %s", root)
            return None
        if not (ModelURI.parse(resolved).is_immutable or self.settings.cache_unversioned):
            log.info("%s names no version, so that it is not kept in the cache", without_secrets(resolved))
            return None
        if not root.is_dir():
            raise VolumeError(f"CACHE_PATH: there is no folder {root}; is the volume mounted?")
        return root

    def straight(self, resolved: str, version: str | None) -> None:
        with removed_when_stopped(self.output.stage):
            folder = self.output.staged()
            known = self.downloaded(resolved, version, folder)
            self.output.move(folder, known)
        self.tell(known, "downloaded")

    def through_cache(self, root: Path, resolved: str, version: str | None) -> None:
        key = cache.key_of(resolved, self.server(resolved))
        fresh = False
        for _ in range(ATTEMPTS):
            with self.lock(root, key, shared=True):
                entry = cache.entry(root, key)
                wrong = self.wrong(entry, full=self.full and not fresh)
                if entry and entry.manifest and not wrong:
                    cache.mark_used(entry.path, cache.this_pod())
                    known = replace(entry.manifest, uri=self.shown)
                    with removed_when_stopped(self.output.stage):
                        self.output.take(entry.model, known, self.settings.cache_link)
                    self.tell(known, "downloaded" if fresh else "from the cache")
                    return
            with self.lock(root, key) as certain:
                now = cache.entry(root, key)
                spoilt = now and entry and wrong and now.manifest == entry.manifest
                if spoilt:
                    log.warning("the cache's copy is to be replaced: %s", "; ".join(wrong[:3]))
                if spoilt or now is None:
                    self.download_into(root, key, resolved, version, certain, now)
                    fresh = True
        raise VolumeError(f"{root / key} was removed or changed {ATTEMPTS} times by others")

    def wrong(self, entry: cache.Entry | None, full: bool) -> list[str]:
        if entry is None:
            return []
        if entry.manifest is None:
            return [f"{entry.key}/{cache.ENTRY} cannot be read"]
        return differences(entry.model, entry.manifest.files, full=full)

    @contextlib.contextmanager
    def lock(self, root: Path, key: str, *, shared: bool = False) -> Iterator[bool]:
        """Holds the entry; says so if that takes waiting."""
        with contextlib.ExitStack() as stack:
            try:
                certain = stack.enter_context(cache.locked(root, key, shared=shared, wait=False))
            except cache.Busy:
                log.info("another process has %s: waiting for it", key)
                certain = stack.enter_context(cache.locked(root, key, shared=shared))
            if not (certain or shared):
                log.warning("%s knows no locks: another pod may download the same at the same time", root)
            yield certain

    def download_into(
        self, root: Path, key: str, resolved: str, version: str | None, certain: bool, spoilt: cache.Entry | None
    ) -> None:
        """What is spoilt stays until the download is complete, and its users stay known: pods may be linked to it."""
        for left in cache.partials(root) if certain else ():
            if left.key == key:
                log.info("removing what a download that was killed has left: %.1f MB", left.bytes / 1e6)
                shutil.rmtree(left.path, ignore_errors=True)
        with cache.partial(root, key) as folder, removed_when_stopped(folder):
            (folder / cache.MODEL).mkdir()
            known = self.downloaded(resolved, version, folder / cache.MODEL)
            known.write(folder / cache.ENTRY)
            for user in (*(spoilt.users if spoilt else ()), cache.this_pod()):
                cache.mark_used(folder, user)
            if spoilt:
                cache.remove(spoilt)
            cache.publish(folder, root, key)

    def downloaded(self, resolved: str, version: str | None, folder: Path) -> Provenance:
        def attempt() -> None:
            for left in folder.parent.iterdir():
                remove(left)  # of the attempt before
            folder.mkdir()
            with named_when_full(folder):
                fetch(resolved, folder, self.settings.max_unpacked_size)

        log.info("downloading %s", without_secrets(resolved))
        self.patiently(attempt, f"downloading {without_secrets(resolved)}")
        return provenance(folder, self.uri, resolved, version, checksums(folder))

    def patiently(self, action: Callable[[], T], what: str) -> T:
        """What may pass by itself is tried again."""

        def explaining() -> T:
            try:
                return action()
            except SourceError as error:
                kind = Misconfigured if "expected" in str(error) else ModelNotFound
                raise kind(str(error)) from error
            except Exception as error:
                raise explained(error, self.uri) from error

        try:
            return retried(explaining, self.settings, log.warning, what)
        except SourceError as error:
            cause = error.__cause__
            kind = type(cause) if isinstance(cause, StorageError) else StorageError
            raise kind(f"{what} failed: {cause}") from cause

    def server(self, resolved: str) -> str:
        """The tracking server, where the URI itself does not name its host."""
        if "://" in resolved:
            return ""
        named = os.environ.get("MLFLOW_REGISTRY_URI") if resolved.startswith("models:/") else None
        return without_secrets(named or self.settings.tracking_uri or "").rstrip("/")

    def tell(self, known: Provenance, how: str) -> None:
        seconds = time.monotonic() - self.begun
        rate = known.bytes / 1e6 / max(seconds, 1e-3)
        log.info(
            "%s is in %s: %d files, %.1f MB, %.1f s, %.1f MB/s, %s, %s",
            known.resolved_uri, self.output.path, len(known.files), known.bytes / 1e6, seconds, rate, how, known.digest,
            extra={"files": len(known.files), "bytes": known.bytes, "seconds": round(seconds, 3), "from": how,
                   "digest": known.digest},
        )  # fmt: skip
