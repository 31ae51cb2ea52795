"""Rules about scaling: each scaler supports some settings, and silently ignores the others."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.problems import Problem, problem
from generator.scaler import RESOURCES, min_pods
from generator.spec.values import seconds

HOUR = 3600
MAX_LATENCY = 30  # seconds: the largest bucket of the histogram
KEDA_HPA, LABEL = "keda-hpa-", 63
ONLY_KNATIVE = ("target_utilization", "window", "initial_scale")
PROMETHEUS_RULES = ("rps", "concurrency", "latency", "queries")
# Annotations that duplicate a field.
FIELD_OF = {
    "autoscaling.knative.dev/min-scale": "replicas.min",
    "autoscaling.knative.dev/max-scale": "replicas.max",
    "autoscaling.knative.dev/class": "scaling.by",
    "autoscaling.knative.dev/metric": "scaling.concurrency or scaling.rps",
    "autoscaling.knative.dev/target": "scaling.concurrency or scaling.rps",
    "autoscaling.knative.dev/target-utilization-percentage": "scaling.target_utilization",
    "autoscaling.knative.dev/window": "scaling.window",
    "autoscaling.knative.dev/initial-scale": "scaling.initial_scale",
    "autoscaling.knative.dev/scale-down-delay": "scaling.scale_down_delay",
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "scaling.cooldown",
}


def replicas(plan: ManifestPlan) -> Iterator[Problem]:
    count = plan.spec.replicas
    if count.max is not None and count.min > count.max:
        yield problem("replicas.min", f"{count.min} is more than replicas.max ({count.max})")
    for key in plan.spec.annotations:
        if key in FIELD_OF:
            yield Problem(("annotations", key), f"set {FIELD_OF[key]} instead")


def mode(plan: ManifestPlan) -> Iterator[Problem]:
    """Scalers that a mode supports."""
    by = plan.spec.scaling.by
    if not plan.knative and by == "knative":
        yield problem("scaling.by", "Knative scales in mode: Knative only: expected hpa, keda, none or external")
    if plan.knative and by in ("keda", "external"):
        yield problem("scaling.by", "Knative scales its own revisions: expected knative or hpa, or mode: Standard")
    if plan.knative and by == "none":
        yield problem(
            "scaling.by", "Knative always scales: for a fixed number set replicas.min and replicas.max to the same"
        )


def knative(plan: ManifestPlan) -> Iterator[Problem]:
    """Knative supports a single rule, of certain kinds."""
    scaling = plan.spec.scaling
    if not plan.knative:
        return
    for name in scaling.rules:
        if name == "memory":
            yield problem(
                "scaling.memory", "Knative counts it in MiB, of which KServe allows at most 100: expected cpu"
            )
        elif name in ("latency", "queries"):
            yield problem(
                f"scaling.{name}", "Knative does not support it: expected concurrency or rps, or mode: Standard"
            )
        elif name not in (("cpu",) if plan.scaler == "hpa" else ("concurrency", "rps")):
            yield problem(
                f"scaling.{name}", f"is not supported with by: {plan.scaler} in Knative: leave out one of them"
            )
    if len(scaling.rules) > 1:
        yield problem(
            f"scaling.{scaling.rules[1]}",
            f"Knative supports one rule, not {' and '.join(scaling.rules)}: keep only one, or use mode: Standard",
        )
    if plan.scaler == "hpa":
        for name in ("target_utilization", "scale_down_delay", "cooldown"):
            if getattr(scaling, name) is not None:
                yield problem(f"scaling.{name}", "is for concurrency and rps, not for cpu: leave out one of them")
        if plan.spec.replicas.min == 0:
            yield problem(
                "replicas.min", "Knative scales to zero with concurrency or rps only, not with cpu: expected 1 or more"
            )


def knative_numbers(plan: ManifestPlan) -> Iterator[Problem]:
    """Limits of Knative's settings."""
    spec, scaling = plan.spec, plan.spec.scaling
    if not plan.knative:
        return
    hard = spec.container_concurrency
    if hard and scaling.concurrency and scaling.concurrency > hard:
        yield problem(
            "scaling.concurrency",
            f"{scaling.concurrency} is never reached: container_concurrency allows {hard}",
        )
    for name, least in (("window", 6), ("scale_down_delay", 0), ("cooldown", 0)):
        value = getattr(scaling, name)
        if value is not None and not (least <= seconds(value) <= HOUR and seconds(value).is_integer()):
            yield problem(
                f"scaling.{name}", f"{value} is not valid in Knative: expected whole seconds from {least}s to 1h"
            )
    if scaling.initial_scale is not None and scaling.initial_scale > plan.max_replicas:
        yield problem(
            "scaling.initial_scale", f"{scaling.initial_scale} is more than replicas.max ({plan.max_replicas})"
        )


