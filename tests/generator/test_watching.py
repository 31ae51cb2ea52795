"""Rules and dashboards that are made with a serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator import ServeSpec, SpecError, render
from generator.rollout.planner import canary
from generator.spec import Canary
from generator.spec.storage import Storage
from tests.monitoring.promtool import promtool

BASE: dict[str, Any] = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "namespace": "ml"}


def spec(**monitoring: Any) -> ServeSpec:
    return ServeSpec.model_validate(BASE | {"monitoring": monitoring})


def by_kind(**monitoring: Any) -> dict[str, Any]:
    """Beside the InferenceService, by kind."""
    return {each["kind"]: each for each in render(spec(**monitoring)) if each["kind"] != "InferenceService"}


def test_only_what_is_asked_for() -> None:
    assert by_kind() == {}
    assert set(by_kind(rules=True)) == {"PrometheusRule"}
    assert set(by_kind(dashboard=True)) == {"ConfigMap"}


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_prometheus_takes_the_rules(mode: str, tmp_path: Path) -> None:
    documents = render(
        ServeSpec.model_validate(
            BASE | {"mode": mode, "monitoring": {"rules": True, "labels": {"release": "kps"}, "slo": {"p99": None}}}
        )
    )
    (rule,) = [each for each in documents if each["kind"] == "PrometheusRule"]
    assert rule["metadata"]["labels"]["release"] == "kps"
    assert rule["metadata"]["namespace"] == "ml"
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    assert "SUCCESS" in promtool("check", "rules", file)
    objectives = {each["labels"].get("objective") for each in rule["spec"]["groups"][0]["rules"] if "alert" in each}
    assert objectives == {None, "availability", "p50", "p95"}


def test_runbooks_of_ones_own() -> None:
    rules = by_kind(rules=True, runbooks="https://wiki.example.com/runbooks")["PrometheusRule"]["spec"]["groups"][0][
        "rules"
    ]
    links = {each["annotations"]["runbook_url"] for each in rules if "alert" in each}
    assert "https://wiki.example.com/runbooks/ModelAbsent.md" in links
    assert all(link.startswith("https://wiki.example.com/runbooks/Model") for link in links)


def test_the_dashboards_are_those_of_the_serve() -> None:
    config_map = by_kind(dashboard=True)["ConfigMap"]
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    titles = {json.loads(text)["title"] for text in config_map["data"].values()}
    assert titles == {f"{board}: fraud in ml" for board in ("Serve overview", "Rollout", "Features & drift")}


def test_a_rollout_does_not_touch_them() -> None:
    asked = spec(rules=True, dashboard=True).model_copy(update={"storage": Storage(strategy="container")})
    step = canary(asked, Canary(model="models:/fraud/8", percent=10, by="kserve"))
    assert {patch.kind for patch in step.patches} == {"InferenceService"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"slo": {"p95": "250ms"}},
            "monitoring.slo: is used by the alerts only: expected monitoring.rules: true with it",
        ),
        ({"runbooks": "https://wiki.example.com"}, "monitoring.runbooks: is used by the alerts only"),
        ({"rules": True, "slo": {"p95": "300ms"}}, "monitoring.slo.p95: 300ms is between two buckets of the histogram"),
        ({"rules": True, "slo": {"availability": 100}}, "monitoring.slo.availability: 100 leaves no error budget"),
        ({"rules": True, "slo": {"p50": "5s"}}, "monitoring.slo: p50, p95 and p99: expected each to be at least"),
    ],
    ids=["slo", "runbooks", "between", "all", "order"],
)
def test_what_does_not_go_together(said: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as error:
        render(spec(**said))
    assert words in str(error.value)
