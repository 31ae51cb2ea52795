"""The target of the prediction log, and its checks before the server starts. No message holds a password of a URL."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from predictors.settings.declare import SettingError

STDOUT = ("-", "stdout")
SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
ARROW_SCHEMES = ("s3", "gs")
"""Stores whose clients are part of pyarrow."""
EXTRA = "pip install 'mlflow-kserve[log]'"


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


def check_target(text: str) -> None:
    """Whether this installation can write there, as far as that can be known before the server starts."""
    target = target_of(text)
    if target.kind == "http":
        if not urlsplit(target.location).hostname:
            raise SettingError("--prediction-log: expected a URL with a host, such as http://broker.events/default")
        return
    if target.kind == "stdout":
        return
    missing = [name for name in ("pyarrow", "fsspec") if find_spec(name) is None]
    if missing:
        raise SettingError(f"--prediction-log: Parquet files need {' and '.join(missing)}: {EXTRA}")
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
        raise SettingError(f"--prediction-log: cannot write to {folder}: {error.strerror}") from None


def check_scheme(scheme: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        raise SettingError(f"--prediction-log: no installed package writes to {scheme}:// ({error})") from None


def hash_key(path: str) -> bytes:
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise SettingError(f"--prediction-log-hash-key-file: {path} cannot be read: {error.strerror}") from None
    if not key:
        raise SettingError(f"--prediction-log-hash-key-file: {path} is empty")
    return key
