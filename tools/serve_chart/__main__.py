"""Writes charts/serve: `python -m tools.serve_chart`, or `make charts`."""

from __future__ import annotations

from pathlib import Path

from tools.serve_chart.choices import CHOICES
from tools.serve_chart.templates import TemplateWriter
from tools.serve_chart.variants import variants

CHART = Path(__file__).parents[2] / "charts" / "serve"


def contents() -> dict[Path, str]:
    """The content of each generated file."""
    first, second = (TemplateWriter(CHOICES, sample).files(variants(CHOICES, sample)) for sample in (0, 1))
    for name in first:
        if first[name] != second.get(name):
            raise SystemExit(f"{name} depends on a value in another way than where it stands")
    return {CHART / "templates" / name: text for name, text in first.items()}


def main() -> None:
    for path, text in contents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
