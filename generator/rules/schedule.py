"""Rules about a schedule: windows that cannot work, have no effect, or contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from generator.plan import ManifestPlan
from generator.problems import Problem, problem
from generator.spec.cron import parse
from generator.spec.scaling import Window

MAX_NAME = 52  # characters in the name of a CronJob


def followed(plan: ManifestPlan) -> Iterator[Problem]:
    """Scalers that support a schedule."""
    spec = plan.spec
    if not spec.scaling.schedule:
        return
    if plan.knative:
        yield problem(
            "scaling.schedule",
            "Knative would make a new revision, and restart all pods, whenever the numbers change: leave it out, or "
            "use mode: Standard",
        )
    elif plan.scaler == "external":
        yield problem("scaling.schedule", "an external scaler does not know it: expected by: hpa, keda or none")
    room = MAX_NAME - len(f"-scale-{len(spec.scaling.schedule)}-start")
    if plan.clock == "jobs" and len(spec.name) > room:
        yield problem("name", f"is too long for the jobs of a schedule: expected at most {room} characters")


def windows(plan: ManifestPlan) -> Iterator[Problem]:
    """Rules about single windows."""
    spec = plan.spec
    usual = (spec.replicas.min, plan.max_replicas)
    for position, window in enumerate(spec.scaling.schedule):
        if plan.scaler == "none" and window.max not in (None, window.min):
            yield at(position, "max", "nothing scales, so min is the number of pods: leave it out")
        maximum = plan.max_replicas if window.max is None else window.max
        if parse(window.start) == parse(window.end):
            yield at(position, "end", "is the same as start: expected another time")
        if plan.scaler != "none" and window.min > maximum:
            yield at(position, "min", f"{window.min} is more than the maximum of {maximum}")
        if (window.min, maximum if plan.scaler != "none" else usual[1]) == usual:
            yield at(position, "min", "changes nothing: the numbers are those of replicas")
        canary = spec.canary.replicas if spec.canary and plan.canary else None
        if plan.clock == "jobs" and canary is not None and canary > max(window.min, 1):
            yield problem(
                "canary.replicas", f"KServe would refuse the window with {window.min}: expected at most that many"
            )


def contradictions(plan: ManifestPlan) -> Iterator[Problem]:
    """Jobs that run at the same moment, in undefined order."""
    schedule = plan.spec.scaling.schedule
    if plan.clock != "jobs":
        return
    for (one, first), (other, second) in combinations(enumerate(schedule), 2):
        if first.timezone == second.timezone and parse(first.start).meets(parse(second.start)):
            yield at(other, "start", f"scaling.schedule[{one}] starts at the same moment: expected one of them")
    for one, first in enumerate(schedule):
        for other, second in enumerate(schedule):
            if one != other and overlaps_sometimes(first, second):
                yield at(
                    one,
                    "end",
                    f"is the start of scaling.schedule[{other}] on some days only: expected all of them, or none",
                )


def overlaps_sometimes(first: Window, second: Window) -> bool:
    """Whether the end of the first is the start of the second on some days only."""
    end, start = parse(first.end), parse(second.start)
    return first.timezone == second.timezone and end.meets(start) and not end.within(start)


def at(position: int, name: str, message: str) -> Problem:
    return Problem(("scaling", "schedule", position, name), message)


RULES = (followed, windows, contradictions)
