"""Writes charts/serve: `python -m tools.serve_chart`, or `make charts`."""

from __future__ import annotations

from pathlib import Path

from tools.serve_chart.choices import CHOICES
from tools.serve_chart.templates import TemplateWriter
from tools.serve_chart.values import example, schema_text
from tools.serve_chart.variants import variants

CHART = Path(__file__).parents[2] / "charts" / "serve"


def contents() -> dict[Path, str]:
    """The content of each generated file."""
    rendered = variants(CHOICES, 0)
    first = TemplateWriter(CHOICES, 0).files(rendered)
    second = TemplateWriter(CHOICES, 1).files(variants(CHOICES, 1))
    for name in first:
        if first[name] != second.get(name):
            raise SystemExit(f"{name} depends on a value in another way than where it stands")
    schema = schema_text(rendered)
    return {
        **{CHART / "templates" / name: text for name, text in first.items()},
        CHART / "values.schema.json": schema,
        CHART / "values.yaml": example(schema),
    }


def main() -> None:
    for path, text in contents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
