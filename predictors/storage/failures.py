"""Failures of fetching a model: one class for each exit code, with advice for the operator."""

from __future__ import annotations

import errno
import os
import re
import zlib
from collections.abc import Callable, Iterator
from gzip import BadGzipFile
from typing import TypeVar

from predictors.storage.redaction import without_secrets
from predictors.uris import scheme_of

T = TypeVar("T")
MAX_REASON_LENGTH = 600  # characters


class SourceError(Exception):
    """The server cannot get its model; the message is one line for the operator."""


class StorageError(Exception):
    """The storage initializer cannot get a model; the message is one line for the operator."""

    code = 1
    permanent = False
    """Whether another attempt would fail as well."""


class Misconfigured(StorageError):
    """An invalid setting or URI, or a package that is not installed."""

    code, permanent = 2, True


class ModelNotFound(StorageError):
    code, permanent = 3, True


class AccessDenied(StorageError):
    """Credentials are missing, wrong or insufficient."""

    code, permanent = 4, True


class Unreachable(StorageError):
    code = 5


class VolumeError(StorageError):
    """A volume is full, read-only or not writable for this user."""

    code, permanent = 6, True


class UnsafeArchive(StorageError):
    """An archive or folder that is broken, too large, or leads outside."""

    code, permanent = 7, True


BY_ERRNO = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "is full: the quota is used up",
    errno.EROFS: "is read-only",
    errno.EACCES: "is not writable for this user",
    errno.EPERM: "is not writable for this user",
}
BY_STATUS = {401: AccessDenied, 403: AccessDenied, 404: ModelNotFound, 407: AccessDenied, 410: ModelNotFound}
VOLUME_FULL = r"no space left on device|errno 28\b|disk quota exceeded"
# Words in the messages of the storage clients; the first match decides.
BY_MESSAGE: tuple[tuple[type[StorageError], str], ...] = (
    (VolumeError, rf"{VOLUME_FULL}|read-only file system|errno 13\b"),
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


def as_storage_error(error: BaseException, uri: str) -> StorageError:
    """The failure of any client as the class with its exit code, with advice in the message."""
    for cause in causes(error):
        if isinstance(cause, StorageError):
            return cause
        if isinstance(cause, ImportError):
            return Misconfigured(f"{cause.name or cause} is not installed: pip install 'mlflow-kserve[storage]'")
        if isinstance(cause, (EOFError, zlib.error, BadGzipFile)):
            return UnsafeArchive(f"{without_secrets(uri)} cannot be read as an archive: {cause}")
        if isinstance(cause, OSError) and cause.errno in BY_ERRNO and cause.filename:
            return volume_error(cause)
    reason = reason_of(error)
    kind = kind_of(error, reason)
    return kind(f"{reason}{advice(kind, uri, error, reason)}")


def classified(action: Callable[[], T], uri: str) -> T:
    """Runs the action; whatever it raises becomes a StorageError, but for a SourceError, which is for the operator."""
    try:
        return action()
    except SourceError:
        raise
    except Exception as error:
        raise as_storage_error(error, uri) from error


def volume_error(error: OSError) -> VolumeError:
    return VolumeError(f"{error.filename or 'the volume'} {BY_ERRNO.get(error.errno or 0, error.strerror)}")


def kind_of(error: BaseException, reason: str) -> type[StorageError]:
    for cause in causes(error):
        status = status_of(cause)
        if status in BY_STATUS:
            return BY_STATUS[status]
        if status and (status >= 500 or status in (408, 425, 429)):
            return Unreachable
    names = (f"{type(cause).__name__} {getattr(cause, 'error_code', '')}" for cause in causes(error))
    text = " ".join([reason, *names])
    match = STATUS.search(text)
    number = int(next(group for group in match.groups() if group)) if match else 0
    if number in BY_STATUS:
        return BY_STATUS[number]
    if number >= 500:
        return Unreachable
    return next((kind for kind, words in BY_MESSAGE if re.search(words, text, re.IGNORECASE)), StorageError)


def status_of(error: BaseException) -> int:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    return int(getattr(response, "status_code", None) or getattr(error, "status_code", None) or 0)


def reason_of(error: BaseException) -> str:
    """The client's message on one line, without secrets."""
    text = " ".join(line.strip(" #") for line in str(error).splitlines() if line.strip(" #"))
    match = NO_CONNECTION.search(text)
    if match:  # the cause is a small part of the message of requests and urllib3
        return f"no connection: {without_secrets(match[1])}"
    text = without_secrets(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return text if len(text) <= MAX_REASON_LENGTH else f"{text[:MAX_REASON_LENGTH]}…"


def advice(kind: type[StorageError], uri: str, error: BaseException, reason: str) -> str:
    """The credentials or the host to check."""
    store = store_of(uri, error, reason)
    if kind is AccessDenied and store in CREDENTIALS:
        missing = [name for name in CREDENTIALS[store] if not os.environ.get(name)]
        names = ", ".join(CREDENTIALS[store])
        state = f"not set: {', '.join(missing)}" if missing else "all set"
        return f" (credentials for {server_of(store, uri)}: {names}; {state})"
    if kind is ModelNotFound and store == "s3":
        return f" (server: {server_of(store, uri)}; MLFLOW_S3_ENDPOINT_URL names another)"
    return f" (server: {server_of(store, uri)})" if kind is Unreachable else ""


def store_of(uri: str, error: BaseException, reason: str) -> str:
    """The store whose credentials matter: the artifacts of a registry may lie in a bucket."""
    modules = " ".join(type(cause).__module__ for cause in causes(error))
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
    servers = {
        "models": os.environ.get("MLFLOW_TRACKING_URI", ""),
        "s3": os.environ.get("MLFLOW_S3_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL") or "AWS S3",
    }
    return without_secrets(servers.get(store) or (host[1] if host else uri))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error itself and, one after another, its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def one_line(error: BaseException) -> str:
    """The type and the first line of an error, for a log line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:500]}" if text else type(error).__name__
