"""What goes together and what does not: refused here before a cluster refuses it, or silently ignores it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from generator.plan import Plan
from generator.problems import Problem, problem

Rule = Callable[[Plan], Iterator[Problem]]


def knative(plan: Plan) -> Iterator[Problem]:
    """What only Deployments have."""
    spec = plan.spec
    if not plan.knative:
        return
    if spec.rolling:
        yield problem(
            "rolling", "KServe refuses a deployment strategy in Knative mode: leave it out, or use mode: Standard"
        )
    if spec.revision:
        yield problem("revision", "Knative names revisions by itself: leave it out")


RULES: tuple[Rule, ...] = (knative,)


def problems(plan: Plan) -> list[Problem]:
    """Everything that does not go together."""
    return [found for rule in RULES for found in rule(plan)]
