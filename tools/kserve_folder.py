"""Writes kserve/: `python -m tools.kserve_folder`. The examples' specs are written by hand, all else is made."""

from __future__ import annotations

from pathlib import Path

import yaml

from generator import ServeSpec, render
from generator.output import stream
from generator.platform import platform

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "kserve"
SPEC = ".spec.yaml"


def contents() -> dict[Path, str]:
    """Every file that is made, and what belongs in it."""
    command = "python -m generator platform -o kserve"
    files = {FOLDER / name: stream(resources, f"Made by: {command}") for name, resources in platform().items()}
    for spec in sorted((FOLDER / "examples").glob(f"*{SPEC}")):
        target = spec.with_name(spec.name.replace(SPEC, ".yaml"))
        command = f"python -m generator render {spec.relative_to(ROOT)} > {target.relative_to(ROOT)}"
        resources = render(ServeSpec.model_validate(yaml.safe_load(spec.read_text())))
        files[target] = stream(resources, f"Made by: {command}")
    return files


def main() -> None:
    for path, text in contents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
