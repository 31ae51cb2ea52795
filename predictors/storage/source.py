"""From a model URI to a folder on disk: what was asked for, what it resolved to, and where it lies."""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlparse

import yaml

from predictors import uris
from predictors.flavor import MLMODEL, MLmodel
from predictors.runtime.mlflow_plugins import leave_out_feast
from predictors.settings.predictor import Settings
from predictors.storage.cache import ENTRY, MODEL
from predictors.storage.failures import StorageError
from predictors.storage.provenance import BESIDE, Provenance, read_provenance

MOUNTED = Path("/mnt/models")
DEMO = Path(__file__).parents[1] / "demo"
DOWNLOADED = "mlflow-kserve-model-"
REGISTERED_META = "registered_model_meta"
T = TypeVar("T")

# MLflow's answers that another try will not change.
PERMANENT = frozenset(
    {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED", "UNAUTHENTICATED"}
    | {"ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "NOT_FOUND", "INVALID_STATE", "UNAUTHORIZED"}
)


class Connection(Protocol):
    """Settings of a tracking server."""

    @property
    def tracking_uri(self) -> str | None: ...
    @property
    def tracking_username(self) -> str | None: ...
    @property
    def tracking_password(self) -> str | None: ...


class Patience(Protocol):
    """Settings of what is tried again."""

    @property
    def download_retries(self) -> int: ...
    @property
    def download_backoff(self) -> float: ...


class SourceError(Exception):
    """The model cannot be had; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model on disk and what it resolved from."""

    path: Path
    uri: str
    """As it was asked for."""
    resolved_uri: str
    """Pinned: an alias, a stage or `latest` has become a version."""
    version: str | None = None
    """The registry's version, where the model comes from a registry."""
    demo: bool = False
    digest: str | None = None
    """Of all files, where the storage initializer has put them there."""


def resolve(
    settings: Settings,
    note: Callable[[str], None] = lambda _: None,
    folder: Path | None = None,
    have: Source | None = None,
) -> Source:
    """The model that the settings ask for, downloaded (into `folder`) if need be; `note` is told what is going on.

    `have` is taken if it is still what the URI names. A folder that is here already counts at the start; once its model
    is served, a URI that moves says what comes next.
    """
    if settings.model_local_path and not (have and is_moving(settings)):
        return local(Path(settings.model_local_path), settings.model_uri)
    if settings.model_uri is None:
        return (
            local(MOUNTED)
            if (MOUNTED / MLMODEL).is_file()
            else Source(DEMO, "the demo model", "the demo model", version="1", demo=True)
        )
    uri = settings.model_uri
    here = local_folder(uri)
    if here:
        return local(here, uri)
    note(f"resolving {uri}")
    found = retried(lambda: pinned(settings, uri), settings, note, f"resolving {uri}")
    return have if have and found[1] and found[0] == have.resolved_uri else remote(settings, uri, note, folder, found)


def is_here(settings: Settings) -> bool:
    """Whether the model lies in a folder of this machine."""
    return bool(settings.model_local_path or settings.model_uri is None or local_folder(settings.model_uri))


def local(folder: Path, uri: str | None = None) -> Source:
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}")
    known = read_provenance(folder / BESIDE)
    if known:
        path = in_cache(folder, known) or folder
        return Source(path, uri or known.uri, known.resolved_uri, known.version, digest=known.digest)
    asked = uri or str(folder)
    return Source(folder, asked, asked, version_in(folder))


def in_cache(folder: Path, known: Provenance) -> Path | None:
    """The model in the cache that the storage initializer has linked the folder to: it is judged and read where it is,
    since links that lead out of a model's folder are refused."""
    if not (folder / MLMODEL).is_symlink():
        return None
    model = (folder / MLMODEL).resolve().parent
    entry = read_provenance(model.parent / ENTRY) if model.name == MODEL else None
    return model if entry and entry.digest == known.digest else None


def version_in(folder: Path) -> str | None:
    """The registry's version that MLflow leaves beside a model it downloaded from a registry."""
    try:
        content = yaml.safe_load((folder / REGISTERED_META).read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None
    version = content.get("model_version") if isinstance(content, dict) else None
    return None if version is None else str(version)


def local_folder(uri: str) -> Path | None:
    if uri.startswith("file:"):
        return Path(unquote(urlparse(uri).path))
    if "://" not in uri and not re.match(r"[a-z][a-z-]*:/", uri):
        return Path(uri)
    return None


def is_moving(settings: Settings) -> bool:
    """Whether the URI may name another version tomorrow, and there is a registry to ask."""
    if settings.model_local_path and not settings.tracking_uri:
        return False
    return uris.is_moving(settings.model_uri or "")


def pinned(settings: Connection, uri: str) -> tuple[str, str | None]:
    """What the URI names now, as a URI that cannot move any more, and its version."""
    configure_mlflow(settings)
    return pin(uri)


def remote(
    settings: Settings, uri: str, note: Callable[[str], None], folder: Path | None, found: tuple[str, str | None]
) -> Source:
    """Downloads what `uri` was found to name; what may pass by itself is tried again."""
    where, version = found
    note(f"downloading {where}")
    path = retried(lambda: download(where, folder), settings, note, f"downloading {where}")
    return Source(path, uri, where, version)


def configure_mlflow(settings: Connection) -> None:
    """MLflow reads its connection from the environment, also in the processes that it starts."""
    for variable, value in (
        ("MLFLOW_TRACKING_URI", settings.tracking_uri),
        ("MLFLOW_TRACKING_USERNAME", settings.tracking_username),
        ("MLFLOW_TRACKING_PASSWORD", settings.tracking_password),
    ):
        if value:
            os.environ[variable] = value
    # Our own retries say what they do; MLflow's seven silent ones would take minutes before the first word.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    leave_out_feast()
    if settings.tracking_uri:
        import mlflow

        mlflow.set_tracking_uri(settings.tracking_uri)  # what the process itself said before counts no more


def pin(uri: str) -> tuple[str, str | None]:
    """A registry URI that cannot move any more, and its version."""
    if not uri.startswith("models:/") or uri.startswith(("models://", "models:/m-")):
        return uri, None
    import mlflow

    client = mlflow.MlflowClient()
    name, _, alias = uri.removeprefix("models:/").rpartition("@")
    if name:
        version = client.get_model_version_by_alias(name, alias).version
        return f"models:/{name}/{version}", str(version)
    name, _, asked = uri.removeprefix("models:/").rpartition("/")
    if not name:
        raise SourceError(f"{uri}: expected models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/latest")
    if asked.isdigit():
        return uri, asked
    version = latest(client, name, None if asked.lower() == "latest" else asked)
    if version is None:
        raise SourceError(f"{uri}: the registry has no such version of '{name}'")
    return f"models:/{name}/{version}", str(version)


def latest(client: Any, name: str, stage: str | None) -> int | None:
    with warnings.catch_warnings():
        # Stages are deprecated in MLflow, and still what many teams have.
        warnings.simplefilter("ignore", FutureWarning)
        found = client.get_latest_versions(name, None if stage is None else [stage])
    return max((int(one.version) for one in found), default=None)


def download(uri: str, folder: Path | None) -> Path:
    import mlflow.artifacts

    target = tempfile.mkdtemp(prefix=DOWNLOADED, dir=folder)
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=target))
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # whoever tries again begins anew
        raise


