"""Go templates from what was rendered: what all variants share is text, the rest stands under its conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain, groupby, pairwise
from typing import Any

from tools.serve_chart.choices import ALWAYS, VARIABLES, Choice, Placeholder, Repeated, marks, operand, sampled
from tools.serve_chart.decisions import Assignment, Branching, Undivided, decide
from tools.serve_chart.variants import REFUSALS, Documents

MISSING = "missing"
MAPPING = "mapping"
SEQUENCE = "list"
SCALAR = "scalar"
HEADER = "{{- /* Made from the generator by `make charts`. Change that, not this. */}}\n"
Nodes = Mapping[Assignment, Any]
Lines = list[str]


class TemplateWriter:
    """Writes templates for the variants of one sample of all placeholders."""

    def __init__(self, choices: Sequence[Choice], sample: int) -> None:
        self.choices = choices
        self.expressions: dict[Any, str] = {}
        self.repeated: dict[str, Repeated] = {}
        for mark in chain(marks(list(ALWAYS.values())), *(each.marks() for each in choices)):
            if isinstance(mark, Placeholder):
                self.expressions[mark.samples[sample]] = mark.expression
                continue
            key, value = mark.keys[sample], mark.values[sample]
            self.repeated[key] = mark
            self.expressions[key] = "$key" if value else "$value"
            if value:
                self.expressions[value] = "toString $value"
        # A number of two digits is a placeholder as a whole only.
        texts = sorted((str(each) for each in self.expressions if len(str(each)) > 2), key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, texts)))
        self.known = [
            [
                [(sampled(content, sample), mark.samples[sample]) for mark, content in one.known.items()]
                for one in each.alternatives
            ]
            for each in choices
        ]

    def files(self, variants: Mapping[Assignment, Documents]) -> dict[str, str]:
        """The templates by name: one for each kind, and the refusals."""
        fine = {assignment: documents for assignment, documents in variants.items() if REFUSALS not in documents}
        keys = union(list(documents) for documents in fine.values())
        texts: dict[str, Lines] = {}
        for kind in dict.fromkeys(key.partition("/")[0] for key in keys):
            nodes = {key: under(fine, key) for key in keys if key.startswith(f"{kind}/")}
            texts[kind.lower()] = self.members(nodes, lambda _, part: ["---", *self.entries(part, "")])
        texts[REFUSALS] = self.refusals(variants)
        return {f"{name}.yaml": whole(lines) for name, lines in texts.items()}

    def refusals(self, variants: Mapping[Assignment, Documents]) -> Lines:
        """All reasons at once, as the generator says them."""
        said = {
            assignment: {reason: reason for reason in documents.get(REFUSALS, ())}
            for assignment, documents in variants.items()
        }
        members = {reason: under(said, reason) for reason in dict.fromkeys(chain.from_iterable(said.values()))}
        reasons = self.members(
            members, lambda reason, _: [f"{{{{- $refusals = append $refusals {operand(self.text(reason))} }}}}"]
        )
        return ["{{- $refusals := list }}", *reasons, '{{- with $refusals }}{{ fail (join "\\n" .) }}{{ end }}']

    def members(self, members: Mapping[str, Nodes], write: Callable[[str, Nodes], Lines]) -> Lines:
        """What `write` says of members of mappings or lists; neighbours share their conditions."""
        lines: Lines = []
        for decision, group in groupby(members.items(), key=lambda member: decide(shapes(member[1]))):
            together = dict(group)

            def one_after_another(part: Nodes, together: Mapping[str, Nodes] = together) -> Lines:
                return [
                    line
                    for key, nodes in together.items()
                    for line in self.ranged(key, write(key, {assignment: nodes[assignment] for assignment in part}))
                ]

            lines += self.written(decision, next(iter(together.values())), one_after_another)
        return lines

    def written(self, decision: Branching | Undivided, nodes: Nodes, write: Callable[[Nodes], Lines]) -> Lines:
        if isinstance(decision, Undivided):
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
        keys = union(list(mapping) for mapping in mappings.values())
        members = {key: under(mappings, key) for key in keys}
        return self.members(members, lambda key, part: self.entry(key, part, indent))

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
        members = {key: under(named, key) for key in keys}
        return self.members(members, lambda _, part: self.element(part, indent))

    def element(self, nodes: Nodes, indent: str) -> Lines:
        if shape(next(iter(nodes.values()))) != MAPPING:
            return self.leaves(nodes, f"{indent}- ")
        inner = self.entries(nodes, indent + "  ")
        if inner[0].startswith("{{"):
            return [f"{indent}-", *inner]
        return [f"{indent}- {inner[0].lstrip()}", *inner[1:]]

    def leaves(self, nodes: Nodes, prefix: str) -> Lines:
        """Scalars, which may differ."""
        texts = {
            assignment: self.scalar(self.recognized(assignment, node, nodes)) for assignment, node in nodes.items()
        }
        return self.written(decide(texts), texts, lambda part: [prefix + next(iter(part.values()))])

    def recognized(self, assignment: Assignment, node: Any, nodes: Nodes) -> Any:
        """The number of a placeholder that is known to be this one, where other variants have the placeholder."""
        for index, alternative in enumerate(assignment):
            for known, mark in self.known[index][alternative]:
                if type(node) is int and known == node and mark in nodes.values():
                    return mark
        return node

    def ranged(self, identity: str, lines: Lines) -> Lines:
        """The lines for each entry of a collection, if that is what they are about."""
        shallow = re.sub(r"\[.*\]", "", identity)  # what a list inside repeats is not repeated itself
        for mark, repeated in self.repeated.items():
            if mark in shallow:
                variables = "$key, $value" if repeated.values[0] else "$value"
                return [f"{{{{- range {variables} := {repeated.collection} }}}}", *lines, "{{- end }}"]
        return lines

    def scalar(self, content: Any) -> str:
        if isinstance(content, str) and self.pattern.search(content):
            return f"{{{{ {self.text(content)} | quote }}}}"
        if type(content) is int and content in self.expressions:
            return f"{{{{ {self.expressions[content]} }}}}"
        if isinstance(content, str) and content.isdigit() and int(content) in self.expressions:
            return f"{{{{ {self.expressions[int(content)]} | quote }}}}"
        return scalar(content)

    def text(self, content: str) -> str:
        """The expression of a text with placeholders."""
        texts = {str(sample): expression for sample, expression in self.expressions.items()}
        arguments = [texts[match] for match in self.pattern.findall(content)]
        form = self.pattern.sub("%v", content.replace("%", "%%"))
        if form == "%v":
            return arguments[0]
        quoted = json.dumps(form, ensure_ascii=False)
        if not arguments:
            return json.dumps(content, ensure_ascii=False)
        return " ".join(["printf", quoted, *map(operand, arguments)])


def under(nodes: Nodes, key: str) -> Nodes:
    """What all have under a key."""
    return {assignment: node.get(key, MISSING) for assignment, node in nodes.items()}


def shapes(nodes: Nodes) -> dict[Assignment, Hashable]:
    return {assignment: shape(node) for assignment, node in nodes.items()}


def shape(node: Any) -> Hashable:
    """What decides where a node stands; scalars are told apart later, and refusals by their text."""
    if node == MISSING:
        return MISSING
    if isinstance(node, dict) and node:
        return MAPPING
    if isinstance(node, list) and node:
        return SEQUENCE
    return SCALAR


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
    used = set(re.findall(r"\$[a-z_]+", text))
    return "".join([HEADER, *(f"{setting}\n" for name, setting in VARIABLES.items() if name in used), text])
