"""The rules that a spec has to keep beyond its types: what a cluster would refuse, or silently ignore, is refused here.

`problems_of` is the door; each module has the rules about one subject.
"""

from __future__ import annotations

from generator.plan import ManifestPlan
from generator.problems import Problem
from generator.rules import canary, mode, model, pods, prediction_log, scaling, schedule, surroundings

SUBJECTS = (mode, canary, model, pods, surroundings, prediction_log, scaling, schedule)


def problems_of(plan: ManifestPlan) -> list[Problem]:
    """All violations, in the order of the rules."""
    return [problem for subject in SUBJECTS for rule in subject.RULES for problem in rule(plan)]
