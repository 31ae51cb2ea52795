"""The rules, judged by Prometheus' own tool: each alert fires when it should, and is silent when it should."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.catalogue import BY_SERIES
from monitoring.objectives import Objectives, Unfit
from monitoring.rules import groups
from monitoring.scope import Scope
from tests.monitoring.promtool import promtool
from tests.monitoring.queries import series

DOCS = Path(__file__).parent.parent.parent / "docs"
ONE, ALL = Scope("ml", "fraud", always=True), Scope()
LABELS = 'namespace="ml",pod="fraud-predictor-0",model_name="fraud"'
POD = 'up{namespace="ml",pod="fraud-predictor-0",serving_kserve_io_inferenceservice="fraud"}'
# The share of bad requests from which on each window's alert fires, worked out by hand from the default objectives.
LIMITS = {
    ("ModelAvailabilityBurn", "availability"): {"1h": 0.0144, "6h": 0.006, "3d": 0.001},
    ("ModelLatencyBurn", "p99"): {"1h": 0.144, "6h": 0.06, "3d": 0.01},
    ("ModelLatencyBurn", "p95"): {"1h": 0.72, "6h": 0.3, "3d": 0.05},
    ("ModelLatencyBurn", "p50"): {"3d": 0.5},
}
MINUTES = {"1h": 75, "6h": 150, "3d": 600}
STEPS = {"1h": 1, "6h": 5, "3d": 15}
LE = {"p50": "0.1", "p95": "0.5", "p99": "1.0"}


@dataclass(frozen=True)
class AlertCase:
    """Series by the minute, and whether the alert fires after so many minutes."""

    alert: str
    fires: bool
    series: dict[str, str]
    minutes: int
    more: str = ""

    @property
    def id(self) -> str:
        return f"{self.alert}-{'fires' if self.fires else 'silent'}-{self.more or self.minutes}"


def counted(per_minute: float, minutes: int, step: int = 1) -> str:
    return f"0+{per_minute * step:.6f}x{minutes // step}"


def burn(
    alert: str, objective: str, window: str, share: float, fires: bool, per_minute: float = 600, minutes: int = 0
) -> AlertCase:
    minutes = minutes or MINUTES[window]
    step = STEPS[window]
    if objective == "availability":
        series = {
            f'model_requests_total{{{LABELS},status="200"}}': counted(per_minute * (1 - share), minutes, step),
            f'model_requests_total{{{LABELS},status="503"}}': counted(per_minute * share, minutes, step),
        }
    else:
        within = f'model_prediction_latency_seconds_bucket{{{LABELS},le="{LE[objective]}"}}'
        series = {
            f'model_requests_total{{{LABELS},status="200"}}': counted(per_minute, minutes, step),
            within: counted(per_minute * (1 - share), minutes, step),
            f"model_prediction_latency_seconds_count{{{LABELS}}}": counted(per_minute, minutes, step),
        }
    return AlertCase(alert, fires, series, minutes, f'objective="{objective}",window="{window}"')


BURNS = [
    burn(alert, objective, window, limit * factor, factor > 1)
    for (alert, objective), windows in LIMITS.items()
    for window, limit in windows.items()
    for factor in (0.8, 1.2)
]
QUIET = [
    # Half of ten requests: nobody is woken for that.
    burn("ModelAvailabilityBurn", "availability", "1h", 0.5, fires=False, per_minute=0.15),
    # Half of forty are worth it.
    burn("ModelAvailabilityBurn", "availability", "1h", 0.5, fires=True, per_minute=0.7),
    # How long it has to last.
    *(
        burn("ModelAvailabilityBurn", "availability", window, 0.5, fires, minutes=minutes)
        for window, holds in {"1h": (2, 5), "6h": (10, 30), "3d": (45, 90)}.items()
        for minutes, fires in zip(holds, (False, True), strict=True)
    ),
    # The budget is as good as gone, but it is over: as long as that, for each window.
    *(
        AlertCase(
            "ModelAvailabilityBurn", False,
            {
                f'model_requests_total{{{LABELS},status="200"}}': counted(600, minutes, step),
                f'model_requests_total{{{LABELS},status="500"}}': f"0+{60 * step}x{bad // step} {60 * bad}x{minutes // step}",
            },
            minutes, f'objective="availability",window="{window}"',
        )
        for window, step, bad, minutes in (("6h", 5, 60, 150), ("3d", 15, 120, 600))
    ),
    # It was bad for an hour, and is good again.
    AlertCase(
        "ModelAvailabilityBurn", False,
        {
            f'model_requests_total{{{LABELS},status="200"}}': "0+600x90",
            f'model_requests_total{{{LABELS},status="500"}}': "0+60x60 3600x30",
        },
        75, 'objective="availability",window="1h"',
    ),
    # A tenth fails for six minutes: it costs too little of the month.
    AlertCase(
        "ModelAvailabilityBurn", False,
        {
            f'model_requests_total{{{LABELS},status="200"}}': "0+600x90",
            f'model_requests_total{{{LABELS},status="500"}}': "0x69 60+60x20",
        },
        75, 'objective="availability",window="1h"',
    ),
    # Errors of callers are not ours.
    AlertCase(
        "ModelAvailabilityBurn", False,
        {
            f'model_requests_total{{{LABELS},status="200"}}': "0+60x90",
            f'model_requests_total{{{LABELS},status="400"}}': "0+600x90",
            f'model_requests_total{{{LABELS},status="INVALID_ARGUMENT"}}': "0+600x90",
            f'model_requests_total{{{LABELS},status="RESOURCE_EXHAUSTED"}}': "0+600x90",
        },
        75, 'objective="availability",window="1h"',
    ),
    # Each of ours is.
    *(
        AlertCase(
            "ModelAvailabilityBurn", True,
            {
                f'model_requests_total{{{LABELS},status="OK"}}': "0+600x90",
                f'model_requests_total{{{LABELS},status="{status}"}}': "0+60x90",
            },
            75, 'objective="availability",window="1h",severity="page"',
        )
        for status in (
            "500", "503", "504", "INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "DATA_LOSS",
        )
    ),
]  # fmt: skip
VERSION = f'{LABELS},model_version="3"'
UNHEARD = f'{LABELS},outcome="registry_error"'
# How a pod counts that asks for a registry that is down: after 1, 2, 4 and 8 minutes, then every ten.
DOWN = "0x9 1 2 2 3x3 4x7 " + " ".join(f"{count}x9" for count in range(5, 25))
OTHER = VERSION.replace("predictor-0", "predictor-1")


def windows(series: str, label: str, *pods: tuple[int, str]) -> dict[str, str]:
    """Each pod's rows in the window, and what it says of them."""
    input_series = {}
    for labels, (rows, values) in zip((VERSION, OTHER), pods, strict=False):
        input_series[f"model_drift_window_rows{{{labels}}}"] = f"{rows}x90"
        input_series[f"{series}{{{labels},{label}}}"] = values
    return input_series