def standard(plan: ManifestPlan) -> Iterator[Problem]:
    """Settings that only some scalers of Deployments support."""
    scaling = plan.spec.scaling
    if plan.knative:
        return
    for name in ONLY_KNATIVE:
        if getattr(scaling, name) is not None:
            yield problem(f"scaling.{name}", "only Knative supports it: leave it out, or use mode: Knative")
    if plan.scaler == "hpa":
        for name in scaling.rules:
            if name not in RESOURCES:
                yield problem(
                    f"scaling.{name}", "KServe's HorizontalPodAutoscaler supports cpu and memory: expected by: keda"
                )
        for name in ("scale_down_delay", "cooldown"):
            if getattr(scaling, name) is not None:
                yield problem(
                    f"scaling.{name}", "KServe does not set it on a HorizontalPodAutoscaler: expected by: keda"
                )
    if plan.scaler in ("none", "external"):
        reason = "nothing scales" if plan.scaler == "none" else "something else scales"
        for name in [*scaling.rules, "scale_down_delay", "cooldown"]:
            if getattr(scaling, name) is not None:
                yield problem(f"scaling.{name}", f"{reason} with by: {plan.scaler}: leave out one of them")


def fixed(plan: ManifestPlan) -> Iterator[Problem]:
    """A fixed number of pods."""
    spec = plan.spec
    if plan.scaler == "none" and not plan.knative:
        if min_pods(spec) == 0:
            yield problem(
                "replicas.min",
                "nothing scales, so there would never be a pod: expected 1 or more, or the annotation "
                "serving.kserve.io/stop: 'true' to stop the serve",
            )
        if spec.replicas.max not in (None, spec.replicas.min):
            yield problem("replicas.max", "nothing scales, so replicas.min is the number of pods: leave it out")


def zero(plan: ManifestPlan) -> Iterator[Problem]:
    """Scaling to zero, and what scales up again."""
    spec = plan.spec
    if plan.knative or min_pods(spec) > 0:
        return
    rules = plan.scaling.rules
    if plan.canary:
        yield problem(
            "replicas.min", "KServe would leave the canary without a pod: expected 1 or more during a rollout"
        )
    if plan.scaler == "hpa":
        yield problem(
            "replicas.min",
            "a HorizontalPodAutoscaler treats 0 as 1: expected 1, mode: Knative, or by: keda with queries or a "
            "schedule",
        )
    if plan.scaler != "keda" or "queries" in rules:
        return
    if plan.clock == "jobs" and set(rules) <= RESOURCES:
        yield problem(
            "replicas.min",
            "KEDA does not scale to zero by cpu or memory only: expected 1 or more, or a rule such as rps or queries",
        )
    elif not any(count > 0 for count in (spec.replicas.min, *(window.min for window in spec.scaling.schedule))):
        yield problem(
            "replicas.min",
            f"nothing would scale it up: without pods there is no {' and '.join(rules)} to measure. Expected 1 or "
            "more, scaling.queries that do not depend on the pods, a schedule, or mode: Knative, which holds requests",
        )


def keda(plan: ManifestPlan) -> Iterator[Problem]:
    """Requirements and limits of KEDA."""
    spec, scaling = plan.spec, plan.spec.scaling
    if plan.knative or plan.scaler != "keda":
        return
    queried = [name for name in PROMETHEUS_RULES if name in scaling.rules]
    if queried and plan.scaling.prometheus is None:
        yield problem(
            "scaling.prometheus",
            f"KEDA queries Prometheus for {' and '.join(queried)}: expected its URL here or in monitoring.prometheus, "
            "such as http://prometheus-operated.monitoring:9090",
        )
    scraped = [name for name in queried if name != "queries"]
    if scraped and spec.monitoring.scrape == "off":
        yield problem(
            "monitoring.scrape",
            f"Prometheus must scrape the metrics for {' and '.join(scraped)}: expected another value than off",
        )
    if scaling.latency and not 0 < seconds(scaling.latency.below) <= MAX_LATENCY:
        yield problem(
            "scaling.latency.below", f"is outside the histogram: expected more than 0s and at most {MAX_LATENCY}s"
        )
    if scaling.scale_down_delay and not (seconds(scaling.scale_down_delay) <= HOUR and whole(scaling.scale_down_delay)):
        yield problem("scaling.scale_down_delay", f"{scaling.scale_down_delay}: expected whole seconds up to 1h")
    name = spec.name if plan.scaled_object == "us" else plan.workload
    if len(KEDA_HPA + name) > LABEL:
        yield problem(
            "name", f"KEDA calls its autoscaler {KEDA_HPA}{name}, which is longer than {LABEL} characters: shorten it"
        )


def cooldown(plan: ManifestPlan) -> Iterator[Problem]:
    """Rules about the cooldown before scaling to zero."""
    scaling, where = plan.spec.scaling, "scaling.cooldown"
    if scaling.cooldown is None:
        return
    if plan.scaler in ("knative", "keda") and min_pods(plan.spec) > 0:
        yield problem(
            where, "applies to scaling to zero, and replicas.min is more: leave it out, or set replicas.min: 0"
        )
    if plan.scaler != "keda" or plan.knative:
        return
    if not whole(scaling.cooldown):
        yield problem(where, f"{scaling.cooldown}: expected whole seconds")
    if plan.clock == "jobs":
        yield problem(
            where,
            "works with a schedule only if KEDA runs it: leave out cpu, memory and max of the windows",
        )
    elif RESOURCES & set(scaling.rules):
        yield problem(
            where,
            "needs a separate ScaledObject, which KEDA refuses with cpu or memory before the Deployment exists: leave "
            "out one of them",
        )


def whole(duration: str) -> bool:
    return seconds(duration).is_integer()


RULES = (
    replicas, mode, knative, knative_numbers, standard, fixed, zero, keda, cooldown
)  # fmt: skip
