"""Combinations of scaling that a cluster refuses or silently ignores."""

from __future__ import annotations

from typing import Any

import pytest

from tests.generator.refusals import refused_with_a_way_out
from tests.generator.test_scaling import BASE, DAY, NIGHT, PROMETHEUS

KNATIVE = {"mode": "Knative"}
ZERO = {"replicas": {"min": 0}}
KEDA = {"rps": 100, **PROMETHEUS}
QUERY = {"queries": [{"query": "sum(queue_length)", "threshold": 5}], **PROMETHEUS}
CANARY: dict[str, dict[str, Any]] = {
    "canary": {"model": "models:/fraud/8", "percent": 10, "by": "kserve"},
    "storage": {"strategy": "container"},
}
ALL_DAYS = {"start": "0 8 * * *", "end": "0 20 * * *", "min": 3}

# what is said, where it is wrong, a word of why, and what makes it right
REFUSED: dict[str, tuple[dict[str, Any], str, str, dict[str, Any]]] = {
    "min above max": ({"replicas": {"min": 4, "max": 3}}, "replicas.min", "replicas.max (3)", {"replicas": {"min": 3, "max": 3}}),
    "knative in Standard": ({"scaling": {"by": "knative"}}, "scaling.by", "mode: Knative", KNATIVE),
    "keda in Knative": ({**KNATIVE, "scaling": {"by": "keda", "cpu": 50}}, "scaling.by", "mode: Standard", {"mode": "Standard"}),
    "external in Knative": ({**KNATIVE, "scaling": {"by": "external"}}, "scaling.by", "mode: Standard", {"mode": "Standard"}),
    "nobody in Knative": ({**KNATIVE, "scaling": {"by": "none"}}, "scaling.by", "the same", {"scaling": {}, "replicas": {"min": 3, "max": 3}}),
    "memory in Knative": ({**KNATIVE, "scaling": {"memory": 80}}, "scaling.memory", "MiB", {"scaling": {"cpu": 80}}),
    "latency in Knative": (
        {**KNATIVE, "scaling": {"latency": {"below": "1s"}, **PROMETHEUS}}, "scaling.latency", "does not support", {"mode": "Standard"},
    ),
    "queries in Knative": ({**KNATIVE, "scaling": QUERY}, "scaling.queries", "does not support", {"mode": "Standard"}),
    "two rules in Knative": ({**KNATIVE, "scaling": {"rps": 9, "concurrency": 9}}, "scaling.concurrency", "one rule", {"scaling": {"rps": 9}}),
    "the one-liner in Knative": ({**KNATIVE, "scaling": "70% CPU or 100 RPS"}, "scaling.rps", "mode: Standard", {"scaling": "100 RPS"}),
    "cpu of Knative's own": ({**KNATIVE, "scaling": {"by": "knative", "cpu": 60}}, "scaling.cpu", "by: knative", {"scaling": {"cpu": 60}}),
    "rps of Knative by hpa": ({**KNATIVE, "scaling": {"by": "hpa", "rps": 60}}, "scaling.rps", "by: hpa", {"scaling": {"rps": 60}}),
    "utilization of cpu in Knative": (
        {**KNATIVE, "scaling": {"cpu": 60, "target_utilization": 70}}, "scaling.target_utilization", "cpu", {"scaling": {"cpu": 60}},
    ),
    "zero by cpu in Knative": ({**KNATIVE, **ZERO, "scaling": {"cpu": 60}}, "replicas.min", "zero", {"scaling": {"rps": 60}}),
    "schedule in Knative": ({**KNATIVE, "scaling": {"schedule": [DAY]}}, "scaling.schedule", "new revision", {"mode": "Standard"}),
    "target above the hard limit": (
        {**KNATIVE, "container_concurrency": 4, "scaling": {"concurrency": 5}}, "scaling.concurrency", "allows 4", {"scaling": {"concurrency": 4}},
    ),
    "short window": ({**KNATIVE, "scaling": {"window": "5s"}}, "scaling.window", "6s to 1h", {"scaling": {"window": "6s"}}),
    "long window": ({**KNATIVE, "scaling": {"window": "61m"}}, "scaling.window", "6s to 1h", {"scaling": {"window": "1h"}}),
    "half a second": ({**KNATIVE, "scaling": {"scale_down_delay": "1500ms"}}, "scaling.scale_down_delay", "whole", {"scaling": {"scale_down_delay": "2s"}}),
    "start above max": ({**KNATIVE, "scaling": {"initial_scale": 6}}, "scaling.initial_scale", "replicas.max (5)", {"replicas": {"max": 6}}),
    "window in Standard": ({"scaling": {"window": "1m"}}, "scaling.window", "only Knative", KNATIVE),
    "utilization in Standard": ({"scaling": {"target_utilization": 70}}, "scaling.target_utilization", "only Knative", KNATIVE),
    "first pods in Standard": ({"scaling": {"initial_scale": 2}}, "scaling.initial_scale", "only Knative", KNATIVE),
    "rps by hpa": ({"scaling": {"by": "hpa", **KEDA}}, "scaling.rps", "by: keda", {"scaling": KEDA}),
    "delay by hpa": ({"scaling": {"by": "hpa", "scale_down_delay": "1m"}}, "scaling.scale_down_delay", "by: keda", {"scaling": {"scale_down_delay": "1m"}}),
    "rules and nobody": ({"scaling": {"by": "none", "cpu": 70}}, "scaling.cpu", "nothing scales", {"scaling": {"by": "none"}}),
    "rules and somebody else": ({"scaling": {"by": "external", "cpu": 70}}, "scaling.cpu", "something else", {"scaling": {"by": "external"}}),
    "schedule and somebody else": ({"scaling": {"by": "external", "schedule": [DAY]}}, "scaling.schedule", "external scaler", {"scaling": {"schedule": [DAY]}}),
    "max of a fixed number": ({"scaling": {"by": "none"}, "replicas": {"min": 2, "max": 3}}, "replicas.max", "leave it out", {"replicas": {"min": 2}}),
    "no pod for ever": ({"scaling": {"by": "none"}, **ZERO}, "replicas.min", "stop", {"replicas": {"min": 1}}),
    "zero by hpa": ({"scaling": {"by": "hpa"}, **ZERO}, "replicas.min", "mode: Knative", {**KNATIVE, "scaling": {}}),
    "zero and nothing said": (ZERO, "replicas.min", "nothing would scale it up", KNATIVE),
    "zero by its own metrics": ({**ZERO, "scaling": KEDA}, "replicas.min", "nothing would scale it up", {"scaling": QUERY}),
    "zero by cpu and jobs": (
        {**ZERO, "scaling": {"cpu": 70, "schedule": [DAY]}}, "replicas.min", "cpu or memory only", {"scaling": {**KEDA, "cpu": 70, "schedule": [DAY]}},
    ),
    "a night without pods by hpa": (
        {"scaling": {"by": "hpa", "schedule": [{**NIGHT, "min": 0}]}}, "replicas.min", "treats 0 as 1", {"scaling": {**KEDA, "schedule": [{**NIGHT, "min": 0}]}},
    ),
    "a canary of nothing": ({**ZERO, **CANARY, "scaling": QUERY}, "replicas.min", "canary", {"replicas": {"min": 1}}),
    "keda without an address": ({"scaling": {"rps": 100}}, "scaling.prometheus", "http://", {"scaling": KEDA}),
    "keda without metrics": ({"scaling": KEDA, "monitoring": {"scrape": "off"}}, "monitoring.scrape", "rps", {"scaling": QUERY}),
    "a latency beyond the metric": (
        {"scaling": {"latency": {"below": "31s"}, **PROMETHEUS}}, "scaling.latency.below", "30s", {"scaling": {"latency": {"below": "30s"}, **PROMETHEUS}},
    ),
    "no latency at all": (
        {"scaling": {"latency": {"below": "0s"}, **PROMETHEUS}}, "scaling.latency.below", "more than 0s", {"scaling": {"latency": {"below": "1ms"}, **PROMETHEUS}},
    ),
    "a delay beyond an hour": ({"scaling": {"scale_down_delay": "2h"}}, "scaling.scale_down_delay", "up to 1h", {"scaling": {"scale_down_delay": "1h"}}),
    "a name too long for KEDA": ({"name": "f" * 45, "scaling": KEDA}, "name", "keda-hpa-", {"name": "f" * 44}),
    "cooldown above zero": ({"scaling": {**QUERY, "cooldown": "1m"}}, "scaling.cooldown", "scaling to zero", ZERO),
    "cooldown and cpu": (
        {**ZERO, "scaling": {**QUERY, "cpu": 70, "cooldown": "1m"}}, "scaling.cooldown", "before the Deployment", {"scaling": {**QUERY, "cooldown": "1m"}},
    ),
    "cooldown and jobs": (
        {**ZERO, "scaling": {**QUERY, "cooldown": "1m", "schedule": [{**DAY, "max": 9}]}},
        "scaling.cooldown", "max of the windows", {"scaling": {**QUERY, "cooldown": "1m", "schedule": [DAY]}},
    ),
    "a window that ends as it begins": (
        {"scaling": {"schedule": [{**DAY, "end": "00 8 * * mon-fri"}]}}, "scaling.schedule[0].end", "same as start", {"scaling": {"schedule": [DAY]}},
    ),
    "min of a window above its max": (
        {"scaling": {"schedule": [{**DAY, "max": 2}]}}, "scaling.schedule[0].min", "maximum of 2", {"scaling": {"schedule": [{**DAY, "max": 3}]}},
    ),
    "min of a window above max": (
        {"scaling": {"schedule": [DAY]}, "replicas": {"max": 2}}, "scaling.schedule[0].min", "maximum of 2", {"replicas": {"max": 3}},
    ),
    "a window that changes nothing": (
        {"scaling": {"schedule": [{**DAY, "min": 1}]}}, "scaling.schedule[0].min", "changes nothing", {"scaling": {"schedule": [{**DAY, "min": 2}]}},
    ),
    "max of a window of a fixed number": (
        {"scaling": {"by": "none", "schedule": [{**DAY, "max": 9}]}}, "scaling.schedule[0].max", "leave it out", {"scaling": {"by": "none", "schedule": [DAY]}},
    ),
    "a window that the canary does not fit": (
        {**CANARY, "canary": {**CANARY["canary"], "replicas": 2}, "replicas": {"min": 3}, "scaling": {"schedule": [NIGHT]}},
        "canary.replicas", "the window with 1", CANARY,
    ),
    "two windows that begin at once": (
        {"scaling": {"schedule": [{**ALL_DAYS, "max": 9}, {**ALL_DAYS, "start": "0 8 * * sat", "min": 5}]}},
        "scaling.schedule[1].start", "same moment",
        {"scaling": {"schedule": [{**ALL_DAYS, "max": 9}, {**ALL_DAYS, "start": "1 8 * * sat", "min": 5}]}},
    ),
    "an end that is sometimes a start": (
        {"scaling": {"schedule": [{**ALL_DAYS, "max": 9}, {**ALL_DAYS, "start": "0 20 * * 1-5", "end": "0 7 * * *", "min": 2}]}},
        "scaling.schedule[0].end", "some days only",
        {"scaling": {"schedule": [{**ALL_DAYS, "max": 9}, {**ALL_DAYS, "start": "0 20 * * *", "end": "0 7 * * *", "min": 2}]}},
    ),
    "a name too long for the jobs": ({"name": "f" * 39, "scaling": {"schedule": [NIGHT]}}, "name", "38", {"name": "f" * 38}),
    "an annotation beside the field": (
        {**KNATIVE, "annotations": {"autoscaling.knative.dev/min-scale": "2"}},
        "annotations[autoscaling.knative.dev/min-scale]", "replicas.min", {"annotations": {}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason_and_a_way_out(case: str) -> None:
    refused_with_a_way_out(BASE, REFUSED[case])
