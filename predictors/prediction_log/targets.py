"""The target of the prediction log, and its checks before the server starts."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from predictors.settings.predictor import Settings

STDOUT = ("-", "stdout")
SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
ARROW_SCHEMES = ("s3", "gs")
"""Stores whose clients are part of pyarrow."""
EXTRA = "pip install 'mlflow-kserve[log]'"


class Unsuitable(Exception):
    """The log cannot be written; the message names the setting, and no password of the URL."""


@dataclass(frozen=True, slots=True)
class LogTarget:
    kind: str
    """stdout, http, folder, or store for anything that fsspec supports."""
    location: str
    scheme: str = ""


def target_of(text: str) -> LogTarget:
    if text in STDOUT:
        return LogTarget("stdout", text)
    match = SCHEME.match(text)
    if match is None:
        return LogTarget("folder", text)
    scheme = match[1].lower()
    if scheme in ("http", "https"):
        return LogTarget("http", text, scheme)
    if scheme == "file":
        return LogTarget("folder", unquote(urlsplit(text).path))
    return LogTarget("store", text, scheme)


def check(settings: Settings) -> None:
    """Raises Unsuitable if the log cannot be written with these settings."""
    both = settings.prediction_log_exclude & settings.prediction_log_hash
    if both:
        raise Unsuitable(f"--prediction-log-exclude and --prediction-log-hash both name {', '.join(sorted(both))}")
    if settings.prediction_log_hash_key_file:
        if not settings.prediction_log_hash:
            raise Unsuitable("--prediction-log-hash-key-file needs --prediction-log-hash")
        hash_key(settings.prediction_log_hash_key_file)
    if not settings.prediction_log:
        return
    target = target_of(settings.prediction_log)
    if target.kind == "http":
        if not urlsplit(target.location).hostname:
            raise Unsuitable("--prediction-log: expected a URL with a host, such as http://broker.events/default")
        return
    if target.kind == "stdout":
        return
    absent = [name for name in ("pyarrow", "fsspec") if find_spec(name) is None]
    if absent:
        raise Unsuitable(f"--prediction-log: Parquet files need {' and '.join(absent)}: {EXTRA}")
    if target.kind == "folder":
        check_folder(Path(target.location))
    elif target.scheme not in ARROW_SCHEMES:
        check_scheme(target.scheme)


def check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Unsuitable(f"--prediction-log: cannot write to {folder}: {error.strerror}") from None


def check_scheme(scheme: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        raise Unsuitable(f"--prediction-log: no installed package writes to {scheme}:// ({error})") from None


def hash_key(path: str) -> bytes:
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise Unsuitable(f"--prediction-log-hash-key-file: {path} cannot be read: {error.strerror}") from None
    if not key:
        raise Unsuitable(f"--prediction-log-hash-key-file: {path} is empty")
    return key
