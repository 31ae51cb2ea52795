"""Who scales, by which rule, and who watches the clock: what a spec leaves open about the number of pods."""

from __future__ import annotations

from typing import Literal

from generator.spec import ServeSpec
from generator.spec.scaling import Scaling
from generator.spec.values import quantity

Scaler = Literal["knative", "hpa", "keda", "none", "external"]
Clock = Literal["triggers", "jobs"]
Maker = Literal["KServe", "us"]
RESOURCES = {"cpu", "memory"}
IN_FLIGHT = 10  # requests for each core: more of them only wait
SAID = "set in the spec"


def lowest(spec: ServeSpec) -> int:
    """The fewest pods that there may be at any time."""
    return min([spec.replicas.min, *(window.min for window in spec.scaling.schedule)])


def scaler_of(spec: ServeSpec) -> tuple[Scaler, str]:
    scaling = spec.scaling
    rules = set(scaling.rules)
    if scaling.by != "auto":
        return scaling.by, SAID
    if spec.mode == "Knative":
        if rules and rules <= RESOURCES:
            return "hpa", f"Knative follows {' and '.join(scaling.rules)} by a HorizontalPodAutoscaler only"
        return "knative", "Knative scales what it runs"
    if beyond := [rule for rule in scaling.rules if rule not in RESOURCES]:
        return "keda", f"{' and '.join(beyond)} cannot be followed by a HorizontalPodAutoscaler of KServe"
    if lowest(spec) == 0:
        return "keda", "a HorizontalPodAutoscaler never goes to zero"
    for name in ("scale_down_delay", "cooldown"):
        if getattr(scaling, name) is not None:
            return "keda", f"KServe has no {name} for a HorizontalPodAutoscaler"
    return "hpa", "Kubernetes' own, which follows cpu and memory"


def clock_of(spec: ServeSpec, scaler: Scaler) -> tuple[Clock, str]:
    """Who begins and ends the windows of a schedule."""
    windows = spec.scaling.schedule
    if scaler != "keda":
        return "jobs", "only KEDA knows the clock itself"
    if any(window.max is not None for window in windows):
        return "jobs", "KEDA's clock knows no max"
    if any(window.min < spec.replicas.min for window in windows):
        return "jobs", "KEDA's clock only raises the number of pods"
    if RESOURCES & set(spec.scaling.rules):
        return "jobs", "KEDA takes a ScaledObject of ours that follows cpu or memory only once the Deployment is there"
    return "triggers", "KEDA knows the clock"


def maker_of(spec: ServeSpec, clock: Clock | None) -> tuple[Maker, str]:
    """Who makes KEDA's ScaledObject."""
    if clock == "triggers":
        return "us", "KServe passes no cron triggers on to KEDA"
    if spec.scaling.cooldown is not None:
        return "us", "KServe passes no cooldown on to KEDA"
    return "KServe", "it passes on all that is asked for, and follows promotions by itself"


def rule_of(spec: ServeSpec, scaler: Scaler, clock: Clock | None, cores: str) -> tuple[str, int, str] | None:
    """The rule when none is said: its name, its value and why."""
    if spec.scaling.rules or scaler in ("none", "external") or clock == "triggers":
        return None
    if scaler != "knative":
        return "cpu", 70, "leaves room for what comes while new pods start"
    if spec.container_concurrency:
        return None  # Knative aims at a part of it
    return (
        "concurrency",
        max(1, round(IN_FLIGHT * quantity(cores))),
        f"{IN_FLIGHT} requests at a time for each core: more than that only wait",
    )


def followed(spec: ServeSpec, rule: tuple[str, int, str] | None) -> Scaling:
    """The scaling of the spec with what it left out: the rule, and where Prometheus is."""
    update: dict[str, object] = {"prometheus": spec.scaling.prometheus or spec.monitoring.prometheus}
    return spec.scaling.model_copy(update=update | ({rule[0]: rule[1]} if rule else {}))


def max_of(spec: ServeSpec, scaler: Scaler) -> tuple[int, str]:
    if spec.replicas.max is not None:
        return spec.replicas.max, SAID
    if scaler == "none":
        return max(spec.replicas.min, 1), "nobody scales, so as many as replicas.min"
    most = max([5, spec.replicas.min, *(window.min for window in spec.scaling.schedule)])
    return most, "five, or as many as replicas.min and the schedule ask for"
