"""The provenance of a model on disk: written next to it by the storage initializer, read by the server."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from predictors.bounded_yaml import load_yaml
from predictors.flavor import MLMODEL
from predictors.storage.checksums import Checksum, digest_of
from predictors.storage.redaction import without_secrets

LAYOUT = 1
PROVENANCE_FILE = ".mlflow-kserve.json"
"""Its name in the model's own folder; there it also marks the folder as complete."""


@dataclass(frozen=True, slots=True)
class Provenance:
    uri: str
    """As it was requested."""
    resolved_uri: str
    """Pinned: an alias, a stage or `latest` has become a version."""
    digest: str
    bytes: int
    version: str | None = None
    run_id: str | None = None
    model_id: str | None = None
    created: str = ""
    files: Mapping[str, Checksum] = field(default_factory=dict)
    layout: int = LAYOUT

    def write(self, path: Path) -> None:
        """Writes a complete file or none."""
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def provenance_of(
    folder: Path, uri: str, resolved_uri: str, version: str | None, files: Mapping[str, Checksum]
) -> Provenance:
    """The provenance of a model that has just been downloaded."""
    ids = mlmodel_ids(folder)
    return Provenance(
        uri=without_secrets(uri),
        resolved_uri=without_secrets(resolved_uri),
        digest=digest_of(files),
        bytes=sum(file.size for file in files.values()),
        version=version,
        run_id=ids.get("run_id"),
        model_id=ids.get("model_id"),
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        files=files,
    )


def mlmodel_ids(folder: Path) -> dict[str, str]:
    """The ids of run and model in the MLmodel file; empty if it cannot be read."""
    try:
        content = load_yaml(folder / MLMODEL)
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    content = content if isinstance(content, dict) else {}
    return {name: str(content[name]) for name in ("run_id", "model_id") if content.get(name)}


def read_provenance(path: Path) -> Provenance | None:
    """None if the file is missing or invalid."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {name: Checksum(int(file["size"]), str(file["sha256"])) for name, file in content["files"].items()}
        if content["layout"] != LAYOUT or any(is_outside(name) for name in files):
            return None
        return Provenance(
            uri=str(content["uri"]),
            resolved_uri=str(content["resolved_uri"]),
            digest=str(content["digest"]),
            bytes=int(content["bytes"]),
            version=text_or_none(content["version"]),
            run_id=text_or_none(content["run_id"]),
            model_id=text_or_none(content["model_id"]),
            created=str(content["created"]),
            files=files,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_outside(name: str) -> bool:
    path = Path(name)
    return path.is_absolute() or ".." in path.parts or not path.parts


def text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
