"""Strategies: how a new revision comes to answer the requests, as it is said, and as the steps that follow from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_serializer, model_validator

from controlplane.domain.bodies import Body
from monitoring.verdict import Gates

Strategy = Literal["rolling", "canary", "linear", "blue-green"]
CANARY_WEIGHTS = (5, 25, 50)
CANARY_STEP, CANARY_LIMIT = 20, 60
"""What step_weight and max_weight are if only the other is said."""
LINEAR_STEP = 10
STEP_SECONDS = 60.0
"""How long a step lasts at least, if nothing is said."""
DEADLINE_SECONDS = 600.0
"""How much longer it may last, if nothing is said."""
KEEP_SECONDS = 600.0
DEFAULT_THRESHOLD = 2
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MAX_SECONDS = 30 * 86400.0
LOOKS = 20
"""Looks at the evidence within the interval of a step, but not more often, and not more seldom, than:"""
MIN_LOOK_SECONDS, MAX_LOOK_SECONDS = 0.5, 60.0
JUDGED = ("interval", "progress_deadline_seconds", "skip_analysis", "gates", "inconclusive", "metrics", "threshold")
FIELDS: dict[Strategy, tuple[str, ...]] = {
    "rolling": ("max_surge", "max_unavailable"),
    "canary": ("steps", "step_weight", "max_weight", *JUDGED),
    "linear": ("step_weight", *JUDGED),
    "blue-green": ("smoke", "interval", "progress_deadline_seconds", "keep"),
}


def in_seconds(value: Any) -> Any:
    """A duration such as 30s, 10m or 1h; a number is seconds."""
    if isinstance(value, bool) or not isinstance(value, str):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        raise ValueError("is no duration: expected such as 30s, 10m or 1h")
    matched = DURATION.fullmatch(value.strip())
    if matched is None:
        raise ValueError("is no duration: expected such as 30s, 10m or 1h")
    return float(matched[1]) * UNITS[matched[2]]


Seconds = Annotated[float, BeforeValidator(in_seconds), Field(ge=0, le=MAX_SECONDS)]
Percent = Annotated[int, Field(strict=True, ge=0, le=100)]


Inconclusive = Literal["rollback", "pause"]


DROPPED_BY_NULL = {"error_guard", "latency_margin"}


class SaidGates(Body):
    """Limits of the verdict that are others than its own; null drops one that can be left out."""

    alpha: float | None = None
    margin: float | None = None
    tolerance: float | None = None
    error_slo: float | None = None
    error_guard: float | None = None
    latency_margin: float | None = None
    warm_up_seconds: Seconds | None = None

    @model_validator(mode="after")
    def said_by_null(self) -> SaidGates:
        for name in self.model_fields_set - DROPPED_BY_NULL:
            if getattr(self, name) is None:
                raise ValueError(
                    f"{name} is null: expected a number; {' and '.join(sorted(DROPPED_BY_NULL))} can be null"
                )
        return self

    @model_serializer
    def said(self) -> dict[str, Any]:
        """What was said: null says something, too."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}

    def gates(self) -> Gates:
        """Raises ValueError for a limit that cannot be used."""
        return Gates(**self.model_dump())


class MetricLimit(Body):
    """A number that a revision must not exceed, checked once in each interval."""

    name: Literal["error-rate", "request-duration"]
    """percent of the requests that fail through the server or the model; milliseconds that 99 % of them take at most"""
    threshold_max: Annotated[float, Field(ge=0)]
    interval: Annotated[Seconds, Field(gt=0)] = 60.0


class SmokeRequest(Body):
    """A request to a revision that gets no others yet; it must be answered with a status below 400."""

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=500)]
    body: dict[str, Any] | None = None
    """sent by POST; without one, it is a GET"""


class SaidStep(Body):
    """A step of a canary with times of its own."""

    weight: Percent
    interval: Seconds | None = None
    progress_deadline_seconds: Seconds | None = None
    skip_analysis: bool = False
    inconclusive: Inconclusive | None = None


