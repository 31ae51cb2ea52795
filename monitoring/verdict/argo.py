"""The gates as an AnalysisTemplate of Argo Rollouts, whose queries have Prometheus compute the same e-values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from monitoring.verdict.comparison import Bounds, gate_bounds
from monitoring.verdict.counts import OURS, REFUSED
from monitoring.verdict.evalues import HIGHER, LOWER, Mixture
from monitoring.verdict.gates import Gates
from monitoring.verdict.latency import NEGLIGIBLE

ARGUMENTS = {
    "prometheus": "http://prometheus.monitoring:9090",
    "baseline": None,
    "candidate": None,
    "window": "20m",
    "slow-seconds": "0.1",
    "dispersion": "1",
}
"""Arguments with their values; a Rollout must give those without one."""
INTERVAL, LOOKS = "30s", 40
MIN_REQUESTS = 20
"""Requests of a minute below which the guard says nothing."""
PREDICTIONS, ERRORS = "model_predictions_total", "model_prediction_errors_total"
LATENCY = "model_prediction_latency_seconds"
WINDOW = "{{args.window}}"
ArmName = Literal["baseline", "candidate"]


@dataclass(frozen=True, slots=True)
class CountQuery:
    """A count of requests: the growth of one counter, less that of another. Each is a name and its matchers."""

    counter: tuple[str, str]
    less: tuple[str, str] | None = None

    def of(self, arm: ArmName, window: str = WINDOW) -> str:
        first = grown(*self.counter, arm, window)
        return f"({first} - {grown(*self.less, arm, window)})" if self.less else first


REQUESTS = CountQuery((PREDICTIONS, ""))
REFUSALS = CountQuery((ERRORS, f'error_type="{REFUSED}"'))
ACCEPTED = CountQuery(REQUESTS.counter, REFUSALS.counter)
FAILURES = CountQuery((ERRORS, f'error_type=~"{"|".join(OURS)}"'))
ANSWERS = CountQuery((f"{LATENCY}_count", ""))
SLOW = CountQuery(ANSWERS.counter, (f"{LATENCY}_bucket", 'le="{{args.slow-seconds}}"'))
FAILED_RELOADS = CountQuery(("model_reloads_total", 'outcome="failed"'))


def analysis_template(gates: Gates, name: str = "candidate") -> str:
    """The template as YAML. `baseline` and `candidate` match the arms' series; `window` reaches back to the start."""
    arguments = [{"name": each} | ({} if value is None else {"value": value}) for each, value in ARGUMENTS.items()]
    template = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": name},
        "spec": {"args": arguments, "metrics": list(metrics(gates))},
    }
    return str(yaml.safe_dump(template, sort_keys=False, width=120))


def metrics(gates: Gates) -> Iterator[dict[str, Any]]:
    bounds = gate_bounds("errors", gates, gates.margin, gates.error_slo)
    yield failing("errors", FAILURES, ACCEPTED, bounds)
    yield passing("errors", FAILURES, ACCEPTED, bounds)
    if gates.error_guard is not None:
        failures, every = (each.of("candidate", "1m") for each in (FAILURES, ACCEPTED))
        query = f"{failures} / ({every} >= {MIN_REQUESTS}) or vector(0)"
        yield metric("error-guard", query, failureCondition=f"result[0] > {gates.error_guard:g}")
    if gates.refused:
        bounds = gate_bounds("refused inputs", gates, gates.margin, gates.error_slo)
        yield failing("refused-inputs", REFUSALS, REQUESTS, bounds)
    if gates.latency_margin is not None:
        bounds = gate_bounds("latency", gates, gates.latency_margin, NEGLIGIBLE)
        yield failing("latency", SLOW, ANSWERS, bounds)
        yield passing("latency", SLOW, ANSWERS, bounds)
    reloads = FAILED_RELOADS.of("candidate")
    yield metric("failed-reloads", reloads, failureCondition=f"result[0] > {gates.max_failed_reloads + 0.5:g}")


def failing(gate: str, bad: CountQuery, every: CountQuery, bounds: Bounds) -> dict[str, Any]:
    query = ratio_query(bad, every, bounds.margin, HIGHER)
    return metric(f"{gate}-against", query, failureCondition=f"result[0] >= {bounds.fails_at:.4g}")


def passing(gate: str, bad: CountQuery, every: CountQuery, bounds: Bounds) -> dict[str, Any]:
    """Inconclusive until it passes, and then done. The mean of two e-values is one."""
    low = share_query(bad, every, bounds.enough, LOWER)
    close = ratio_query(bad, every, bounds.tolerance, LOWER)
    until = {"failureCondition": "false", "consecutiveSuccessLimit": 1, "inconclusiveLimit": LOOKS}
    condition = f"result[0] >= {bounds.passes_at:.4g}"
    return metric(f"{gate}-in-favour", f"(({low}) + ({close})) / 2", successCondition=condition, **until)


def metric(name: str, query: str, **conditions: Any) -> dict[str, Any]:
    provider = {"prometheus": {"address": "{{args.prometheus}}", "query": query}}
    return {"name": name, "interval": INTERVAL, "count": LOOKS, **conditions, "provider": provider}


def ratio_query(bad: CountQuery, every: CountQuery, ratio: float, mixture: Mixture) -> str:
    """As `ratio_evidence` has it, for one window from the start on."""
    before, after = every.of("baseline"), every.of("candidate")
    bad_after, both = bad.of("candidate"), f"({bad.of('baseline')} + {bad.of('candidate')})"
    return mixed_query([
        (weight, f"{bad_after} * ln(vector({factor:g})) - {both} * "
         f"ln(({before} + {ratio * factor:g} * {after}) / ({before} + {ratio:g} * {after}))")
        for factor, weight in mixture
    ])  # fmt: skip


def share_query(bad: CountQuery, every: CountQuery, share: float, mixture: Mixture) -> str:
    """As `share_evidence` has it."""
    wrong, right = bad.of("candidate"), f"({every.of('candidate')} - {bad.of('candidate')})"
    logs = []
    for factor, weight in mixture:
        odds = factor * share / (1 - share)
        alternative = odds / (1 + odds)
        ratios = alternative / share, (1 - alternative) / (1 - share)
        logs.append((weight, f"{wrong} * ln(vector({ratios[0]:.12g})) + {right} * ln(vector({ratios[1]:.12g}))"))
    return mixed_query(logs)


def mixed_query(logs: list[tuple[float, str]]) -> str:
    return " + ".join(f"{weight:g} * exp(({log}) / {{{{args.dispersion}}}})" for weight, log in logs)


def grown(counter: str, matchers: str, arm: ArmName, window: str) -> str:
    """The growth of a counter over all pods; 0 where there is none yet."""
    selector = ",".join(each for each in (f"{{{{args.{arm}}}}}", matchers) if each)
    return f"(sum(increase({counter}{{ {selector} }}[{window}])) or vector(0))"
