"""Writes kserve/: `python -m tools.kserve_folder`. Only the examples' specs are written by hand."""

from __future__ import annotations

from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from generator.cli import platform
from generator.cli.main import main as generator
from predictors.flavor import IMAGE_REGISTRY

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "kserve"
SPEC = ".spec.yaml"


def contents() -> dict[Path, str]:
    """The content of each generated file."""
    files = {FOLDER / name: text for name, text in platform.texts(IMAGE_REGISTRY, "latest", "models").items()}
    for spec in sorted((FOLDER / "examples").glob(f"*{SPEC}")):
        files[spec.with_name(spec.name.replace(SPEC, ".yaml"))] = rendered(spec.relative_to(ROOT))
    return files


def rendered(spec: Path) -> str:
    """The output of the command in the header of the file."""
    out = StringIO()
    with chdir(ROOT), redirect_stdout(out), redirect_stderr(StringIO()) as errors:
        if generator(["render", str(spec)]):
            raise SystemExit(errors.getvalue())
    return out.getvalue()


def main() -> None:
    for path, text in contents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