class StrategyConfig(Body):
    """How the strategy is carried out; which fields there are depends on it."""

    max_surge: int | str | None = None
    """rolling: pods above the number of replicas"""
    max_unavailable: int | str | None = None
    """rolling: pods that may be missing"""
    steps: Annotated[list[Percent | SaidStep], Field(min_length=1, max_length=100)] | None = None
    """canary: percent of the traffic, step by step; default: 5, 25, 50, 100"""
    step_weight: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """canary, linear: percent that each step adds"""
    max_weight: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """canary: the largest percent before all of the traffic"""
    interval: Seconds | None = None
    """how long each step lasts at least, such as 1m"""
    progress_deadline_seconds: Seconds | None = None
    """how long each step may last at most"""
    skip_analysis: bool | None = None
    """canary, linear: true passes each step after its interval, whatever is counted"""
    gates: SaidGates | None = None
    """canary, linear: limits of the verdict"""
    metrics: Annotated[list[MetricLimit], Field(max_length=10)] | None = None
    """canary, linear: further limits"""
    threshold: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """canary, linear: checks of `metrics` that may fail before the revision does; default: 2"""
    inconclusive: Inconclusive | None = None
    """canary, linear: what a step does at its deadline without a verdict; default: rollback"""
    smoke: Annotated[list[SmokeRequest], Field(max_length=20)] | None = None
    """blue-green: requests that the revision must answer before it gets others"""
    keep: Seconds | None = None
    """blue-green: how long the revision before stays, so that `undo` takes effect at once"""

    def unknown_to(self, strategy: Strategy) -> list[str]:
        """Fields that are said, and that the strategy does not have."""
        return [name for name, value in self if value is not None and name not in FIELDS[strategy]]


class PlannedStep(Body):
    """A share of the traffic, and how long it lasts."""

    weight: int
    """percent"""
    interval: float
    deadline: float
    judged: bool = False
    """whether it takes a verdict to pass"""
    inconclusive: Inconclusive = "rollback"

    @property
    def look_interval(self) -> float:
        return min(max(self.interval / LOOKS, MIN_LOOK_SECONDS), MAX_LOOK_SECONDS)


class TrafficPlan(Body):
    """The steps before a new revision gets all requests."""

    strategy: Strategy
    steps: tuple[PlannedStep, ...]
    keep: float = 0.0
    gates: SaidGates = SaidGates()
    metrics: tuple[MetricLimit, ...] = ()
    threshold: int = DEFAULT_THRESHOLD
    smoke: tuple[SmokeRequest, ...] = ()


def plan_of(strategy: Strategy, said: StrategyConfig) -> TrafficPlan:
    """What follows from a strategy. Raises ValueError, which says what is wrong."""
    if unknown := said.unknown_to(strategy):
        raise ValueError(f"{unknown[0]} is not a field of {strategy}: expected {', '.join(FIELDS[strategy])}")
    gates = said.gates or SaidGates()
    gates.gates()
    if strategy == "blue-green":
        return TrafficPlan(
            strategy=strategy,
            steps=(planned(SaidStep(weight=0, interval=said.interval or 0.0), said, judged=bool(said.smoke)),),
            keep=KEEP_SECONDS if said.keep is None else said.keep,
            smoke=tuple(said.smoke or ()),
        )
    judged = not said.skip_analysis
    return TrafficPlan(
        strategy=strategy,
        steps=tuple(planned(each, said, judged) for each in said_steps(strategy, said) if each.weight < 100),
        gates=gates,
        metrics=tuple(said.metrics or ()),
        threshold=said.threshold or DEFAULT_THRESHOLD,
    )


def said_steps(strategy: Strategy, said: StrategyConfig) -> Iterator[SaidStep]:
    """The steps in their order, the last one that gets everything too if it is said."""
    if strategy == "rolling":
        return
    if said.steps is not None:
        if said.step_weight is not None or said.max_weight is not None:
            raise ValueError("steps are said, and step_weight or max_weight too: expected one of the two")
        steps = [each if isinstance(each, SaidStep) else SaidStep(weight=each) for each in said.steps]
        weights = [each.weight for each in steps]
        if weights != sorted(set(weights)):
            raise ValueError(f"steps are {weights}: expected percents that rise")
        yield from steps
    elif strategy == "canary" and said.step_weight is None and said.max_weight is None:
        yield from (SaidStep(weight=weight) for weight in CANARY_WEIGHTS)
    else:
        step = said.step_weight or (LINEAR_STEP if strategy == "linear" else CANARY_STEP)
        last = said.max_weight or (100 if strategy == "linear" else CANARY_LIMIT)
        if step > last:
            raise ValueError(f"step_weight {step} is more than max_weight {last}")
        yield from (SaidStep(weight=weight) for weight in range(step, last + 1, step))


def planned(step: SaidStep, said: StrategyConfig, judged: bool) -> PlannedStep:
    interval = next(each for each in (step.interval, said.interval, STEP_SECONDS) if each is not None)
    deadline = step.progress_deadline_seconds or said.progress_deadline_seconds or interval + DEADLINE_SECONDS
    if deadline < interval:
        raise ValueError(f"a step lasts {interval:g} s, which is longer than its deadline of {deadline:g} s")
    return PlannedStep(
        weight=step.weight, interval=interval, deadline=deadline, judged=judged and not step.skip_analysis,
        inconclusive=step.inconclusive or said.inconclusive or "rollback",
    )  # fmt: skip


class Promotion(Body):
    """The body of `promote`."""

    full: bool = False
    """all of the traffic; otherwise the next step"""