def drifted(alert: str, series: str, label: str) -> list[AlertCase]:
    return [
        AlertCase(alert, True, windows(series, label, (1000, "0.3x90")), 45),
        # The whole has drifted, though one pod says that it has not.
        AlertCase(alert, True, windows(series, label, (3000, "0.3x90"), (1000, "0x90")), 45),
        # Few rows of one pod: chance.
        AlertCase(alert, False, windows(series, label, (300, "0.6x90"), (3000, "0.05x90")), 45),
        # It was out for a quarter of an hour.
        AlertCase(alert, False, windows(series, label, (1000, "0.1x20 0.5x15 0.1x60")), 36),
        # A version with too few rows, or without a profile, says no more than how many they are.
        AlertCase(alert, False, {f"model_drift_window_rows{{{VERSION}}}": "150x90"}, 45),
        # What has drifted for half an hour is gone with its version.
        AlertCase(alert, False, windows(series, label, (1000, "0.3x40 _x50")), 47),
    ]


RATING = f'model_feature_values_total{{{LABELS},feature="rating"'


def looked_up(found: float, missing: float = 0, stale: float = 0, null: float = 0) -> dict[str, str]:
    """A minute's values of one feature."""
    counts = {"found": found, "missing": missing, "stale": stale, "null": null}
    return {f'{RATING},result="{result}"}}': counted(count, 60) for result, count in counts.items()}


def lookups(every: str, **failed: str) -> dict[str, str]:
    input_series = {f"model_feature_lookup_seconds_count{{{LABELS}}}": every}
    of = f"model_feature_lookups_failed_total{{{LABELS}"
    return input_series | {f'{of},reason="{reason}"}}': values for reason, values in failed.items()}


