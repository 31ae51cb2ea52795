"""Manifests as text: what any reader of YAML takes as it was meant."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yaml

from generator.output import document, stream


@pytest.mark.parametrize(
    "text",
    ["1e3", "1E3", "y", "N", "0o14", "0x1f", "1_000", "012", "1.10", "+1", ".5", "yes", "off", "null", "~", "true",
     "2026-01-01", "12:30", " a", "a: b", "# a", "-", "=", "<<", "a\nb\n", "ü"],
)  # fmt: skip
def test_a_text_stays_a_text(text: str) -> None:
    written = document({"value": text})
    assert yaml.safe_load(written) == {"value": text}
    if text[:1].isdigit() or text[:1] in ".+" or text in "yN":
        assert written == f"value: '{text}'\n"  # readers of YAML 1.2 see more numbers than PyYAML


def test_notes_stand_where_the_serve_is() -> None:
    resources = [{"kind": kind, "metadata": {"name": "x"}} for kind in ("Role", "InferenceService")]
    assert stream(resources, "Made.", ["needs this"]) == (
        "---\n# Made.\nkind: Role\nmetadata:\n  name: x\n"
        "---\n# Made.\n# Note: needs this.\nkind: InferenceService\nmetadata:\n  name: x\n"
    )


def test_whoever_imports_the_package_has_its_types() -> None:
    assert (files("generator") / "py.typed").is_file()
