"""The number of pods: scaling rules, and a schedule."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from generator.spec.cron import CronLine, TimeZone
from generator.spec.values import Duration, Part, Subdomain, Url, Utilization

# A clause of "70% CPU or 100 RPS per pod"; blanks and case do not matter.
CLAUSE = re.compile(
    r"(?:(?P<share>\d+)\s*%?\s*(?:of\s+)?(?P<resource>cpu|memory)"
    r"|(?P<rps>\d+)\s*(?:rps|requests\s*/\s*s|requests\s+a\s+second)"
    r"|(?P<concurrency>\d+)\s*(?:concurrency|concurrent(?:\s+requests)?)"
    r"|(?P<quantile>p50|p95|p99)\s*(?:latency\s*)?(?:<|below|under)\s*(?P<limit>\d+(?:\.\d+)?)\s*(?P<unit>ms|s))"
    r"(?:\s*(?:per|a|/)\s*pod)?",
    re.IGNORECASE,
)


class Query(Part):
    """A Prometheus query; there is one pod for each threshold in its value."""

    query: Annotated[str, Field(min_length=1)]
    """query in PromQL that returns one number"""
    threshold: Annotated[float, Field(gt=0)]
    """value per pod"""


class Latency(Part):
    """Pods are added while the latency is above a limit."""

    quantile: Literal["p50", "p95", "p99"] = "p95"
    """quantile that is compared"""
    below: Duration
    """limit for the latency"""


class PrometheusAuth(Part):
    """Authentication of KEDA at Prometheus."""

    name: Subdomain
    """name of a TriggerAuthentication in the serve's namespace"""
    modes: Literal["bearer", "basic", "tls", "custom", "tls,basic", "tls,bearer"] = "bearer"
    """kind of credentials that it holds"""


class Window(Part):
    """A recurring time with its own number of pods."""

    start: CronLine
    """start, as a cron line such as 0 8 * * 1-5"""
    end: CronLine
    """end, as a cron line"""
    timezone: TimeZone = "UTC"
    """time zone of start and end"""
    min: Annotated[int, Field(ge=0)]
    """minimum number of pods in the window"""
    max: Annotated[int, Field(ge=1)] | None = Field(
        None, description="maximum number of pods in the window; default: replicas.max"
    )


class Scaling(Part):
    """Scaling rules; of several rules, the one that asks for the most pods wins."""

    by: Literal["auto", "knative", "hpa", "keda", "none", "external"] = Field(
        "auto",
        description="what scales the pods; 'external' is something outside this spec, 'auto' picks what the rules need",
    )
    cpu: Utilization | None = Field(None, description="CPU utilization in percent of the request")
    memory: Utilization | None = Field(None, description="memory utilization in percent of the request")
    rps: Annotated[int, Field(ge=1)] | None = Field(None, description="requests per second and pod")
    concurrency: Annotated[int, Field(ge=1)] | None = Field(None, description="concurrent requests per pod")
    latency: Latency | None = None
    queries: list[Query] = []
    """your own Prometheus queries (KEDA)"""
    target_utilization: Utilization | None = Field(None, description="percent of the target to aim for (Knative)")
    window: Duration | None = Field(None, description="time over which Knative averages; between 6s and 1h")
    initial_scale: Annotated[int, Field(ge=0)] | None = Field(
        None, description="number of pods of a new revision (Knative)"
    )
    scale_down_delay: Duration | None = Field(
        None, description="how long the load must stay lower before pods are removed"
    )
    prometheus: Url | None = Field(
        None, description="URL of the Prometheus that KEDA queries; default: monitoring.prometheus"
    )
    prometheus_auth: PrometheusAuth | None = None
    """authentication of KEDA at Prometheus"""
    schedule: list[Window] = []
    """recurring times with their own number of pods"""
    cooldown: Duration | None = Field(None, description="idle time before scaling to zero (Knative, KEDA)")

    @model_validator(mode="before")
    @classmethod
    def from_line(cls, data: Any) -> Any:
        """`70% CPU or 100 RPS per pod` means {cpu: 70, rps: 100}."""
        if not isinstance(data, str):
            return data
        return parse_line(data)

    @property
    def rules(self) -> list[str]:
        """The names of the rules that are set."""
        named = [name for name in ("cpu", "memory", "rps", "concurrency", "latency") if getattr(self, name) is not None]
        return named + (["queries"] if self.queries else [])


def parse_line(line: str) -> dict[str, Any]:
    """The rules in a line such as `70% CPU or 100 RPS per pod`."""
    rules: dict[str, Any] = {}
    for clause in re.split(r"\s+or\s+", line.strip(), flags=re.IGNORECASE):
        match = CLAUSE.fullmatch(clause.strip())
        if not match:
            raise ValueError(
                f"{clause!r} is not a scaling rule: expected such as '70% CPU', '100 RPS per pod', '10 concurrent' or "
                "'p95 below 500ms', joined by 'or'"
            )
        name, value = rule_of({key: text.lower() for key, text in match.groupdict().items() if text})
        if name in rules:
            raise ValueError(f"{line!r} names {name} twice")
        rules[name] = value
    return rules


def rule_of(parts: dict[str, str]) -> tuple[str, Any]:
    """Name and value of the rule that the parts of a clause make."""
    if "quantile" in parts:
        return "latency", {"quantile": parts["quantile"], "below": parts["limit"] + parts["unit"]}
    if "resource" in parts:
        return parts["resource"], int(parts["share"])
    name, number = parts.popitem()
    return name, int(number)


class Replicas(Part):
    """Number of pods."""

    min: Annotated[int, Field(ge=0)] = 1
    """minimum number of pods; 0 allows scaling to zero where that is possible"""
    max: Annotated[int, Field(ge=1)] | None = Field(
        None, description="maximum number of pods; default: 5, or min if that is more"
    )
