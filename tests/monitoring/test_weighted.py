"""What pods say of their windows as one number, worked out by Prometheus' own tool."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from monitoring.boards.style import revised
from monitoring.weighted import class_shares, weighted_mean
from tests.monitoring.promtool import promtool

FRAUD = '{model_name="fraud"}'


def of(pod: str) -> str:
    """Pods a and b are of the first revision, c is of the second."""
    revision = "00002" if pod == "c" else "00001"
    return f'namespace="ml",pod="fraud-predictor-{revision}-{pod}",model_name="fraud",model_version="3"'


OTHER = of("a").replace("fraud", "churn")
ROWS = {of("a"): 300, of("b"): 100, of("c"): 500, OTHER: 9999, f'{of("b")},job="twice"': 100}
"""Two monitors find the second pod."""


def judged(folder: Path, expr: str, series: dict[str, float], expected: dict[str, float]) -> None:
    """What it is, by the labels that it has."""
    inputs = {f"model_drift_window_rows{{{labels}}}": rows for labels, rows in ROWS.items()} | series
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value}x5"} for name, value in inputs.items()],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": "3m",
                "exp_samples": [{"labels": f"{{{labels}}}", "value": value} for labels, value in expected.items()],
            }
        ],
    }
    (folder / "tests.yaml").write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    promtool("test", "rules", folder / "tests.yaml")


def psi(**pods: float) -> dict[str, float]:
    return {f'model_feature_psi{{{of(pod)},feature="age"}}': value for pod, value in pods.items()}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": 0.5, "b": 0.25}, 0.4375),
        # One has too few rows to say anything: then it has no weight either.
        ({"b": 0.25}, 0.25),
        ({"a": 0.0, "b": 0.0}, 0.0),
        ({}, None),
    ],
    ids=["two", "one", "zero", "none"],
)
def test_a_mean_by_rows(tmp_path: Path, values: dict[str, float], expected: float | None) -> None:
    expr = weighted_mean(f"model_feature_psi{FRAUD}", FRAUD, "feature")
    other = {f'model_feature_psi{{{OTHER},feature="age"}}': 8.0}
    judged(tmp_path, expr, psi(**values) | other, {} if expected is None else {'feature="age"': expected})


def test_revisions_apart(tmp_path: Path) -> None:
    expr = weighted_mean(f"model_feature_psi{FRAUD}", FRAUD, "revision, feature", revised)
    expected = {"00001": 0.4375, "00002": 0.75}
    labelled = {f'revision="fraud-predictor-{number}",feature="age"': value for number, value in expected.items()}
    judged(tmp_path, expr, psi(a=0.5, b=0.25, c=0.75), labelled)


def test_a_class_that_one_pod_has_not_met(tmp_path: Path) -> None:
    shares = {("a", "0"): 0.5, ("a", "1"): 0.5, ("b", "0"): 1.0, ("c", "1"): 1.0}
    series = {
        f'model_prediction_share{{{of(pod)},output="class",value="{value}"}}': share
        for (pod, value), share in shares.items()
    }
    expected = {("00001", "0"): 0.625, ("00001", "1"): 0.375, ("00002", "1"): 1.0}
    labelled = {
        f'revision="fraud-predictor-{number}",output="class",value="{value}"': share
        for (number, value), share in expected.items()
    }
    judged(tmp_path, class_shares(FRAUD, "revision, output", revised), series, labelled)
