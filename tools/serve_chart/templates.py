"""Go templates from what was rendered: what all variants share is text, the rest stands under its conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from tools.serve_chart.choices import ALWAYS, VARIABLES, Choice, Placeholder, Repeated
from tools.serve_chart.decisions import Assignment, Decision, Outcome, decide
from tools.serve_chart.variants import REFUSAL, Documents

MISSING = "missing"
MAPPING = "mapping"
SEQUENCE = "list"
HEADER = "{{- /* Made from the generator by `make charts`. Change that, not this. */}}\n"
Nodes = Mapping[Assignment, Any]
Lines = list[str]


class TemplateWriter:
    """Writes templates for the variants of one sample of all placeholders."""

    def __init__(self, choices: Sequence[Choice], sample: int) -> None:
        self.choices = choices
        contents = [*ALWAYS.values(), *(c for each in choices for one in each.alternatives for c in one.fields.values())]
        self.expressions: dict[Any, str] = {}
        self.repeated: dict[str, tuple[Repeated, str]] = {}
        for content in contents:
            for each in marks(content):
                if isinstance(each, Placeholder):
                    self.expressions[each.samples[sample]] = each.expression
                else:
                    key, value = each.keys[sample], each.values[sample]
                    self.repeated[key] = (each, "$key" if value else "$value")
                    self.expressions[key] = "$key" if value else "$value"
                    if value:
                        self.expressions[value] = "(toString $value)"
        # A number of two digits is a placeholder as a whole only.
        texts = sorted((str(each) for each in self.expressions if len(str(each)) > 2), key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, texts)))
        self.known = [
            [
                {content: str(mark.samples[sample]) for mark, content in one.known.items() if isinstance(content, int)}
                for one in each.alternatives
            ]
            for each in choices
        ]

    def files(self, variants: Mapping[Assignment, Documents]) -> dict[str, str]:
        """The templates by name: one for each kind, and the refusals."""
        refusals = {assignment: documents.get(REFUSAL, MISSING) for assignment, documents in variants.items()}
        fine = {assignment: documents for assignment, documents in variants.items() if REFUSAL not in documents}
        texts: dict[str, Lines] = {}
        for key in union(list(documents) for documents in fine.values()):
            nodes = {assignment: documents.get(key, MISSING) for assignment, documents in fine.items()}
            kind = key.partition("/")[0].lower()
            texts.setdefault(kind, []).extend(self.branches(nodes, lambda part: ["---", *self.entries(part, "")]))
        texts["refusals"] = self.branches(
            refusals, lambda part: [f"{{{{- fail ({self.text(next(iter(part.values())))}) }}}}"]
        )
        return {f"{name}.yaml": whole(lines) for name, lines in texts.items()}

    def branches(self, nodes: Nodes, write: Callable[[Nodes], Lines]) -> Lines:
        """What `write` says of the nodes of each shape, under the conditions of that shape."""
        return self.written(decide({assignment: shape(node) for assignment, node in nodes.items()}), nodes, write)

    def written(self, decision: Decision | Outcome, nodes: Nodes, write: Callable[[Nodes], Lines]) -> Lines:
        if isinstance(decision, Outcome):
            return [] if decision.content == MISSING else write(nodes)
        choice = self.choices[decision.choice]
        written = []
        for group, after in decision.branches:
            part = {assignment: node for assignment, node in nodes.items() if assignment[decision.choice] in group}
            written.append((group, self.written(after, part, write)))
        # What is not there needs no branch; the first alternative holds if no other does.
        written.sort(key=lambda branch: (not branch[1], 0 in branch[0]))
        lines: Lines = []
        for position, (group, inner) in enumerate(written):
            if not inner:
                break
            last = position == len(written) - 1
            word = "if" if position == 0 else "else if"
            lines += ["{{- else }}" if last else f"{{{{- {word} {choice.condition(group)} }}}}", *inner]
        return [*lines, "{{- end }}"]

    def entries(self, mappings: Nodes, indent: str) -> Lines:
        """The entries of mappings."""
        lines: Lines = []
        for key in union(list(mapping) for mapping in mappings.values()):
            nodes = {assignment: mapping.get(key, MISSING) for assignment, mapping in mappings.items()}
            lines += self.ranged(key, self.branches(nodes, lambda part, key=key: self.entry(key, part, indent)))
        return lines

    def entry(self, key: str, nodes: Nodes, indent: str) -> Lines:
        name = f"{{{{ {self.text(key)} | quote }}}}" if self.pattern.search(key) else scalar(key)
        if shape(next(iter(nodes.values()))) == MAPPING:
            return [f"{indent}{name}:", *self.entries(nodes, indent + "  ")]
        if shape(next(iter(nodes.values()))) == SEQUENCE:
            return [f"{indent}{name}:", *self.elements(nodes, indent + "  ")]
        return self.leaves(nodes, f"{indent}{name}: ")

    def elements(self, sequences: Nodes, indent: str) -> Lines:
        """The elements of lists: the same one in two lists is what has the same name."""
        named = {assignment: {identity(each): each for each in sequence} for assignment, sequence in sequences.items()}
        orders = {assignment: tuple(each) for assignment, each in named.items()}
        try:
            keys = union(orders.values())
        except CycleError:  # no order holds for all of them
            return self.written(decide(orders), sequences, lambda part: self.elements(part, indent))
        lines: Lines = []
        for key in keys:
            nodes = {assignment: each.get(key, MISSING) for assignment, each in named.items()}
            lines += self.ranged(key, self.branches(nodes, lambda part: self.element(part, indent)))
        return lines

    def element(self, nodes: Nodes, indent: str) -> Lines:
        if shape(next(iter(nodes.values()))) != MAPPING:
            return self.leaves(nodes, f"{indent}- ")
        inner = self.entries(nodes, indent + "  ")
        if inner[0].startswith("{{"):
            return [f"{indent}-", *inner]
        return [f"{indent}- {inner[0].lstrip()}", *inner[1:]]

    def leaves(self, nodes: Nodes, prefix: str) -> Lines:
        """Scalars, which may differ."""
        same = {assignment: json.dumps(self.recognized(assignment, node, nodes)) for assignment, node in nodes.items()}
        return self.written(
            decide(same), same, lambda part: [prefix + self.scalar(json.loads(next(iter(part.values()))))]
        )

    def recognized(self, assignment: Assignment, node: Any, nodes: Nodes) -> Any:
        """A number that is a placeholder's known value, where others have the placeholder."""
        for index, alternative in enumerate(assignment):
            mark = self.known[index][alternative].get(node) if type(node) is int else None
            if mark is not None and int(mark) in nodes.values():
                return int(mark)
        return node

    def ranged(self, identity: str, lines: Lines) -> Lines:
        """The lines for each entry of a collection, if that is what they are about."""
        for mark, (repeated, _) in self.repeated.items():
            if mark in identity:
                variables = "$key, $value" if repeated.values[0] else "$value"
                return [f"{{{{- range {variables} := {repeated.collection} }}}}", *lines, "{{- end }}"]
        return lines

    def scalar(self, content: Any) -> str:
        if isinstance(content, str) and self.pattern.search(content):
            return f"{{{{ {self.text(content)} | quote }}}}"
        if type(content) is int and content in self.expressions:
            return f"{{{{ {self.expressions[content]} }}}}"
        return scalar(content)

    def text(self, content: str) -> str:
        """The expression of a text with placeholders."""
        texts = {str(sample): expression for sample, expression in self.expressions.items()}
        arguments = [texts[match] for match in self.pattern.findall(content)]
        form = self.pattern.sub("%s", content.replace("%", "%%"))
        if form == "%s":
            return arguments[0]
        quoted = json.dumps(form, ensure_ascii=False)
        return " ".join(["printf", quoted, *(operand(each) for each in arguments)])


