"""Changes a few fields in the text of a spec file; comments, order and everything else stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from generator.problems import Problem, SpecError

GONE = object()
"""The value of a field that is taken out."""


def rewritten(text: str, at: Sequence[str], changes: Mapping[str, Any]) -> str:
    """The text with fields of the mapping at `at` set, or taken out."""
    for key, value in changes.items():
        text = changed(text, at, key, value)
    return text


def changed(text: str, at: Sequence[str], key: str, value: Any) -> str:
    mapping = mapping_at(text, at)
    entry = next(((name, node) for name, node in mapping.value if name.value == key), None)
    if entry is None:
        return text if value is GONE else added(text, mapping, key, value)
    name, node = entry
    if value is GONE:
        return taken_out(text, mapping, name, node, at)
    if isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">") and not isinstance(value, (Mapping, list)):
        return text[: node.start_mark.index] + scalar(value) + text[node.end_mark.index :]
    lines = text.splitlines(keepends=True)
    lines[name.start_mark.line : last_line(node) + 1] = [block(key, value, name.start_mark.column)]
    return "".join(lines)


def mapping_at(text: str, at: Sequence[str]) -> yaml.MappingNode:
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for step in at:
        fields = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((inner for name, inner in fields if name.value == step), None)
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise SpecError(
            [Problem(tuple(at), "cannot be changed in place: expected a mapping with a field on each line")]
        )
    return node


def added(text: str, mapping: yaml.MappingNode, key: str, value: Any) -> str:
    """After the last field of the mapping."""
    lines = text.splitlines(keepends=True)
    last = last_line(mapping)
    if not lines[last].endswith("\n"):
        lines[last] += "\n"
    lines.insert(last + 1, block(key, value, mapping.value[0][0].start_mark.column))
    return "".join(lines)


def taken_out(text: str, mapping: yaml.MappingNode, name: yaml.Node, node: yaml.Node, at: Sequence[str]) -> str:
    """Its lines; a mapping whose only field goes stays, empty."""
    lines = text.splitlines(keepends=True)
    only = [f"{' ' * name.start_mark.column}{{}}\n"] if len(mapping.value) == 1 and at else []
    lines[name.start_mark.line : last_line(node) + 1] = only
    return "".join(lines)


def last_line(node: yaml.Node) -> int:
    """The line on which a node's own text ends; what PyYAML calls the end of a block is where the next one begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return last_line(last[1] if isinstance(last, tuple) else last)
    mark = node.end_mark
    return int(mark.line if mark.column else mark.line - 1)


def block(key: str, value: Any, indent: int) -> str:
    dumped = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=1000)
    return "".join(" " * indent + line for line in dumped.splitlines(keepends=True))


def scalar(value: Any) -> str:
    return yaml.safe_dump(value, allow_unicode=True, width=1000).removesuffix("\n").removesuffix("\n...")
