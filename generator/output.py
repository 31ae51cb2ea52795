"""Resources as YAML: the same bytes for the same spec, one document a resource, each saying where it came from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from generator.resources.meta import Resource


class Writer(yaml.SafeDumper):
    """Indents lists under their key and writes texts of several lines as such."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(dumper: yaml.SafeDumper, content: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", content, style="|" if "\n" in content else None)


Writer.add_representer(str, text)


def document(content: Any) -> str:
    return yaml.dump(content, Dumper=Writer, sort_keys=False, width=120, allow_unicode=True)


def stream(resources: Iterable[Resource], header: str) -> str:
    """All resources as one text that `kubectl apply -f -` takes."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    return "".join(f"---\n{comment}{document(resource)}" for resource in resources)


def file_name(resource: Resource) -> str:
    return f"{resource['kind'].lower()}-{resource['metadata']['name']}.yaml"
