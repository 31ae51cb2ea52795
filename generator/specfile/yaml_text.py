"""YAML as it was written: its values, where each of them stands, and numbers that still know their spelling.

The rules are those of YAML 1.2: `on`, `no` and `off` are words, 012 is twelve. No I/O here.
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
DEEPEST = 50
TAG = "tag:yaml.org,2002:"
NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]{1,25}")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class WrittenInt(int):
    """A whole number that becomes the text in the file where text is wanted."""

    text: str

    def __str__(self) -> str:
        return self.text


class WrittenFloat(float):
    """A number that becomes the text in the file where text is wanted: 0.20 is not 0.2 there."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Position:
    """Where something is said: in a file, or by a flag."""

    source: str
    line: int | None = None
    path: Path = ()
    """The path in that file."""
    environment: str | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass
class Written:
    """What a text says."""

    data: Any
    places: dict[Path, Position] = field(default_factory=dict)

    def place(self, path: Path) -> Position | None:
        """Where the path stands, or else the closest one above it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None


def read(text: str, source: str, wrong: list[Problem] | None = None) -> Written:
    """The one document of a text; SpecError says what keeps it from being read.

    What is wrong with single values goes to `wrong`, if given, and the rest is read.
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
        raise SpecError([at(source, None, f"is nested too deeply: expected at most {DEEPEST} levels")]) from None
    documents = [node for node in nodes if not is_empty(node)]
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        raise SpecError([at(source, line, "a second document begins here: expected one spec in a file")])
    if not documents:
        raise SpecError([at(source, None, "is empty: expected a spec, at least name and model")])
    reader = YamlReader(source)
    reader.places[()] = Position(source, documents[0].start_mark.line + 1)
    data = reader.value(documents[0], (), ())
    if reader.problems and wrong is None:
        raise SpecError(reader.problems)
    if wrong is not None:
        wrong += reader.problems
    return Written(data, reader.places)


def is_empty(node: Node | None) -> bool:
    return node is None or (isinstance(node, ScalarNode) and node.value == "" and node.style is None)


class YamlReader:
    """From nodes to values, with the places of all of them and everything that is wrong."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.places: dict[Path, Position] = {}
        self.problems: list[Problem] = []
        self.values = 0

    def wrong(self, node: Node, path: Path, message: str) -> None:
        self.problems.append(at(self.source, node.start_mark.line + 1, message, path))

    def value(self, node: Node, path: Path, above: tuple[Node, ...]) -> Any:
        self.count()
        if node in above:
            self.wrong(node, path, "an alias (*name) within its own anchor (&name) never ends")
            return None
        if len(above) > DEEPEST:
            self.wrong(node, path, f"is nested too deeply: expected at most {DEEPEST} levels")
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path, (*above, node))
        if isinstance(node, SequenceNode):
            return self.sequence(node, path, (*above, node))
        assert isinstance(node, ScalarNode)  # noqa: S101 - there are no others
        return self.scalar(node, path)

    def count(self) -> None:
        """Aliases of aliases are soon more than any memory holds."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise SpecError([at(self.source, None, f"has more than {MAX_VALUES:,} values, aliases counted")])

    def mapping(self, node: MappingNode, path: Path, above: tuple[Node, ...]) -> dict[str, Any]:
        if not node.tag.endswith(":map"):
            self.wrong(node, path, f"the tag {shown(node.tag)} is not taken here: leave it out")
        found: dict[str, Any] = {}
        own: dict[str, int] = {}
        for key, value, merged in self.entries(node, path, above):
            if not isinstance(key, ScalarNode):
                self.wrong(key, path, "expected a name before ':', not a list or a mapping")
                continue
            line = key.start_mark.line + 1
            if key.value in own:
                if not merged:
                    self.wrong(key, (*path, key.value), f"is said twice: here and in line {own[key.value]}")
                continue
            own[key.value] = line
            self.places[*path, key.value] = Position(self.source, line, (*path, key.value))
            found[key.value] = self.value(value, (*path, key.value), above)
        return found

    def entries(self, node: MappingNode, path: Path, above: tuple[Node, ...]) -> Iterator[tuple[Node, Node, bool]]:
        """Fields of the mapping itself, then those that `<<` brings in: whoever comes first wins."""
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
                elif other in above or len(above) > DEEPEST:
                    self.wrong(value, path, "an alias (*name) within its own anchor (&name) never ends")
                else:
                    for key, inner, _ in self.entries(other, path, (*above, other)):
                        self.count()
                        yield key, inner, True

    def sequence(self, node: SequenceNode, path: Path, above: tuple[Node, ...]) -> list[Any]:
        if not node.tag.endswith(":seq"):
            self.wrong(node, path, f"the tag {shown(node.tag)} is not taken here: leave it out")
        found = []
        for position, item in enumerate(node.value):
            here = (*path, position)
            self.places[here] = Position(self.source, item.start_mark.line + 1, here)
            found.append(self.value(item, here, above))
        return found

    def scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.style is None and node.tag == implied(node.value):
            return plain(node.value)
        if node.tag == f"{TAG}str":
            return node.value
        if node.tag in (f"{TAG}int", f"{TAG}float", f"{TAG}bool", f"{TAG}null"):
            return plain(node.value)
        self.wrong(node, path, f"the tag {shown(node.tag)} is not taken here: leave it out")
        return None


def implied(text: str) -> str:
    """The tag that the parser gives the text where the file says none."""
    return str(RESOLVER.resolve(ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]


RESOLVER = yaml.resolver.Resolver()


def shown(tag: str) -> str:
    return tag.replace(TAG, "!!")


def plain(text: str) -> Any:
    """What a text without quotes means."""
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
