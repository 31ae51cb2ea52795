"""YAML of a model, within bounds: a few aliases and merge keys can stand for more than a machine holds.

It is read by PyYAML's own parser. The one of libyaml ends the process where brackets are nested too deeply.
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import yaml

MAX_SIZE = 64 * 1024**2  # bytes that a file may unfold to, roughly
NODE_SIZE = 64
MAX_NESTING = 100  # brackets in one another, of which each costs the scanner more than the one before


class BoundedLoader(yaml.SafeLoader):
    def fetch_flow_collection_start(self, kind: Any) -> None:
        if self.flow_level > MAX_NESTING:
            raise yaml.YAMLError(f"its brackets are nested more than {MAX_NESTING} deep")
        super().fetch_flow_collection_start(kind)


def load_yaml(file: Path) -> Any:
    """What a file with one document holds.

    Raises YAMLError, ValueError (an impossible date, for one), RecursionError or OSError.
    """
    if file.stat().st_size > MAX_SIZE:
        raise yaml.YAMLError(f"it is larger than {MAX_SIZE} bytes")
    loader = BoundedLoader(file.read_text(encoding="utf-8"))
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if unfolded_size(node, {}) > MAX_SIZE:
            raise yaml.YAMLError(f"its aliases unfold to more than {MAX_SIZE} bytes")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def unfolded_size(node: Any, sizes: dict[int, float]) -> float:
    """Of a node, with a copy of what an alias stands for wherever it is."""
    if id(node) not in sizes:
        sizes[id(node)] = inf  # what holds itself has no end
        if isinstance(node, yaml.ScalarNode):
            size: float = len(node.value)
        elif isinstance(node, yaml.MappingNode):
            size = sum(unfolded_size(part, sizes) for pair in node.value for part in pair)
        else:
            size = sum(unfolded_size(item, sizes) for item in node.value)
        sizes[id(node)] = NODE_SIZE + size
    return sizes[id(node)]
