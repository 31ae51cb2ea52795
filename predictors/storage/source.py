"""The source of a served model: the requested URI, what it resolved to, and its folder on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from predictors.bounded_yaml import load_yaml
from predictors.flavor import MLMODEL, MLmodel
from predictors.storage.cache import ENTRY, MODEL
from predictors.storage.failures import SourceError, classified
from predictors.storage.provenance import PROVENANCE_FILE, Provenance, read_provenance
from predictors.storage.registry import download, resolve_version
from predictors.storage.retries import retried
from predictors.storage.settings import SourceSettings
from predictors.storage.time_limit import OutOfTime, in_time
from predictors.uris import ModelURI

MODEL_MOUNT = Path("/mnt/models")
DEMO = Path(__file__).parents[1] / "demo"
REGISTERED_META = "registered_model_meta"


@dataclass(frozen=True, slots=True)
class Source:
    """A model on disk and where it came from."""

    path: Path
    uri: str
    """As it was requested."""
    resolved_uri: str
    """Pinned: an alias, a stage or `latest` has become a version."""
    version: str | None = None
    """The registry's version, if the model comes from a registry."""
    demo: bool = False
    digest: str | None = None
    """A digest of all files, if the storage initializer has recorded one."""


def resolve(
    settings: SourceSettings,
    note: Callable[[str], None] = lambda _: None,
    folder: Path | None = None,
    current: Source | None = None,
) -> Source:
    """The model that the settings name, downloaded (into `folder`) if need be; `note` gets a line for each step.

    `current` is returned if the URI still resolves to it. A local folder is used at the start; once its model is
    served, a URI that moves decides what comes next.
    """
    if settings.model_local_path and not (current and is_moving(settings)):
        return local(Path(settings.model_local_path), settings.model_uri)
    if settings.model_uri is None:
        return (
            local(MODEL_MOUNT)
            if (MODEL_MOUNT / MLMODEL).is_file()
            else Source(DEMO, "the demo model", "the demo model", version="1", demo=True)
        )
    uri = settings.model_uri
    path = ModelURI.parse(uri).local_folder
    if path:
        return local(path, uri)
    note(f"resolving {uri}")
    resolved, version = retried(
        lambda: classified(lambda: resolve_version(settings, uri), uri), settings, note, f"resolving {uri}"
    )
    if current and version and resolved == current.resolved_uri:
        return current
    return remote(settings, uri, note, folder, resolved, version)


def is_local(settings: SourceSettings) -> bool:
    """Whether the model lies in a folder of this machine."""
    return bool(
        settings.model_local_path or settings.model_uri is None or ModelURI.parse(settings.model_uri).local_folder
    )


def local(folder: Path, uri: str | None = None) -> Source:
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}")
    provenance = read_provenance(folder / PROVENANCE_FILE)
    if provenance:
        path = linked_cache_entry(folder, provenance) or folder
        requested = uri or provenance.uri
        return Source(path, requested, provenance.resolved_uri, provenance.version, digest=provenance.digest)
    requested = uri or str(folder)
    return Source(folder, requested, requested, version_in(folder))


def linked_cache_entry(folder: Path, provenance: Provenance) -> Path | None:
    """The cached model that the storage initializer has linked the folder to. It is checked and read there, since links
    that lead out of a model's folder are refused."""
    if not (folder / MLMODEL).is_symlink():
        return None
    model = (folder / MLMODEL).resolve().parent
    entry = read_provenance(model.parent / ENTRY) if model.name == MODEL else None
    return model if entry and entry.digest == provenance.digest else None


def version_in(folder: Path) -> str | None:
    """The version that MLflow writes next to a model downloaded from a registry."""
    try:
        content = load_yaml(folder / REGISTERED_META)
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return None
    version = content.get("model_version") if isinstance(content, dict) else None
    return None if version is None else str(version)


def is_moving(settings: SourceSettings) -> bool:
    """Whether the URI may name another version later, and there is a registry to ask."""
    if settings.model_local_path and not settings.tracking_uri:
        return False
    return ModelURI.parse(settings.model_uri or "").is_moving


def remote(
    settings: SourceSettings,
    uri: str,
    note: Callable[[str], None],
    folder: Path | None,
    resolved: str,
    version: str | None,
) -> Source:
    """Downloads the version that `uri` resolved to."""
    note(f"downloading {resolved}")
    seconds = settings.load_timeout

    def fetch() -> Path:
        return retried(
            lambda: classified(lambda: download(resolved, folder), uri), settings, note, f"downloading {resolved}"
        )

    try:
        path = in_time(fetch, seconds, "download", late=lambda path: shutil.rmtree(path, ignore_errors=True))
    except OutOfTime:
        raise SourceError(f"{resolved} is not downloaded after {seconds:g} s (--load-timeout)") from None
    return Source(path, uri, resolved, version)


def served_version(settings: SourceSettings, source: Source, mlmodel: MLmodel) -> str:
    """The version in replies and URLs: the setting, the registry's version, the run, or the model's own id."""
    content = mlmodel.content
    version = settings.model_version or source.version or ModelURI.parse(source.resolved_uri).run_id
    return str(version or content.get("model_id") or content.get("model_uuid") or "1")
