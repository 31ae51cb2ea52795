"""Reads a spec from YAML: either the spec, or all problems with their lines. No I/O."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from generator.facts import ModelFacts
from generator.plan import decide
from generator.problems import Path, Problem, SpecError
from generator.rules import problems_of as rule_problems
from generator.spec import ServeSpec
from generator.specfile.messages import problems_of
from generator.specfile.overlay import Layered, layered, misshapen
from generator.specfile.yaml_text import YamlDocument, read

STAND_IN: dict[str, Any] = {"name": "name", "model": "models:/model/1"}


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A spec for one environment, with the document it was read from."""

    spec: ServeSpec
    layers: Layered

    def placed(self, error: SpecError) -> SpecError:
        """The same problems with their lines."""
        return SpecError(in_order(placed(each, self.layers.document) for each in error.problems))


def read_spec(text: str, environment: str | None = None, source: str = "spec") -> ServeSpec:
    """The spec in a YAML text; raises SpecError with all problems and their lines."""
    return spec_file(read(text, source), environment).spec


def spec_file(
    file: YamlDocument,
    environment: str | None = None,
    shared: YamlDocument | None = None,
    flags: Iterable[YamlDocument] = (),
) -> SpecFile:
    """The spec that all layers make; raises SpecError with all problems, those of the rules included where possible."""
    if problems := [each for document in (shared, file) if document for each in misshapen(document)]:
        raise SpecError(problems)
    layers = layered(file, environment, shared, flags)
    try:
        return SpecFile(ServeSpec.model_validate(layers.document.data), layers)
    except ValidationError as error:
        problems = problems_of(error, layers.document.data)
        every = problems + remaining_problems(layers.document, problems)
        raise SpecError(in_order(placed(each, layers.document) for each in every)) from None


def remaining_problems(document: YamlDocument, known: list[Problem]) -> list[Problem]:
    """Violations of the rules by the parts that are valid."""
    data = document.data
    for problem in known:
        data = without_path(data, problem.path)
    try:
        spec = ServeSpec.model_validate(STAND_IN | data)
    except ValidationError:
        return []
    bad = [problem.path for problem in known]
    return [each for each in against_rules(spec) if not any(overlap(each.path, path) for path in bad)]


def against_rules(spec: ServeSpec, facts: Mapping[str, ModelFacts] | None = None) -> list[Problem]:
    """Violations of the rules, even if nothing is known of the model."""
    known = with_flavor(spec, facts)
    problems = rule_problems(decide(known, facts))
    # The requests of an unknown model are a guess, which limits need not allow for.
    return problems if known is spec else [each for each in problems if each.path[:2] != ("resources", "limits")]


def with_flavor(spec: ServeSpec, facts: Mapping[str, ModelFacts] | None = None) -> ServeSpec:
    """The spec, with a stand-in flavor if it is not known."""
    known = spec.flavor is not None or spec.model in (facts or {})
    return spec if known else spec.model_copy(update={"flavor": "pyfunc"})


def without_path(data: Any, path: Path) -> Any:
    """The data without the value at the path."""
    whole = copy.copy(data)
    head, below = path[0] if path else None, path[1:]
    if isinstance(data, dict) and head in data:
        if below:
            whole[head] = without_path(data[head], below)
        else:
            del whole[head]
    elif isinstance(data, list) and isinstance(head, int) and head < len(data):
        # Without the item the others would have other positions: the list goes as a whole.
        return []
    return whole


def overlap(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sorted by their lines, without repetitions."""
    return sorted(dict.fromkeys(problems), key=lambda each: (each.source or "", each.line or 0))


def placed(problem: Problem, document: YamlDocument) -> Problem:
    """The problem with its position in the file."""
    place = document.position(problem.path)
    if place is None or problem.line is not None:
        return problem
    depth = next(n for n in range(len(problem.path), -1, -1) if problem.path[:n] in document.positions)
    return Problem((*place.path, *problem.path[depth:]), problem.message, place.line, place.source)
