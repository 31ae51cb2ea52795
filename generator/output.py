"""Resources as YAML: the same bytes for the same spec, one document a resource, each saying where it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from generator.resources.meta import Resource

KUSTOMIZATION = "kustomization.yaml"
# Texts that other readers of YAML than PyYAML take for a number or a truth.
OTHERWISE = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?0[oxb][0-9a-fA-F_]+|[yYnN]")


class Writer(yaml.SafeDumper):
    """Indents lists under their key and writes texts of several lines as such."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(dumper: yaml.SafeDumper, content: str) -> yaml.ScalarNode:
    style = "|" if "\n" in content else "'" if OTHERWISE.fullmatch(content) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", content, style=style)


Writer.add_representer(str, text)


def document(content: Any) -> str:
    return yaml.dump(content, Dumper=Writer, sort_keys=False, width=120, allow_unicode=True)


def stream(resources: Iterable[Resource], header: str = "", notes: Sequence[str] = ()) -> str:
    """All resources as one text that `kubectl apply -f -` takes."""
    return "".join(f"---\n{commented(resource, header, notes)}" for resource in resources)


def files(resources: Sequence[Resource], header: str, notes: Sequence[str] = ()) -> dict[str, str]:
    """The same as files of a folder, with the kustomization that names them."""
    texts = {file_name(resource): commented(resource, header, notes) for resource in resources}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(texts),
    }
    return {**texts, KUSTOMIZATION: comment(header) + document(kustomization)}


def commented(resource: Resource, header: str, notes: Sequence[str]) -> str:
    """What the person who applies it has to know stands in the InferenceService."""
    shown = notes if resource["kind"] == "InferenceService" else ()
    return comment("\n".join([header, *(f"Note: {note}." for note in shown)])) + document(resource)


def comment(lines: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines.splitlines())


def file_name(resource: Resource) -> str:
    return f"{resource['kind'].lower()}-{resource['metadata']['name']}.yaml"
