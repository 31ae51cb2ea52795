"""Resources as YAML: the same bytes for the same spec, one document per resource, each with a header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from generator.resources.meta import Resource

KUSTOMIZATION = "kustomization.yaml"
# Text that other YAML parsers than PyYAML read as a number or a boolean.
AMBIGUOUS = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?0[oxb][0-9a-fA-F_]+|[yYnN]")


class Writer(yaml.SafeDumper):
    """Indents lists under their key, and writes multi-line text as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(dumper: yaml.SafeDumper, content: str) -> yaml.ScalarNode:
    style = "|" if "\n" in content else "'" if AMBIGUOUS.fullmatch(content) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", content, style=style)


Writer.add_representer(str, text)


def document(content: Any) -> str:
    return yaml.dump(content, Dumper=Writer, sort_keys=False, width=120, allow_unicode=True)


def stream(resources: Iterable[Resource], header: str = "", notes: Sequence[str] = ()) -> str:
    """All resources as one text for `kubectl apply -f -`."""
    return "".join(f"---\n{commented(resource, header, notes)}" for resource in resources)


def files(resources: Sequence[Resource], header: str, notes: Sequence[str] = ()) -> dict[str, str]:
    """The resources as files of a folder, with a kustomization that lists them."""
    texts = {file_name(resource): commented(resource, header, notes) for resource in resources}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(texts),
    }
    return {**texts, KUSTOMIZATION: comment(header) + document(kustomization)}


def commented(resource: Resource, header: str, notes: Sequence[str]) -> str:
    """The resource with its header; the notes go to the InferenceService."""
    shown = notes if resource["kind"] == "InferenceService" else ()
    return comment("\n".join([header, *(f"Note: {note}." for note in shown)])) + document(resource)


def comment(lines: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines.splitlines())


def file_name(resource: Resource) -> str:
    return f"{resource['kind'].lower()}-{resource['metadata']['name']}.yaml"
