"""The rules that a spec has to keep beyond its types: what a cluster would refuse, or silently ignore, is refused here.

`problems_of` is the door; each module has the rules about one subject.
"""

from __future__ import annotations

from generator.plan import ManifestPlan
from generator.problems import Problem
from generator.rules import canary, mode, model, overrides, pods, prediction_log, scaling, schedule, surroundings

SUBJECTS = (mode, canary, model, pods, overrides, surroundings, prediction_log, scaling, schedule)


def problems_of(plan: ManifestPlan) -> list[Problem]:
    """All violations, in the order of the rules; of those of a canary's serve, the ones that only it has."""
    own = [problem for subject in SUBJECTS for rule in subject.RULES for problem in rule(plan)]
    known = {(each.path, each.message) for each in own}
    for (path, _), behind in zip(canary.positions(plan), plan.behind, strict=False):
        own += [
            Problem((*path, *each.path), each.message)
            for each in problems_of(behind)
            if (each.path, each.message) not in known
        ]
    return own
