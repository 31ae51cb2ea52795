"""From what is written to a spec, or to everything that is wrong with it, each with its line. No I/O here."""

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
from generator.specfile.yaml_text import Written, read

STAND_IN: dict[str, Any] = {"name": "name", "model": "models:/model/1"}


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A spec as it was written, for one environment."""

    spec: ServeSpec
    layers: Layered

    def placed(self, error: SpecError) -> SpecError:
        """The same problems, with their lines."""
        return SpecError(in_order(placed(each, self.layers.written) for each in error.problems))


def read_spec(text: str, environment: str | None = None, source: str = "spec") -> ServeSpec:
    """The spec that a YAML text says; SpecError has everything that is wrong, with lines."""
    return spec_file(read(text, source), environment).spec


def spec_file(
    file: Written, environment: str | None = None, shared: Written | None = None, flags: Iterable[Written] = ()
) -> SpecFile:
    """The spec that all layers say together. Raises SpecError, also with what the rules find if they can."""
    if found := [each for written in (shared, file) if written for each in misshapen(written)]:
        raise SpecError(found)
    layers = layered(file, environment, shared, flags)
    try:
        return SpecFile(ServeSpec.model_validate(layers.written.data), layers)
    except ValidationError as error:
        found = problems_of(error, layers.written.data)
        every = found + rest(layers.written, found)
        raise SpecError(in_order(placed(each, layers.written) for each in every)) from None


def rest(written: Written, found: list[Problem]) -> list[Problem]:
    """What the rules say of the parts that are valid."""
    data = written.data
    for problem in found:
        data = cut(data, problem.path)
    try:
        spec = ServeSpec.model_validate(STAND_IN | data)
    except ValidationError:
        return []
    bad = [problem.path for problem in found]
    return [each for each in against_rules(spec) if not any(related(each.path, path) for path in bad)]


def against_rules(spec: ServeSpec, facts: Mapping[str, ModelFacts] | None = None) -> list[Problem]:
    """What the rules say, also of a model of which nothing is known."""
    known = stood_in(spec, facts)
    found = rule_problems(decide(known, facts))
    # What a model of which nothing is known asks for is a guess that no limit has to bear.
    return found if known is spec else [each for each in found if each.path[:2] != ("resources", "limits")]


def stood_in(spec: ServeSpec, facts: Mapping[str, ModelFacts] | None = None) -> ServeSpec:
    """The spec with a flavor, if nobody knows it."""
    known = spec.flavor is not None or spec.model in (facts or {})
    return spec if known else spec.model_copy(update={"flavor": "pyfunc"})


def cut(data: Any, path: Path) -> Any:
    """The data without what stands at the path."""
    whole = copy.copy(data)
    head, below = path[0] if path else None, path[1:]
    if isinstance(data, dict) and head in data:
        if below:
            whole[head] = cut(data[head], below)
        else:
            del whole[head]
    elif isinstance(data, list) and isinstance(head, int) and head < len(data):
        # Without the item the others would have other positions: the list goes as a whole.
        return []
    return whole


def related(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """As they stand in the file, each once."""
    return sorted(dict.fromkeys(problems), key=lambda each: (each.source or "", each.line or 0))


def placed(problem: Problem, written: Written) -> Problem:
    """The problem where it stands in the file."""
    place = written.place(problem.path)
    if place is None or problem.line is not None:
        return problem
    depth = next(n for n in range(len(problem.path), -1, -1) if problem.path[:n] in written.places)
    return Problem((*place.path, *problem.path[depth:]), problem.message, place.line, place.source)