def logged(**records: str) -> dict[str, str]:
    of = f"model_prediction_log_records_total{{{LABELS}"
    return {f'{of},result="{result}"}}': values for result, values in records.items()}


STATES = [
    AlertCase("ModelNotLoaded", True, {f"model_loaded{{{VERSION}}}": "1x2 0x10"}, 10),
    AlertCase("ModelNotLoaded", False, {f"model_loaded{{{VERSION}}}": "1x2 0x3 1x10"}, 10),
    AlertCase(
        "ModelNotLoaded", False,
        {f"model_loaded{{{VERSION}}}": "0x20", f'model_loaded{{{LABELS},model_version="4"}}': "1x20"}, 15,
    ),
    AlertCase("ModelAbsent", True, {f"model_loaded{{{VERSION}}}": "1x5 _x30"}, 30),
    AlertCase("ModelAbsent", True, {f"model_loaded{{{VERSION}}}": "1x5 0x30"}, 30),
    AlertCase("ModelAbsent", False, {f"model_loaded{{{VERSION}}}": "1x30"}, 30),
    AlertCase("ModelPodNotScraped", True, {POD: "1x2 0x20"}, 15),
    AlertCase("ModelPodNotScraped", False, {POD: "1x2 0x5 1x20", 'up{namespace="ml",job="other"}': "0x30"}, 15),
    AlertCase("ModelReloadFailing", True, {f"model_reload_failing{{{LABELS}}}": "0x2 1x20"}, 15),
    AlertCase("ModelReloadFailing", False, {f"model_reload_failing{{{LABELS}}}": "0x2 1x5 0x20"}, 15),
    AlertCase("ModelRegistryUnreachable", True, {f"model_reloads_total{{{UNHEARD}}}": DOWN}, 50),
    AlertCase("ModelRegistryUnreachable", True, {f"model_reloads_total{{{UNHEARD}}}": DOWN}, 170),
    # It was away for three minutes.
    AlertCase(
        "ModelRegistryUnreachable", False,
        {
            f"model_reloads_total{{{UNHEARD}}}": "0x10 1 2 2 3x60",
            f'model_reloads_total{{{LABELS},outcome="loaded"}}': "0+1x80",
        },
        41,
    ),
    # Each of many pods has missed one answer, at different times.
    AlertCase(
        "ModelRegistryUnreachable", False,
        {f"model_reloads_total{{{UNHEARD.replace('-0', f'-{pod}')}}}": f"0x{10 + 5 * pod} 1x90" for pod in range(9)},
        51,
    ),
    AlertCase(
        "ModelRequestsRefused", True,
        {
            f'model_requests_total{{{LABELS},status="200"}}': "0+90x20",
            f'model_requests_total{{{LABELS},status="503"}}': "0+10x20",
            f'model_requests_refused_total{{{LABELS},reason="requests"}}': "0+4x20",
            f'model_requests_refused_total{{{LABELS},reason="wait"}}': "0+6x20",
        },
        15,
    ),
    AlertCase(
        "ModelRequestsRefused", False,
        {
            f'model_requests_total{{{LABELS},status="200"}}': "0+999x20",
            f'model_requests_refused_total{{{LABELS},reason="wait"}}': "0+5x20",
        },
        15,
    ),
    AlertCase("ModelQueueLong", True, {f"model_expected_wait_seconds{{{LABELS}}}": "0.8x15"}, 10),
    AlertCase("ModelQueueLong", False, {f"model_expected_wait_seconds{{{LABELS}}}": "0.8x3 0.1x2 0.8x3 0.1x9"}, 10),
    AlertCase(
        "ModelNoTraffic", True,
        {f'model_requests_total{{{LABELS},status="200"}}': "0+10x60 600x60", f"model_loaded{{{VERSION}}}": "1x120"}, 120,
    ),
    # Its pods were replaced, and nobody has found the new ones.
    AlertCase(
        "ModelNoTraffic", True,
        {
            f'model_requests_total{{{LABELS},status="200"}}': "0+10x60 _x60",
            f'model_loaded{{{LABELS.replace("-0", "-1")},model_version="4"}}': "_x58 1x62",
        },
        119,
    ),
    # It has gone to zero pods.
    AlertCase(
        "ModelNoTraffic", False,
        {f'model_requests_total{{{LABELS},status="200"}}': "0+10x60 _x60", f"model_loaded{{{VERSION}}}": "1x60 _x60"}, 120,
    ),
    AlertCase(
        "ModelNoTraffic", False,
        {f'model_requests_total{{{LABELS},status="200"}}': "0+10x130", f"model_loaded{{{VERSION}}}": "1x130"}, 120,
    ),
    # It was asked now and then.
    AlertCase(
        "ModelNoTraffic", False,
        {f'model_requests_total{{{LABELS},status="200"}}': "0+1x60 60x60", f"model_loaded{{{VERSION}}}": "1x120"}, 120,
    ),
    # Somebody has unloaded it, which ModelNotLoaded says.
    AlertCase(
        "ModelNoTraffic", False,
        {f'model_requests_total{{{LABELS},status="200"}}': "0+10x60 600x60", f"model_loaded{{{VERSION}}}": "1x60 0x60"},
        120,
    ),
    # One that nobody has asked for long is no news.
    AlertCase(
        "ModelNoTraffic", False,
        {f'model_requests_total{{{LABELS},status="200"}}': "600x500", f"model_loaded{{{VERSION}}}": "1x500"}, 480,
    ),
    AlertCase(
        "ModelInputRejected", True,
        {
            f"model_predictions_total{{{VERSION}}}": "0+10x45",
            f'model_prediction_errors_total{{{VERSION},error_type="invalid_input"}}': "0+8x45",
        },
        40,
    ),
    AlertCase(
        "ModelInputRejected", False,
        {
            f"model_predictions_total{{{VERSION}}}": "0+10x45",
            f'model_prediction_errors_total{{{VERSION},error_type="invalid_input"}}': "0+3x45",
            f'model_prediction_errors_total{{{VERSION},error_type="model_error"}}': "0+6x45",
        },
        40,
    ),
    # Most of seven requests: somebody tries it out.
    AlertCase(
        "ModelInputRejected", False,
        {
            f"model_predictions_total{{{VERSION}}}": "0+0.5x45",
            f'model_prediction_errors_total{{{VERSION},error_type="invalid_input"}}': "0+0.4x45",
        },
        40,
    ),
    *drifted("ModelInputDrifted", "model_feature_psi", 'feature="amount"'),
    *drifted("ModelPredictionsDrifted", "model_prediction_psi", 'output="score"'),
    AlertCase("ModelFeaturesMissing", True, looked_up(90, missing=4, stale=4), 45),
    AlertCase("ModelFeaturesMissing", False, looked_up(97, missing=2, stale=1), 45),
    # Feast knows the entity, and says that there is nothing.
    AlertCase("ModelFeaturesMissing", False, looked_up(50, null=50), 45),
    # Half of eight: somebody tries it out.
    AlertCase("ModelFeaturesMissing", False, looked_up(0.4, missing=0.4), 45),
    # A job asked for entities of long ago, for a minute.
    AlertCase("ModelFeaturesMissing", False, looked_up(90) | {f'{RATING},result="stale"}}': "0x10 500x60"}, 18),
    AlertCase("ModelFeastUnavailable", True, lookups("0+100x40", timeout="0+3x40", unreachable="0+3x40"), 30),
    # It is left alone, and each lookup is counted as one that failed.
    AlertCase("ModelFeastUnavailable", True, lookups("0+100x40", timeout="0x10 5x30", circuit_open="0x10 0+99x30"), 30),
    AlertCase("ModelFeastUnavailable", False, lookups("0+100x40", timeout="0+1x40", error="0x40"), 30),
    # It was away for three minutes.
    AlertCase("ModelFeastUnavailable", False, lookups("0+100x60", unreachable="0x10 0+100x3 300x50"), 17),
    AlertCase("ModelFeastUnavailable", False, lookups("0x60", timeout="0x60", circuit_open="0x60"), 30),
    AlertCase("ModelPredictionLogDropping", True, logged(written="0+90x60", dropped="0+10x60", failed="0x60"), 40),
    AlertCase("ModelPredictionLogDropping", True, logged(written="5x60", dropped="0x60", failed="0+10x60"), 40),
    AlertCase("ModelPredictionLogDropping", False, logged(written="0+1000x60", dropped="0+2x60", failed="0+1x60"), 40),
    # A Parquet file is counted when it is finished, which the first one is not yet.
    AlertCase("ModelPredictionLogDropping", False, logged(written="0x8 900x60", dropped="0 0 0 5x60", failed="0x60"), 8),
    # It had too much to do for a moment.
    AlertCase("ModelPredictionLogDropping", False, logged(written="0+1000x60", dropped="0x10 100x60", failed="0x60"), 40),
    AlertCase("ModelPredictionLogDropping", False, logged(written="0x60", dropped="0x60", failed="0x60"), 40),
]  # fmt: skip


