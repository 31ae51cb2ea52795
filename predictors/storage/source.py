"""From a model URI to a folder on disk: what was asked for, what it resolved to, and where it lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from predictors.flavor import MLMODEL, MLmodel
from predictors.settings.predictor import Settings
from predictors.storage.cache import ENTRY, MODEL
from predictors.storage.failures import SourceError
from predictors.storage.provenance import BESIDE, Provenance, read_provenance
from predictors.storage.registry import download, pinned
from predictors.storage.retries import retried
from predictors.uris import ModelURI

MOUNTED = Path("/mnt/models")
DEMO = Path(__file__).parents[1] / "demo"
REGISTERED_META = "registered_model_meta"


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
    here = ModelURI.parse(uri).local_folder
    if here:
        return local(here, uri)
    note(f"resolving {uri}")
    found = retried(lambda: pinned(settings, uri), settings, note, f"resolving {uri}")
    return have if have and found[1] and found[0] == have.resolved_uri else remote(settings, uri, note, folder, found)


def is_here(settings: Settings) -> bool:
    """Whether the model lies in a folder of this machine."""
    return bool(
        settings.model_local_path or settings.model_uri is None or ModelURI.parse(settings.model_uri).local_folder
    )


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


def is_moving(settings: Settings) -> bool:
    """Whether the URI may name another version tomorrow, and there is a registry to ask."""
    if settings.model_local_path and not settings.tracking_uri:
        return False
    return ModelURI.parse(settings.model_uri or "").is_moving


def remote(
    settings: Settings, uri: str, note: Callable[[str], None], folder: Path | None, found: tuple[str, str | None]
) -> Source:
    """Downloads what `uri` was found to name; what may pass by itself is tried again."""
    where, version = found
    note(f"downloading {where}")
    path = retried(lambda: download(where, folder), settings, note, f"downloading {where}")
    return Source(path, uri, where, version)


def served_version(settings: Settings, source: Source, mlmodel: MLmodel) -> str:
    """The version in replies and URLs: as set, the registry's, or what identifies the model itself."""
    content = mlmodel.content
    found = settings.model_version or source.version or content.get("model_id") or content.get("model_uuid")
    return str(found or "1")