def operand(expression: str) -> str:
    return f"(toString ({expression}))" if expression.startswith(("int ", "$m")) else expression


def marks(content: Any) -> Iterable[Placeholder | Repeated]:
    if isinstance(content, Placeholder | Repeated):
        yield content
    elif isinstance(content, list):
        for each in content:
            yield from marks(each)
    elif isinstance(content, dict):
        for each in content.values():
            yield from marks(each)


def shape(node: Any) -> Hashable:
    """What decides where a node stands; scalars are told apart later, and refusals by their text."""
    if node == MISSING:
        return MISSING
    if isinstance(node, dict) and node:
        return MAPPING
    if isinstance(node, list) and node:
        return SEQUENCE
    return "scalar"


def identity(element: Any) -> str:
    """What makes an element of a list the same one in another variant."""
    if isinstance(element, dict) and "name" in element:
        return str(element["name"])
    return json.dumps(element)


def union(sequences: Iterable[Sequence[str]]) -> list[str]:
    """The members of all sequences, in an order that is that of each; CycleError if there is none."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for sequence in dict.fromkeys(tuple(each) for each in sequences):
        order.add(*sequence[:1]) if sequence else None
        for before, after in pairwise(sequence):
            order.add(after, before)
    return list(order.static_order())


def scalar(content: Any) -> str:
    """YAML of a scalar, safe inside a template."""
    text = json.dumps(content, ensure_ascii=False)
    if isinstance(content, str) and "{{" in content:
        return f"{{{{ {text} | quote }}}}"
    plain = isinstance(content, str) and re.fullmatch(r"[A-Za-z/][A-Za-z0-9./_-]*", content)
    words = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
    return str(content) if plain and str(content).lower() not in words else text


def whole(lines: Lines) -> str:
    text = "\n".join(lines) + "\n"
    return HEADER + (VARIABLES if re.search(r"\$m(in|ax)\b", text) else "") + text
