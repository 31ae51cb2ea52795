"""What the generator renders for the assignments that matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Any

from generator import ServeSpec, SpecError, render
from tools.serve_chart.choices import ALWAYS, Choice, nested, sampled
from tools.serve_chart.decisions import Assignment

DEVIATIONS = 2
"""How many choices deviate from the first alternative at a time, besides those that act together."""
TOGETHER = frozenset({"mode", "replicas", "scaling", "monitoring.prometheus"})
REFUSALS = "refusals"
NO_TARGET = "scaling: expected a rule with resources.cores (Knative): the generator would make one from the cores"

Documents = dict[str, Any]
"""Documents by kind and name; or under REFUSALS why there are none."""


def assignments(choices: Sequence[Choice]) -> Iterator[Assignment]:
    """All that act together in all ways, each with one of the others; and any two."""
    yielded: set[Assignment] = set()
    together = [index for index, choice in enumerate(choices) if choice.name in TOGETHER]
    deviating = [
        (index, alternative)
        for index, choice in enumerate(choices)
        for alternative in range(1, len(choice.alternatives))
    ]
    several = [
        [(index, alternative) for index, alternative in zip(together, chosen, strict=True) if alternative]
        for chosen in product(*(range(len(choices[index].alternatives)) for index in together))
    ]
    alone = [[each] for each in deviating if each[0] not in together]
    candidates = [
        *(list(pair) for count in range(DEVIATIONS + 1) for pair in combinations(deviating, count)),
        *several,
        *(one + more for one in several for more in alone),
    ]
    for candidate in candidates:
        assignment = [0] * len(choices)
        for index, alternative in candidate:
            assignment[index] = alternative
        if tuple(assignment) not in yielded:
            yielded.add(tuple(assignment))
            yield tuple(assignment)


def variants(choices: Sequence[Choice], sample: int) -> dict[Assignment, Documents]:
    return {assignment: rendered(spec_fields(choices, assignment, sample)) for assignment in assignments(choices)}


def spec_fields(choices: Sequence[Choice], assignment: Assignment, sample: int) -> dict[str, Any]:
    fields = dict(ALWAYS)
    for choice, alternative in zip(choices, assignment, strict=True):
        fields |= choice.alternatives[alternative].fields
    return nested({path: sampled(content, sample) for path, content in fields.items()})


def rendered(fields: dict[str, Any]) -> Documents:
    if fields["mode"] == "Knative" and "cores" in fields.get("resources", {}) and "scaling" not in fields:
        return {REFUSALS: [NO_TARGET]}
    try:
        resources = render(ServeSpec.model_validate(fields))
    except SpecError as error:
        return {REFUSALS: [str(problem) for problem in error.problems]}
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in resources}
