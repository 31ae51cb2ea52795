"""YAML as written: values with their positions in the file, and numbers that keep their spelling. No I/O.

The rules are those of YAML 1.2: `on`, `no` and `off` are words, 012 is twelve.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from generator.problems import Path, Problem, SpecError, at
from generator.specfile.yaml_errors import unreadable

MAX_CHARACTERS = 1_000_000
MAX_VALUES = 100_000
MAX_DEPTH = 50
TAG = "tag:yaml.org,2002:"
NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]{1,25}")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class WrittenInt(int):
    """A whole number that keeps its spelling, for fields that expect text."""

    text: str

    def __str__(self) -> str:
        return self.text


class WrittenFloat(float):
    """A number that keeps its spelling, for fields that expect text: 0.20 is not 0.2 there."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value is set: in a file, or by a flag."""

    source: str
    line: int | None = None
    path: Path = ()
    """The path in that file."""
    environment: str | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass
class YamlDocument:
    """A parsed YAML text: its data, and the position of each value."""

    data: Any
    positions: dict[Path, Position] = field(default_factory=dict)

    def position(self, path: Path) -> Position | None:
        """The position of the path, or else of the closest one above it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.positions:
                return self.positions[path[:length]]
        return None


def read(text: str, source: str, wrong: list[Problem] | None = None) -> YamlDocument:
    """The only document of a text; raises SpecError if it cannot be read.

    Problems with single values are added to `wrong`, if given, and the rest is read.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpecError([at(source, None, f"has {len(text):,} characters: expected at most {MAX_CHARACTERS:,}")])
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError([at(source, line, "has a character that YAML does not allow")]) from None
    except yaml.MarkedYAMLError as error:
        raise SpecError([unreadable(error, text, source)]) from None
    except (RecursionError, ValueError):
        raise SpecError([at(source, None, f"is nested too deeply: expected at most {MAX_DEPTH} levels")]) from None
    documents = [node for node in nodes if not is_empty(node)]
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        raise SpecError([at(source, line, "a second document begins here: expected one spec in a file")])
    if not documents:
        raise SpecError([at(source, None, "is empty: expected a spec, at least name and model")])
    reader = YamlReader(source)
    reader.positions[()] = Position(source, documents[0].start_mark.line + 1)
    data = reader.value(documents[0], (), ())
    if reader.problems and wrong is None:
        raise SpecError(reader.problems)
    if wrong is not None:
        wrong += reader.problems
    return YamlDocument(data, reader.positions)


def is_empty(node: Node | None) -> bool:
    return node is None or (isinstance(node, ScalarNode) and node.value == "" and node.style is None)


class YamlReader:
    """Builds the values of YAML nodes, and collects their positions and problems."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.positions: dict[Path, Position] = {}
        self.problems: list[Problem] = []
        self.values = 0

    def wrong(self, node: Node, path: Path, message: str) -> None:
        self.problems.append(at(self.source, node.start_mark.line + 1, message, path))

    def value(self, node: Node, path: Path, above: tuple[Node, ...]) -> Any:
        self.count()
        if node in above:
            self.wrong(node, path, "an alias (*name) within its own anchor (&name) never ends")
            return None
        if len(above) > MAX_DEPTH:
            self.wrong(node, path, f"is nested too deeply: expected at most {MAX_DEPTH} levels")
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path, (*above, node))
        if isinstance(node, SequenceNode):
            return self.sequence(node, path, (*above, node))
        assert isinstance(node, ScalarNode)  # noqa: S101 - there are no others
        return self.scalar(node, path)

    def count(self) -> None:
        """Limits the values: aliases of aliases grow beyond any memory."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise SpecError([at(self.source, None, f"has more than {MAX_VALUES:,} values, aliases counted")])

    def mapping(self, node: MappingNode, path: Path, above: tuple[Node, ...]) -> dict[str, Any]:
        if not node.tag.endswith(":map"):
            self.wrong(node, path, f"the tag {shown(node.tag)} is not supported: leave it out")
        values: dict[str, Any] = {}
        own: dict[str, int] = {}
        for key, value, merged in self.entries(node, path, above):
            if not isinstance(key, ScalarNode):
                self.wrong(key, path, "expected a name before ':', not a list or a mapping")
                continue
            line = key.start_mark.line + 1
            if key.value in own:
                if not merged:
                    self.wrong(key, (*path, key.value), f"is set twice: here and in line {own[key.value]}")
                continue
            own[key.value] = line
            self.positions[*path, key.value] = Position(self.source, line, (*path, key.value))
            values[key.value] = self.value(value, (*path, key.value), above)
        return values

    def entries(self, node: MappingNode, path: Path, above: tuple[Node, ...]) -> Iterator[tuple[Node, Node, bool]]:
        """Fields of the mapping itself, then those merged by `<<`: the first one wins."""
        merges = []
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.tag == f"{TAG}merge":
                merges.append(value)
            else:
                yield key, value, False
        for value in merges:
            for other in value.value if isinstance(value, SequenceNode) else [value]:
                if not isinstance(other, MappingNode):
                    self.wrong(value, path, "'<<' takes a mapping by its alias, as in <<: *name, or a list of them")
                elif other in above or len(above) > MAX_DEPTH:
                    self.wrong(value, path, "an alias (*name) within its own anchor (&name) never ends")
                else:
                    for key, inner, _ in self.entries(other, path, (*above, other)):
                        self.count()
                        yield key, inner, True

    def sequence(self, node: SequenceNode, path: Path, above: tuple[Node, ...]) -> list[Any]:
        if not node.tag.endswith(":seq"):
            self.wrong(node, path, f"the tag {shown(node.tag)} is not supported: leave it out")
        values = []
        for position, item in enumerate(node.value):
            here = (*path, position)
            self.positions[here] = Position(self.source, item.start_mark.line + 1, here)
            values.append(self.value(item, here, above))
        return values

    def scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.style is None and node.tag == implied(node.value):
            return plain(node.value)
        if node.tag == f"{TAG}str":
            return node.value
        if node.tag in (f"{TAG}int", f"{TAG}float", f"{TAG}bool", f"{TAG}null"):
            return plain(node.value)
        self.wrong(node, path, f"the tag {shown(node.tag)} is not supported: leave it out")
        return None


def implied(text: str) -> str:
    """The tag that the parser gives a text without an explicit tag."""
    return str(RESOLVER.resolve(ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]


RESOLVER = yaml.resolver.Resolver()


def shown(tag: str) -> str:
    return tag.replace(TAG, "!!")


def plain(text: str) -> Any:
    """The value of a text without quotes."""
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text.lower() == "true"
    number: WrittenInt | WrittenFloat
    if INT.fullmatch(text):
        number = WrittenInt(text)
    elif FLOAT.fullmatch(text):
        number = WrittenFloat(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    else:
        return text
    number.text = text
    return number
