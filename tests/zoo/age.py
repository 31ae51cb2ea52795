"""Model folders as older versions of MLflow wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def as_written_by(version: str, folder: Path, rename: dict[str, str] | None = None) -> None:
    """Takes what later versions added out of the MLmodel file, and gives files their old names."""
    file = folder / "MLmodel"
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    for key in ("model_id", "is_signature_from_type_hint", "type_hint_from_example", "prompts", "model_size_bytes"):
        content.pop(key, None)
    content["mlflow_version"] = version
    text = yaml.safe_dump(content)
    for new, old in (rename or {}).items():
        (folder / new).rename(folder / old)
        text = text.replace(new, old)
    file.write_text(text)
