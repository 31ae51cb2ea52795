"""The gates for Argo Rollouts: a template of the form that Argo documents, with queries that give the verdict's own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from monitoring.objectives import LatencyObjective
from monitoring.verdict import Gates, analysis_template
from monitoring.verdict.evalues import HIGHER, LOWER, ArmSeries, ratio_evidence, share_evidence
from tests.monitoring.promtool import promtool

MINUTES = 20
ARMS = {"baseline": (1425, 7), "candidate": (75, 2)}
"""Requests and errors by the minute."""
ARGUMENTS = {"window": f"{MINUTES}m", "slow-seconds": "0.1", "dispersion": "2"}


class Strict(BaseModel):
    """What Argo Rollouts documents of an AnalysisTemplate, as far as ours uses it."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Argument(Strict):
    name: str
    value: str | None = None


class PrometheusProvider(Strict):
    address: str
    query: str


class Provider(Strict):
    prometheus: PrometheusProvider


class ArgoMetric(Strict):
    name: str
    interval: str = Field(pattern=r"\d+[smh]")
    count: int
    provider: Provider
    successCondition: str | None = None
    failureCondition: str | None = None
    consecutiveSuccessLimit: int | None = None
    inconclusiveLimit: int | None = None


class TemplateSpec(Strict):
    args: list[Argument]
    metrics: list[ArgoMetric]


class AnalysisTemplate(Strict):
    apiVersion: Literal["argoproj.io/v1alpha1"]
    kind: Literal["AnalysisTemplate"]
    metadata: dict[str, str]
    spec: TemplateSpec


def template(gates: Gates) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(analysis_template(gates, "fraud"))
    return content


def queries(gates: Gates) -> dict[str, str]:
    """By metric, with their arguments filled in."""
    given = ARGUMENTS | {arm: f'pod="{arm}"' for arm in ARMS}
    asked = {each["name"]: each["provider"]["prometheus"]["query"] for each in template(gates)["spec"]["metrics"]}
    for name, value in given.items():
        asked = {metric: query.replace(f"{{{{args.{name}}}}}", value) for metric, query in asked.items()}
    return asked


@pytest.mark.parametrize(
    "gates", [Gates(), Gates(error_guard=None, latency_margin=None, refused=False, latency_guard=LatencyObjective("p99", 0.99, 1))]
)  # fmt: skip
def test_the_template_is_what_argo_takes(gates: Gates) -> None:
    content = template(gates)
    AnalysisTemplate.model_validate(content)
    names = [each["name"] for each in content["spec"]["metrics"]]
    assert len(names) == len(set(names))
    assert ("latency-against" in names) == (gates.latency_margin is not None)


def evaluated(folder: Path, queries: dict[str, str], expected: dict[str, float]) -> None:
    """Has promtool compute the queries."""
    labels = 'model_name="fraud",pod="{arm}"'
    series = {}
    for arm, (requests, errors) in ARMS.items():
        mine = labels.format(arm=arm)
        series[f"model_predictions_total{{{mine}}}"] = requests
        series[f'model_prediction_errors_total{{{mine},error_type="timeout"}}'] = errors
        series[f"model_prediction_latency_seconds_count{{{mine}}}"] = requests - errors
        series[f'model_prediction_latency_seconds_bucket{{{mine},le="0.1"}}'] = requests - 5 * errors
    (folder / "none.yaml").write_text("groups: []\n")
    test = {
        "rule_files": ["none.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": f"0+{each}x{MINUTES + 5}"} for name, each in series.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": f"abs(({queries[name]}) / {value!r} - 1) < bool 1e-5",
                        "eval_time": f"{MINUTES + 2}m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                    for name, value in expected.items()
                ],
            }
        ],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", folder / "test.yaml")


def test_the_queries_compute_the_same_e_values(tmp_path: Path) -> None:
    gates = Gates()
    dispersion = np.array([float(ARGUMENTS["dispersion"])])
    errors = {arm: one_window(bad * MINUTES, every * MINUTES) for arm, (every, bad) in ARMS.items()}
    slow = {arm: one_window(4 * bad * MINUTES, (every - bad) * MINUTES) for arm, (every, bad) in ARMS.items()}
    expected = {
        "errors-against": e_value(ratio_evidence(errors["baseline"], errors["candidate"], gates.margin, HIGHER, dispersion)),
        "errors-in-favour": (
            e_value(share_evidence(errors["candidate"], gates.error_slo, LOWER, dispersion))
            + e_value(ratio_evidence(errors["baseline"], errors["candidate"], gates.tolerance, LOWER, dispersion))
        ) / 2,
        "latency-against": e_value(ratio_evidence(slow["baseline"], slow["candidate"], gates.latency_margin or 0, HIGHER, dispersion)),
        "refused-inputs-against": 1.0,
        "error-guard": 2 / 75,
    }  # fmt: skip
    evaluated(tmp_path, queries(gates), expected)


def one_window(bad: int, every: int) -> ArmSeries:
    return ArmSeries(np.array([float(bad)]), np.array([float(every)]))


def e_value(logs: Any) -> float:
    return float(np.exp(logs[-1]))