# As bad as can be from the beginning, or from that minute on: after how many more minutes somebody is told.
SUDDEN: dict[str, tuple[int, int, dict[str, str]]] = {
    "ModelNotLoaded": (0, 5, {f"model_loaded{{{VERSION}}}": "0x60"}),
    "ModelAbsent": (0, 10, {f"model_loaded{{{VERSION}}}": "0x60"}),
    "ModelPodNotScraped": (0, 10, {POD: "0x60"}),
    "ModelReloadFailing": (0, 10, {f"model_reload_failing{{{LABELS}}}": "1x60"}),
    "ModelRegistryUnreachable": (0, 30, {f"model_reloads_total{{{UNHEARD}}}": "0+2x60"}),
    "ModelRequestsRefused": (
        0, 5,
        {
            f'model_requests_total{{{LABELS},status="503"}}': "0+100x60",
            f'model_requests_refused_total{{{LABELS},reason="wait"}}': "0+100x60",
        },
    ),
    "ModelQueueLong": (0, 5, {f"model_expected_wait_seconds{{{LABELS}}}": "9x60"}),
    "ModelNoTraffic": (
        90, 15,
        {f'model_requests_total{{{LABELS},status="200"}}': "0+10x60 600x60", f"model_loaded{{{VERSION}}}": "1x120"},
    ),
    "ModelInputRejected": (
        0, 15,
        {
            f"model_predictions_total{{{VERSION}}}": "0+100x60",
            f'model_prediction_errors_total{{{VERSION},error_type="invalid_input"}}': "0+100x60",
        },
    ),
    "ModelInputDrifted": (0, 30, windows("model_feature_psi", 'feature="amount"', (1000, "3x60"))),
    "ModelPredictionsDrifted": (0, 30, windows("model_prediction_psi", 'output="score"', (1000, "3x60"))),
    "ModelFeaturesMissing": (0, 15, looked_up(0, missing=100)),
    "ModelFeastUnavailable": (0, 10, lookups("0+100x60", timeout="0+100x60")),
    "ModelPredictionLogDropping": (0, 15, logged(written="0x60", dropped="0+100x60")),
}  # fmt: skip
LASTING = [
    AlertCase(alert, fires, series, since + hold + more)
    for alert, (since, hold, series) in SUDDEN.items()
    for more, fires in ((-1, False), (3, True))
]