def retried(action: Callable[[], T], settings: Patience, note: Callable[[str], None], what: str) -> T:
    pause = settings.download_backoff
    for left in range(settings.download_retries, -1, -1):
        try:
            return action()
        except SourceError:
            raise
        except Exception as error:
            reason = f"{what} failed: {one_line(error)}"
            if left == 0 or is_permanent(error):
                raise SourceError(reason) from error
            note(f"{reason}; trying again in about {pause:g} s ({left} left)")
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            pause *= 2
    raise AssertionError("unreachable")  # pragma: no cover


def is_permanent(error: BaseException) -> bool:
    if isinstance(error, StorageError):
        return error.permanent
    code = getattr(error, "error_code", None)
    if code is not None:
        return str(code) in PERMANENT
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return 400 <= int(status) < 500 and status not in (408, 425, 429)
    return isinstance(error, (ImportError, FileNotFoundError, PermissionError, ValueError, TypeError))


def one_line(error: BaseException) -> str:
    """The first line of an error, for a log line or the end of the process."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:500]}" if text else type(error).__name__


def served_version(settings: Settings, source: Source, mlmodel: MLmodel) -> str:
    """The version in replies and URLs: as set, the registry's, or what identifies the model itself."""
    content = mlmodel.content
    found = settings.model_version or source.version or content.get("model_id") or content.get("model_uuid")
    return str(found or "1")
