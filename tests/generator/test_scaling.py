"""Who scales, by which rule, and what each scaler is told."""

from __future__ import annotations

from typing import Any

import pytest

from generator import ServeSpec, render
from generator.notes import notes_of
from generator.render import planned
from predictors.telemetry.metrics import LATENCY_BUCKETS

BASE: dict[str, Any] = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "namespace": "ml"}
PROMETHEUS = {"prometheus": "http://prometheus:9090"}
DAY = {"start": "0 8 * * 1-5", "end": "0 20 * * 1-5", "timezone": "Europe/Berlin", "min": 3}
NIGHT = {"start": "0 20 * * 1-5", "end": "0 8 * * 1-5", "timezone": "Europe/Berlin", "min": 1, "max": 2}
PODS = '{namespace="ml",model_name="fraud",pod=~"fraud-predictor-.+"}'
CLASS = "serving.kserve.io/autoscalerClass"


def rendered(**said: Any) -> list[dict[str, Any]]:
    return render(ServeSpec.model_validate(BASE | said))


def service(**said: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The predictor and what the annotations say of scaling."""
    inference_service = rendered(**said)[0]
    annotations = inference_service["metadata"]["annotations"]
    scaling = {key: value for key, value in annotations.items() if key == CLASS or key.startswith("autoscaling")}
    return inference_service["spec"]["predictor"], scaling


def numbers(predictor: dict[str, Any]) -> dict[str, Any]:
    names = ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "autoScaling")
    return {name: predictor[name] for name in names if name in predictor}


def test_nothing_said() -> None:
    predictor, annotations = service()
    assert annotations == {CLASS: "hpa"}
    assert numbers(predictor) == {"minReplicas": 1, "maxReplicas": 5, "scaleMetric": "cpu", "scaleTarget": 70}
    predictor, annotations = service(mode="Knative", resources={"cores": 2})
    assert annotations == {}
    assert numbers(predictor) == {
        "minReplicas": 1, "maxReplicas": 5, "scaleMetric": "concurrency", "scaleTarget": 20,
    }  # fmt: skip


def test_knative_aims_at_the_hard_limit_by_itself() -> None:
    predictor, _ = service(mode="Knative", container_concurrency=4)
    assert numbers(predictor) == {"minReplicas": 1, "maxReplicas": 5}


@pytest.mark.parametrize("name", ["cpu", "memory"])
def test_one_resource_by_hpa(name: str) -> None:
    predictor, annotations = service(scaling={name: 60})
    assert annotations == {CLASS: "hpa"}
    assert (predictor["scaleMetric"], predictor["scaleTarget"]) == (name, 60)


def test_two_resources_by_hpa() -> None:
    predictor, _ = service(scaling={"cpu": 60, "memory": 80})
    assert "scaleMetric" not in predictor
    assert [metric["resource"] for metric in predictor["autoScaling"]["metrics"]] == [
        {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
        {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}},
    ]


def test_keda_through_kserve() -> None:
    predictor, annotations = service(scaling={"cpu": 70, "rps": 100, "scale_down_delay": "5m", **PROMETHEUS})
    assert annotations == {CLASS: "keda"}
    cpu, rps = predictor["autoScaling"]["metrics"]
    assert cpu["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert rps["external"] == {
        "metric": {
            "backend": "prometheus",
            "serverAddress": "http://prometheus:9090",
            "query": f"sum(rate(model_predictions_total{PODS}[120s]))",
        },
        "target": {"type": "Value", "value": "100"},
    }
    assert predictor["autoScaling"]["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 300}}
    assert "scaleMetric" not in predictor


def test_latency_is_multiplied_by_the_pods_that_it_is_divided_by() -> None:
    predictor, _ = service(scaling={"latency": {"quantile": "p99", "below": "250ms"}, **PROMETHEUS})
    (metric,) = predictor["autoScaling"]["metrics"]
    buckets = f"sum by (le) (rate(model_prediction_latency_seconds_bucket{PODS}[120s]))"
    assert metric["external"]["metric"]["query"] == (
        f"1000 * histogram_quantile(0.99, {buckets}) * count(model_loaded{PODS} == 1) > 0"
    )
    assert metric["external"]["target"]["value"] == "250"


def test_the_latency_cannot_be_limited_beyond_what_the_metric_tells() -> None:
    from generator.rules.scaling import MAX_LATENCY

    assert LATENCY_BUCKETS[-1] == MAX_LATENCY


def test_concurrency_and_queries_of_ones_own() -> None:
    said = {"concurrency": 4, "queries": [{"query": "sum(queue_length)", "threshold": 0.5}], **PROMETHEUS}
    predictor, _ = service(scaling=said, monitoring={"interval": "10s"})
    asked = [metric["external"] for metric in predictor["autoScaling"]["metrics"]]
    assert [(each["metric"]["query"], each["target"]["value"]) for each in asked] == [
        (f"sum(avg_over_time(model_requests_in_flight{PODS}[60s]))", "4"),
        ("sum(queue_length)", "0.5"),
    ]


def test_the_line_with_the_address_where_the_platform_says_it() -> None:
    said = {"scaling": "70% CPU or 100 RPS per pod", "monitoring": PROMETHEUS}
    assert service(**said)[0] == service(scaling={"cpu": 70, "rps": 100, **PROMETHEUS})[0]


def test_what_keda_shows_to_prometheus() -> None:
    said = {"rps": 100, **PROMETHEUS, "prometheus_auth": {"name": "prometheus", "modes": "basic"}}
    predictor, _ = service(scaling=said)
    (metric,) = predictor["autoScaling"]["metrics"]
    assert metric["external"]["authenticationRef"] == {
        "authModes": "basic", "authenticationRef": {"name": "prometheus"},
    }  # fmt: skip
    trigger = rendered(scaling={**said, "schedule": [DAY]})[1]["spec"]["triggers"][0]
    assert trigger["metadata"]["authModes"] == "basic"
    assert trigger["authenticationRef"] == {"name": "prometheus"}


def test_a_scaled_object_of_our_own_for_the_clock() -> None:
    said = {"rps": 100, "scale_down_delay": "1m", **PROMETHEUS, "schedule": [DAY]}
    inference_service, scaled = rendered(scaling=said, replicas={"max": 8}, revision="v7")
    assert inference_service["metadata"]["annotations"][CLASS] == "external"
    assert numbers(inference_service["spec"]["predictor"]) == {}, "KServe would ignore them"
    assert (scaled["kind"], scaled["metadata"]["name"]) == ("ScaledObject", "fraud")
    assert scaled["spec"] == {
        "scaleTargetRef": {"name": "fraud-v7-predictor"},
        "minReplicaCount": 1,
        "maxReplicaCount": 8,
        "advanced": {
            "horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}
        },
        "triggers": [
            {
                "type": "prometheus",
                "metadata": {
                    "serverAddress": "http://prometheus:9090",
                    "query": f"sum(rate(model_predictions_total{PODS.replace('fraud-p', 'fraud-v7-p')}[120s]))",
                    "threshold": "100",
                },
            },
            {
                "type": "cron",
                "metadata": {
                    "timezone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 20 * * 1-5", "desiredReplicas": "3",
                },
            },
        ],
    }  # fmt: skip


def test_zero_at_night() -> None:
    """The clock alone: cpu would say nothing as long as there is no pod."""
    _, scaled = rendered(replicas={"min": 0}, scaling={"by": "keda", "schedule": [DAY], "cooldown": "2m"})
    assert [trigger["type"] for trigger in scaled["spec"]["triggers"]] == ["cron"]
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["cooldownPeriod"]) == (0, 120)


def test_knative_in_full() -> None:
    scaling = {
        "rps": 50, "target_utilization": 80, "window": "1m", "initial_scale": 2,
        "scale_down_delay": "1h", "cooldown": "90s",
    }  # fmt: skip
    predictor, annotations = service(mode="Knative", replicas={"min": 0, "max": 9}, scaling=scaling)
    assert numbers(predictor) == {"minReplicas": 0, "maxReplicas": 9, "scaleMetric": "rps", "scaleTarget": 50}
    assert annotations == {
        "autoscaling.knative.dev/target-utilization-percentage": "80",
        "autoscaling.knative.dev/window": "60s",
        "autoscaling.knative.dev/initial-scale": "2",
        "autoscaling.knative.dev/scale-down-delay": "3600s",
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "90s",
    }


def test_cpu_in_knative() -> None:
    predictor, annotations = service(mode="Knative", scaling={"cpu": 60})
    assert annotations == {"autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"}
    assert (predictor["scaleMetric"], predictor["scaleTarget"]) == ("cpu", 60)


def test_nobody_and_somebody_else() -> None:
    predictor, annotations = service(scaling={"by": "none"}, replicas={"min": 3})
    assert (annotations, numbers(predictor)) == ({CLASS: "none"}, {"minReplicas": 3})
    predictor, annotations = service(scaling={"by": "external"}, replicas={"min": 3})
    assert (annotations, numbers(predictor)) == ({CLASS: "external"}, {})


@pytest.mark.parametrize(
    ("scaling", "other"),
    [
        ({"cpu": 70}, None),
        ({"rps": 100, **PROMETHEUS}, "none"),
        ({"by": "external"}, "none"),
        ({"rps": 100, **PROMETHEUS, "schedule": [DAY]}, "none"),
        ({"by": "none"}, None),
    ],
    ids=["hpa", "keda", "external", "clock of keda", "none"],
)
def test_a_canary_has_its_pods_whoever_scales_the_stable_predictor(scaling: Any, other: str | None) -> None:
    canary = {"model": "models:/fraud/8", "percent": 10, "replicas": 2, "by": "kserve"}
    inference_service = rendered(
        scaling=scaling, canary=canary, replicas={"min": 2}, storage={"strategy": "container"}
    )[0]  # fmt: skip
    assert inference_service["spec"]["predictor"]["minReplicas"] == 2, "KServe compares the canary's with it"
    (entry,) = inference_service["spec"]["canary"]
    assert entry["predictor"].get("annotations", {}).get(CLASS) == other


def test_the_pods_that_count_are_those_of_the_stable_predictor() -> None:
    canary = {"model": "models:/fraud/8", "percent": 10, "by": "kserve"}
    said = {"scaling": {"rps": 100, **PROMETHEUS}, "storage": {"strategy": "container"}}
    (before,) = service(**said)[0]["autoScaling"]["metrics"]
    (during,) = service(**said, canary=canary)[0]["autoScaling"]["metrics"]
    assert before == during
    assert "fraud-predictor-" in during["external"]["metric"]["query"]


def test_each_decision_has_a_reason() -> None:
    plan = planned(ServeSpec.model_validate(BASE | {"scaling": {"rps": 9, **PROMETHEUS, "schedule": [DAY]}}))
    reasons = {name: reason.why for name, reason in plan.reasons.items()}
    assert "rps" in reasons["scaling.by"]
    assert "clock" in reasons["scaling.schedule"]
    assert "cron" in reasons["scaling.scaled_object"]
    plan = planned(ServeSpec.model_validate(BASE | {"mode": "Knative"}))
    assert (plan.reasons["scaling.concurrency"].value, plan.max_replicas) == (10, 5)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"scaling": {"rps": 100, **PROMETHEUS}}, "KEDA"),
        ({"scaling": {"rps": 100, **PROMETHEUS}}, "namespace and pod"),
        ({"mode": "Knative", "scaling": {"cpu": 60}}, "serving-hpa.yaml"),
        ({"mode": "Knative", "scaling": {"initial_scale": 0}}, "allow-zero-initial-scale"),
        ({"scaling": {"schedule": [NIGHT]}}, "next start"),
        ({"replicas": {"min": 0}, "scaling": {"schedule": [DAY]}}, "nothing holds requests"),
    ],
    ids=["keda", "labels", "hpa in knative", "initial scale", "jobs", "zero"],
)
def test_what_the_cluster_must_have(said: dict[str, Any], word: str) -> None:
    assert any(word in note for note in notes_of(planned(ServeSpec.model_validate(BASE | said))))
    assert not any(word in note for note in notes_of(planned(ServeSpec.model_validate(BASE))))
