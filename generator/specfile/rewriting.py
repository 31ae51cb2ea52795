"""Changes a few fields in the text of a spec file; comments, order and everything else stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from generator.problems import Problem, SpecError

REMOVED = object()
"""The value of a field that is removed."""


def rewritten(text: str, at: Sequence[str], changes: Mapping[str, Any]) -> str:
    """The text with fields of the mapping at `at` set, or removed."""
    for key, value in changes.items():
        text = changed(text, at, key, value)
    return text


def changed(text: str, at: Sequence[str], key: str, value: Any) -> str:
    for depth in range(1, len(at) + 1):
        text = on_lines(text, at[:depth])
    mapping = mapping_at(text, at)
    entry = next(((name, node) for name, node in mapping.value if name.value == key), None)
    if entry is None:
        return text if value is REMOVED else added(text, mapping, key, value)
    name, node = entry
    if stands_elsewhere(name, node):
        raise in_place((*at, key))
    if value is REMOVED:
        return removed(text, mapping, name, node, at)
    if isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">") and not isinstance(value, (Mapping, list)):
        return text[: node.start_mark.index] + scalar(value) + text[node.end_mark.index :]
    lines = text.splitlines(keepends=True)
    lines[name.start_mark.line : last_line(node) + 1] = [block(key, value, name.start_mark.column)]
    return "".join(lines)


def mapping_at(text: str, at: Sequence[str]) -> yaml.MappingNode:
    node = node_at(text, at)[1]
    if node is None:
        raise SpecError([Problem(tuple(at), "is not in this file: expected it there before it can be changed")])
    if not isinstance(node, yaml.MappingNode) or (node.flow_style and (node.value or not at)):
        raise in_place(at)
    return node


def node_at(text: str, at: Sequence[str]) -> tuple[yaml.Node | None, yaml.Node | None]:
    """The name of the field at `at`, and what it holds."""
    name, node = None, yaml.compose(text, Loader=yaml.SafeLoader)
    for step in at:
        fields = node.value if isinstance(node, yaml.MappingNode) else []
        name, node = next(((name, inner) for name, inner in fields if name.value == step), (None, None))
        if name and node and stands_elsewhere(name, node):
            raise in_place(at)
    return name, node


def stands_elsewhere(name: yaml.Node, node: yaml.Node) -> bool:
    """Whether the value is an alias: what it stands for was written before, and is not this field's alone."""
    return int(node.start_mark.index) < int(name.start_mark.index)


def in_place(at: Sequence[str]) -> SpecError:
    return SpecError([Problem(tuple(at), "cannot be changed in place: expected a mapping with a field on each line")])


def on_lines(text: str, at: Sequence[str]) -> str:
    """The text with a mapping in braces on one line, `prod: {namespace: ml}`, spread: a field on each line."""
    name, node = node_at(text, at)
    if not (name and isinstance(node, yaml.MappingNode) and node.flow_style and node.value):
        return text
    inline = text[node.start_mark.index : node.end_mark.index]
    indent = " " * (name.start_mark.column + 2)
    fields = [text[inner.start_mark.index : value.end_mark.index] for inner, value in node.value]
    spread = "".join(f"\n{indent}{field}" for field in fields)
    spread_text = text[: node.start_mark.index].rstrip(" ") + spread + text[node.end_mark.index :]
    try:
        same = "\n" not in inline and yaml.safe_load(spread_text) == yaml.safe_load(text)
    except yaml.YAMLError:
        same = False
    return spread_text if same else text


def added(text: str, mapping: yaml.MappingNode, key: str, value: Any) -> str:
    """The text with the field after the last one of the mapping."""
    if not mapping.value:  # {}
        indent = mapping_indent(text, mapping)
        before = text[: mapping.start_mark.index].rstrip(" ")
        start = before if before.endswith("\n") else before + "\n"
        return start + block(key, value, indent).removesuffix("\n") + text[mapping.end_mark.index :]
    lines = text.splitlines(keepends=True)
    last = last_line(mapping)
    if not lines[last].endswith("\n"):
        lines[last] += "\n"
    lines.insert(last + 1, block(key, value, mapping.value[0][0].start_mark.column))
    return "".join(lines)


def removed(text: str, mapping: yaml.MappingNode, name: yaml.Node, node: yaml.Node, at: Sequence[str]) -> str:
    """The text without the field's lines; a mapping that loses its only field stays, empty."""
    lines = text.splitlines(keepends=True)
    only = [f"{' ' * name.start_mark.column}{{}}\n"] if len(mapping.value) == 1 and at else []
    lines[name.start_mark.line : last_line(node) + 1] = only
    return "".join(lines)


def mapping_indent(text: str, mapping: yaml.MappingNode) -> int:
    """The indentation for fields of an empty mapping: that of `{}` on a line of its own, or below its name."""
    line = text[: mapping.start_mark.index].rpartition("\n")[2]
    return len(line) if not line.strip() else len(line) - len(line.lstrip(" ")) + 2


def last_line(node: yaml.Node) -> int:
    """The line on which a node's own text ends; PyYAML's end of a block is the start of the next one."""
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
