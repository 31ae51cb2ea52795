"""Decisions about scaling: the scaler, its rule, and what runs the schedule."""

from __future__ import annotations

from typing import Literal

from generator.spec import ServeSpec
from generator.spec.scaling import Scaling
from generator.spec.values import quantity

Scaler = Literal["knative", "hpa", "keda", "none", "external"]
Clock = Literal["triggers", "jobs"]
Maker = Literal["KServe", "us"]
RESOURCES = {"cpu", "memory"}
IN_FLIGHT_PER_CORE = 10  # requests per core; more of them only wait
SET_IN_SPEC = "set in the spec"


def min_pods(spec: ServeSpec) -> int:
    """The lowest number of pods at any time."""
    return min([spec.replicas.min, *(window.min for window in spec.scaling.schedule)])


def scaler_of(spec: ServeSpec) -> tuple[Scaler, str]:
    scaling = spec.scaling
    rules = set(scaling.rules)
    if scaling.by != "auto":
        return scaling.by, SET_IN_SPEC
    if spec.mode == "Knative":
        if rules and rules <= RESOURCES:
            return "hpa", f"Knative scales by {' and '.join(scaling.rules)} only with a HorizontalPodAutoscaler"
        return "knative", "Knative scales its own revisions"
    if beyond := [rule for rule in scaling.rules if rule not in RESOURCES]:
        return "keda", f"{' and '.join(beyond)} is not supported by KServe's HorizontalPodAutoscaler"
    if min_pods(spec) == 0:
        return "keda", "a HorizontalPodAutoscaler never scales to zero"
    for name in ("scale_down_delay", "cooldown"):
        if getattr(scaling, name) is not None:
            return "keda", f"KServe has no {name} for a HorizontalPodAutoscaler"
    return "hpa", "the autoscaler of Kubernetes, for cpu and memory"


def clock_of(spec: ServeSpec, scaler: Scaler) -> tuple[Clock, str]:
    """What starts and ends the windows of a schedule."""
    windows = spec.scaling.schedule
    if scaler != "keda":
        return "jobs", "only KEDA has a clock of its own"
    if any(window.max is not None for window in windows):
        return "jobs", "KEDA's clock has no maximum"
    if any(window.min < spec.replicas.min for window in windows):
        return "jobs", "KEDA's clock only raises the number of pods"
    if RESOURCES & set(spec.scaling.rules):
        return "jobs", "KEDA accepts a separate ScaledObject with cpu or memory only once the Deployment exists"
    return "triggers", "KEDA has a clock of its own"


def maker_of(spec: ServeSpec, clock: Clock | None) -> tuple[Maker, str]:
    """Whether KServe or the generator makes KEDA's ScaledObject."""
    if clock == "triggers":
        return "us", "KServe passes no cron triggers on to KEDA"
    if spec.scaling.cooldown is not None:
        return "us", "KServe passes no cooldown on to KEDA"
    return "KServe", "it supports all of these settings, and follows promotions by itself"


def rule_of(spec: ServeSpec, scaler: Scaler, clock: Clock | None, cores: str) -> tuple[str, int, str] | None:
    """The default rule, if the spec has none: its name, value and reason."""
    if spec.scaling.rules or scaler in ("none", "external") or clock == "triggers":
        return None
    if scaler != "knative":
        return "cpu", 70, "leaves room for the load while new pods start"
    if spec.container_concurrency:
        return None  # Knative aims for a share of it
    return (
        "concurrency",
        max(1, round(IN_FLIGHT_PER_CORE * quantity(cores))),
        f"{IN_FLIGHT_PER_CORE} concurrent requests per core; more of them only wait",
    )


def completed(spec: ServeSpec, rule: tuple[str, int, str] | None) -> Scaling:
    """The scaling of the spec with defaults: the rule, and the address of Prometheus."""
    update: dict[str, object] = {"prometheus": spec.scaling.prometheus or spec.monitoring.prometheus}
    return spec.scaling.model_copy(update=update | ({rule[0]: rule[1]} if rule else {}))


def max_of(spec: ServeSpec, scaler: Scaler) -> tuple[int, str]:
    if spec.replicas.max is not None:
        return spec.replicas.max, SET_IN_SPEC
    if scaler == "none":
        return max(spec.replicas.min, 1), "without a scaler, the same as replicas.min"
    most = max([5, spec.replicas.min, *(window.min for window in spec.scaling.schedule)])
    return most, "five, or more if replicas.min or the schedule needs more"
