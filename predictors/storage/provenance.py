"""Where a model on disk came from: written beside it by the storage initializer, read again by the server."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from predictors.storage.checksums import Sum, digest_of

LAYOUT = 1
BESIDE = ".mlflow-kserve.json"
"""The file's name in the model's own folder, where it also is the mark that the folder is complete."""
MLMODEL = "MLmodel"
USER_AND_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")
QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*")


@dataclass(frozen=True, slots=True)
class Provenance:
    uri: str
    """As it was asked for."""
    resolved_uri: str
    """Pinned: an alias, a stage or `latest` has become a version."""
    digest: str
    bytes: int
    version: str | None = None
    run_id: str | None = None
    model_id: str | None = None
    created: str = ""
    files: Mapping[str, Sum] = field(default_factory=dict)
    layout: int = LAYOUT

    def write(self, path: Path) -> None:
        """Complete or not at all."""
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


def provenance(folder: Path, uri: str, resolved_uri: str, version: str | None, files: Mapping[str, Sum]) -> Provenance:
    """Of a model whose files have just arrived."""
    said = mlmodel_of(folder)
    return Provenance(
        uri=without_secrets(uri),
        resolved_uri=without_secrets(resolved_uri),
        digest=digest_of(files),
        bytes=sum(one.size for one in files.values()),
        version=version,
        run_id=said.get("run_id"),
        model_id=said.get("model_id"),
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        files=files,
    )


def mlmodel_of(folder: Path) -> dict[str, str]:
    """The ids in its MLmodel file, if it has one that can be read."""
    try:
        content = yaml.safe_load((folder / MLMODEL).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    content = content if isinstance(content, dict) else {}
    return {name: str(content[name]) for name in ("run_id", "model_id") if content.get(name)}


def read_provenance(path: Path) -> Provenance | None:
    """None where there is none, or none that can be relied on."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {name: Sum(int(one["size"]), str(one["sha256"])) for name, one in content["files"].items()}
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


def without_secrets(text: str) -> str:
    """A URL may hold a password, or a signature in its query."""
    return QUERY.sub(r"\1", USER_AND_PASSWORD.sub("", text))