def written(folder: Path, scope: Scope, objectives: Objectives | None = None) -> Path:
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups(scope, objectives)}))
    return file


def needed(alert: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The alert's own, and what they ask that is recorded: the others would only take their time."""
    asked = " ".join(rule["expr"] for rule in rules if rule.get("alert") == alert)
    for rule in reversed(rules):  # what is recorded may ask only for what was recorded before
        if rule.get("record", alert) in asked:
            asked += rule["expr"]
    return [rule for rule in rules if rule.get("alert") == alert or rule.get("record", alert) in asked]


def judged(folder: Path, cases: list[AlertCase], step: int, scope: Scope = ONE) -> None:
    """All of them in one run; what is expected names the case by its labels."""
    (group,) = groups(scope)
    tests: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        firing = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"{"," if case.more else ""}{case.more}}})'
        tests.setdefault(case.alert, []).append(
            {
                "name": case.id,
                "interval": f"{step}m",
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "promql_expr_test": [
                    {
                        "expr": firing,
                        "eval_time": f"{case.minutes}m",
                        "exp_samples": [{"labels": "{}", "value": 1}] if case.fires else [],
                    }
                ],
            }
        )
    for alert, asked in tests.items():
        rules = {"groups": [group | {"rules": needed(alert, group["rules"])}]}
        (folder / f"{alert}.yaml").write_text(yaml.safe_dump(rules))
        content = {"rule_files": [f"{alert}.yaml"], "evaluation_interval": f"{step}m", "tests": asked}
        (folder / f"{alert}-tests.yaml").write_text(yaml.safe_dump(content))
    promtool("test", "rules", *sorted(folder.glob("*-tests.yaml")))


@pytest.mark.parametrize("scope", [ONE, ALL], ids=["one", "all"])
def test_prometheus_takes_them(scope: Scope, tmp_path: Path) -> None:
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", written(tmp_path, scope))
    assert f"{len(groups(scope)[0]['rules'])} rules found" in said


@pytest.mark.parametrize("scope", [ONE, ALL], ids=["one", "all"])
def test_states(scope: Scope, tmp_path: Path) -> None:
    judged(tmp_path, [case for case in STATES if scope is ONE or case.alert != "ModelAbsent"], 1, scope)


def test_how_long_it_lasts_before_somebody_is_told(tmp_path: Path) -> None:
    alerts = {rule["alert"] for rule in groups(ONE)[0]["rules"] if "alert" in rule}
    assert {case.alert for case in LASTING} == alerts - {"ModelAvailabilityBurn", "ModelLatencyBurn"}
    judged(tmp_path, LASTING, 1)


@pytest.mark.parametrize("window", ["1h", "6h", "3d"])
def test_burning(window: str, tmp_path: Path) -> None:
    asked = [case for case in BURNS + QUIET if f'window="{window}"' in case.more]
    judged(tmp_path, asked, STEPS[window])


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    """The judge itself can say no."""
    wrong = STATES[0]
    with pytest.raises(AssertionError, match="FAILED"):
        judged(tmp_path, [AlertCase(wrong.alert, not wrong.fires, wrong.series, wrong.minutes)], 1)


def test_every_alert_is_seen_to_fire_and_to_be_silent() -> None:
    wanted = set()
    for rule in groups(ONE)[0]["rules"]:
        if name := rule.get("alert"):
            labels = rule["labels"]
            wanted.add((name, labels.get("objective"), labels.get("window")))
    for fires in (True, False):
        seen = set()
        for case in BURNS + QUIET + STATES:
            if case.fires is fires:
                more = dict(pair.replace('"', "").split("=") for pair in case.more.split(",") if pair)
                seen.add((case.alert, more.get("objective"), more.get("window")))
        assert seen == wanted


def test_each_alert_says_what_it_is_about() -> None:
    names = set()
    for rule in groups(ONE)[0]["rules"]:
        if name := rule.get("alert"):
            names.add(name)
            assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
            assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
            assert rule["labels"]["severity"] in ("page", "ticket")
    pages = {path.stem for path in (DOCS / "runbooks").glob("*.md")}
    assert pages == names
    for name in names:
        text = (DOCS / "runbooks" / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        assert "```" in text, f"{name}: expected a command or a query to begin with"
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (DOCS / "runbooks" / target).exists(), target
        for expr in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
            for line in expr.splitlines():
                assert series(line) <= BY_SERIES.keys(), line
                assert series(line), line


def test_other_objectives() -> None:
    rules = groups(ONE, Objectives(availability=99, p50=None, p95=0.25, p99=None))[0]["rules"]
    burns = {
        (rule["labels"]["objective"], rule["labels"]["window"]): rule["expr"]
        for rule in rules
        if "window" in rule.get("labels", {})
    }
    assert set(burns) == {(objective, window) for objective in ("availability", "p95") for window in ("1h", "6h", "3d")}
    assert "> 0.144 " in burns["availability", "1h"]
    assert [rule for rule in rules if 'le="0.25"' in rule["expr"]]
    assert not [rule for rule in rules if 'le="0.5"' in rule["expr"]]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"availability": 100.0}, "availability: 100 leaves no error budget: expected such as 99.9"),
        ({"availability": 0.0}, "availability: 0 leaves no error budget"),
        ({"p95": 0.3}, "p95: 300ms is between two buckets of the histogram: expected one of 0.5ms,"),
        ({"p50": 2.5}, "p50, p95 and p99: expected each to be at least the one before"),
    ],
    ids=["all", "none", "between", "order"],
)  # fmt: skip
def test_what_cannot_be_promised(said: dict[str, float], words: str) -> None:
    with pytest.raises(Unfit, match=f"^{words.replace('.', '[.]')}"):
        Objectives(**said)


def test_a_serve_that_may_scale_to_zero_is_not_missed() -> None:
    names = {rule.get("alert") for rule in groups(Scope("ml", "fraud", always=False))[0]["rules"]}
    assert "ModelAbsent" not in names
    assert "ModelNotLoaded" in names
