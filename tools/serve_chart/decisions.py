"""Which choices a part of what is rendered depends on: found by rendering, not by reading the generator."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

Assignment = tuple[int, ...]
"""The alternative of each choice."""


@dataclass(frozen=True)
class Undivided:
    """The same under all assignments."""

    content: Hashable


@dataclass(frozen=True)
class Branching:
    """What comes out depends on a choice: groups of its alternatives, each with what follows."""

    choice: int
    branches: tuple[tuple[tuple[int, ...], Branching | Undivided], ...]


def decide(outcomes: Mapping[Assignment, Hashable]) -> Branching | Undivided:
    """The smallest decisions that tell these outcomes apart."""
    if len(set(outcomes.values())) == 1:
        return Undivided(next(iter(outcomes.values())))
    mattering = [index for index in range(len(next(iter(outcomes)))) if matters(outcomes, index)]
    choice = min(mattering, key=lambda index: undecided(outcomes, index))
    followed: dict[Branching | Undivided, list[int]] = {}
    for alternative, part in parts(outcomes, choice).items():
        followed.setdefault(decide(part), []).append(alternative)
    return Branching(choice, tuple((tuple(sorted(group)), after) for after, group in followed.items()))


def matters(outcomes: Mapping[Assignment, Hashable], choice: int) -> bool:
    """Whether two assignments differ in nothing but this choice and have different outcomes."""
    first = min(assignment[choice] for assignment in outcomes)
    nothing = object()
    for assignment, outcome in outcomes.items():
        if assignment[choice] != first:
            neighbour = (*assignment[:choice], first, *assignment[choice + 1 :])
            if outcomes.get(neighbour, nothing) not in (outcome, nothing):
                return True
    return False


def undecided(outcomes: Mapping[Assignment, Hashable], choice: int) -> int:
    """How much a choice leaves open."""
    return sum(len(part) for part in parts(outcomes, choice).values() if len(set(part.values())) > 1)


def parts(outcomes: Mapping[Assignment, Hashable], choice: int) -> dict[int, dict[Assignment, Hashable]]:
    """The outcomes by the alternative of a choice."""
    split: dict[int, dict[Assignment, Hashable]] = {}
    for assignment, outcome in outcomes.items():
        split.setdefault(assignment[choice], {})[assignment] = outcome
    return split
