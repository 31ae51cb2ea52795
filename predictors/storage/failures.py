"""What can go wrong on the way from a URI to a folder: one class for each exit code, and what an operator can do."""

from __future__ import annotations

import errno
import os
import re
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile

from predictors.storage.provenance import without_secrets
from predictors.uris import scheme_of

MOST = 600  # characters of a reason


class StorageError(Exception):
    """The model cannot be had; the message is one line for the operator."""

    code = 1
    permanent = False
    """Whether another try would end the same way."""


class Misconfigured(StorageError):
    """A setting, a URI, or a package that is not installed."""

    code, permanent = 2, True


class ModelNotFound(StorageError):
    code, permanent = 3, True


class AccessDenied(StorageError):
    """Credentials are missing, wrong, or do not suffice."""

    code, permanent = 4, True


class Unreachable(StorageError):
    code = 5


class VolumeError(StorageError):
    """A volume is full, read-only, or not ours to write."""

    code, permanent = 6, True


class UnsafeArchive(StorageError):
    """An archive or a tree that is broken, or would write where it must not."""

    code, permanent = 7, True


BY_ERRNO = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "is full: the quota is used up",
    errno.EROFS: "is read-only",
    errno.EACCES: "may not be written by this user",
    errno.EPERM: "may not be written by this user",
}
BY_STATUS = {401: AccessDenied, 403: AccessDenied, 404: ModelNotFound, 407: AccessDenied, 410: ModelNotFound}
FULL = r"no space left on device|errno 28\b|disk quota exceeded"
# How clients of many makes say it; the first that fits counts.
BY_WORDS: tuple[tuple[type[StorageError], str], ...] = (
    (VolumeError, rf"{FULL}|read-only file system|errno 13\b"),
    (
        AccessDenied,
        r"unauthenticated|permission_denied|unauthorized|credential|authentication failed|access ?denied|forbidden"
        r"|invalidaccesskeyid|signaturedoesnotmatch|expiredtoken|gatedrepo",
    ),
    (
        ModelNotFound,
        r"resource_does_not_exist|nosuchbucket|nosuchkey|not found|does not exist|no such (file|artifact|bucket|key)"
        r"|no model found|notfound|resourcenotfound|registered model alias .* not found",
    ),
    (
        Unreachable,
        r"connection|max retries exceeded|timed? ?out|timeout|name resolution|getaddrinfo|unreachable"
        r"|failed to connect|incompleteread|broken pipe|too many (50\d )?error responses",
    ),
)
STATUS = re.compile(r"(?:error|status) code:? (\d{3})|\b(\d{3}) (?:client|server) error|HTTP (\d{3})", re.IGNORECASE)
NO_CONNECTION = re.compile(
    r"Max retries exceeded.*"
    r"(?:Failed to establish a new connection: |Failed to resolve |Caused by \w+\()([^)\"]{3,200})"
)
CREDENTIALS = {
    "models": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "azure": ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_STORAGE_ACCESS_KEY"),
    "hf": ("HF_TOKEN",),
}


def explained(error: BaseException, uri: str) -> StorageError:
    """The same failure with the exit code and the advice that belong to it."""
    for one in chain(error):
        if isinstance(one, StorageError):
            return one
        if isinstance(one, ImportError):
            return Misconfigured(f"{one.name or one} is not installed: pip install 'mlflow-kserve[storage]'")
        if isinstance(one, (EOFError, zlib.error, BadGzipFile)):
            return UnsafeArchive(f"{without_secrets(uri)} is no archive that can be read: {one}")
        if isinstance(one, OSError) and one.errno in BY_ERRNO and one.filename:
            return on_volume(one)
    reason = reason_of(error)
    kind = kind_of(error, reason)
    return kind(f"{reason}{advice(kind, uri, error, reason)}")


def on_volume(error: OSError) -> VolumeError:
    return VolumeError(f"{error.filename or 'the volume'} {BY_ERRNO.get(error.errno or 0, error.strerror)}")


def kind_of(error: BaseException, reason: str) -> type[StorageError]:
    for one in chain(error):
        status = status_of(one)
        if status in BY_STATUS:
            return BY_STATUS[status]
        if status and (status >= 500 or status in (408, 425, 429)):
            return Unreachable
    said = " ".join([reason, *(f"{type(one).__name__} {getattr(one, 'error_code', '')}" for one in chain(error))])
    found = STATUS.search(said)
    number = int(next(group for group in found.groups() if group)) if found else 0
    if number in BY_STATUS:
        return BY_STATUS[number]
    if number >= 500:
        return Unreachable
    return next((kind for kind, words in BY_WORDS if re.search(words, said, re.IGNORECASE)), StorageError)


def status_of(error: BaseException) -> int:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    return int(getattr(response, "status_code", None) or getattr(error, "status_code", None) or 0)


def reason_of(error: BaseException) -> str:
    """What the client said, on one line, without secrets."""
    text = " ".join(line.strip(" #") for line in str(error).splitlines() if line.strip(" #"))
    broken = NO_CONNECTION.search(text)
    if broken:  # of all that requests and urllib3 have to say, what counts is short
        return f"no connection: {without_secrets(broken[1])}"
    text = without_secrets(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return text if len(text) <= MOST else f"{text[:MOST]}…"


def advice(kind: type[StorageError], uri: str, error: BaseException, reason: str) -> str:
    """Which credential or host to look at."""
    store = store_of(uri, error, reason)
    if kind is AccessDenied and store in CREDENTIALS:
        missing = [name for name in CREDENTIALS[store] if not os.environ.get(name)]
        names = ", ".join(CREDENTIALS[store])
        state = f"not set: {', '.join(missing)}" if missing else "all are set"
        return f" (credentials for {server_of(store, uri)}: {names}; {state})"
    return f" (asked {server_of(store, uri)})" if kind is Unreachable else ""


def store_of(uri: str, error: BaseException, reason: str) -> str:
    """Whose credentials count: the artifacts of a registry may lie in a bucket."""
    modules = " ".join(type(one).__module__ for one in chain(error))
    for store, words in (("s3", "botocore|boto3"), ("gs", "google"), ("azure", "azure"), ("hf", "huggingface")):
        if re.search(words, modules):
            return store
    if "Unable to locate credentials" in reason:
        return "s3"
    scheme = scheme_of(uri)
    if scheme in ("models", "runs", "mlflow-artifacts"):
        return "models"
    return "azure" if scheme in ("wasbs", "abfss") or ".core.windows.net" in uri else scheme


def server_of(store: str, uri: str) -> str:
    host = re.match(r"[a-z0-9+.-]+://(?:[^/@]*@)?([^/]+)", uri)
    named = {
        "models": os.environ.get("MLFLOW_TRACKING_URI", ""),
        "s3": os.environ.get("MLFLOW_S3_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL") or "AWS S3",
    }
    return without_secrets(named.get(store) or (host[1] if host else uri))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


class SourceError(Exception):
    """The model cannot be had; the message is one line for the operator."""
