"""Checks that neither links in the model folder nor names in the MLmodel file lead out of the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from predictors.safety.model_files import MLMODEL, NEVER, refuse

# Keys of the MLmodel file whose values MLflow or this product appends to the model folder.
PATH_KEYS = (
    *("data", "model_path", "pickled_model", "model_data", "model_binary", "saved_model_dir", "code", "code_paths"),
    *("python_model", "peft_adaptor", "components", "serialized_explainer", "artifact_path", "serving_input_path"),
)


def check_paths(folder: Path, mlmodel: Mapping[str, Any]) -> None:
    check_links(folder)
    for key, name in paths_in(mlmodel):
        if escapes(folder, name):
            refuse(f"{key} {name!r} in {MLMODEL}", "it leads out of the model folder", NEVER)


def check_links(folder: Path) -> None:
    """Also refuses pipes and devices: reading one could block, or never end."""
    for parent, folders, files in os.walk(folder):
        for entry in (Path(parent, name) for name in (*folders, *files)):
            if entry.is_symlink() and not entry.resolve().is_relative_to(folder):
                refuse(f"link {entry.relative_to(folder)}", "it leads out of the model folder", NEVER)
            if entry.exists() and not (entry.is_file() or entry.is_dir()):
                refuse(f"file {entry.relative_to(folder)}", "it is a pipe, a socket or a device", NEVER)


def paths_in(mlmodel: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    example = "saved_input_example_info"
    for section, config in {**(mlmodel.get("flavors") or {}), example: mlmodel.get(example)}.items():
        if not isinstance(config, Mapping):
            continue
        artifacts = config.get("artifacts")
        named = [(key, config.get(key)) for key in PATH_KEYS]
        if isinstance(artifacts, Mapping):
            named += [
                ("artifacts", artifact.get("path")) for artifact in artifacts.values() if isinstance(artifact, Mapping)
            ]
        for key, value in named:
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str):
                    yield f"{section}.{key}", name


def escapes(folder: Path, name: str) -> bool:
    windows = PureWindowsPath(name)  # takes both slashes
    if windows.anchor or ".." in windows.parts or "\0" in name:
        return True
    return not (folder / name).resolve().is_relative_to(folder)
