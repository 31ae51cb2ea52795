"""How many pods: the rule by which they follow the load, and the clock."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from generator.spec.cron import CronLine, TimeZone
from generator.spec.values import Duration, Part, Subdomain, Url, Utilization

# "70% CPU or 100 RPS per pod": what the clauses between the 'or' look like; blanks and case do not matter.
CLAUSE = re.compile(
    r"(?:(?P<share>\d+)\s*%?\s*(?:of\s+)?(?P<resource>cpu|memory)"
    r"|(?P<rps>\d+)\s*(?:rps|requests\s*/\s*s|requests\s+a\s+second)"
    r"|(?P<concurrency>\d+)\s*(?:concurrency|concurrent(?:\s+requests)?)"
    r"|(?P<quantile>p50|p95|p99)\s*(?:latency\s*)?(?:<|below|under)\s*(?P<limit>\d+(?:\.\d+)?)\s*(?P<unit>ms|s))"
    r"(?:\s*(?:per|a|/)\s*pod)?",
    re.IGNORECASE,
)


class Query(Part):
    """A Prometheus query whose value is shared by the pods: each may have as much as the threshold."""

    query: Annotated[str, Field(min_length=1)]
    """in PromQL, one number"""
    threshold: Annotated[float, Field(gt=0)]
    """how much of it each pod may have"""


class Latency(Part):
    """Pods are added while the latency is above this."""

    quantile: Literal["p50", "p95", "p99"] = "p95"
    """which part of the requests is looked at"""
    below: Duration
    """the latency to stay below"""


class PrometheusAuth(Part):
    """What KEDA shows to Prometheus."""

    name: Subdomain
    """a TriggerAuthentication in the namespace of the serve"""
    modes: Literal["bearer", "basic", "tls", "custom", "tls,basic", "tls,bearer"] = "bearer"
    """what it holds"""


class Window(Part):
    """A time with a number of pods of its own."""

    start: CronLine
    """when it begins, a cron line such as 0 8 * * 1-5"""
    end: CronLine
    """when it ends, a cron line"""
    timezone: TimeZone = "UTC"
    """of both"""
    min: Annotated[int, Field(ge=0)]
    """pods at least in that time"""
    max: Annotated[int, Field(ge=1)] | None = Field(None, description="as replicas.max when left out")


class Scaling(Part):
    """What the number of pods follows; several rules: whichever asks for the most pods."""

    by: Literal["auto", "knative", "hpa", "keda", "none", "external"] = Field(
        "auto",
        description="who scales; 'external' is something unknown here, 'auto' takes what the rules need",
    )
    cpu: Utilization | None = Field(None, description="percent of the cores that pods ask for")
    memory: Utilization | None = Field(None, description="percent of the memory that pods ask for")
    rps: Annotated[int, Field(ge=1)] | None = Field(None, description="requests a second for each pod")
    concurrency: Annotated[int, Field(ge=1)] | None = Field(None, description="requests at a time for each pod")
    latency: Latency | None = None
    queries: list[Query] = []
    """Prometheus queries of your own (KEDA)"""
    target_utilization: Utilization | None = Field(None, description="percent of the target that is aimed at (Knative)")
    window: Duration | None = Field(None, description="over which Knative averages; between 6s and 1h")
    initial_scale: Annotated[int, Field(ge=0)] | None = Field(None, description="pods of a new revision (Knative)")
    scale_down_delay: Duration | None = Field(
        None, description="how long less load must last before pods are taken away"
    )
    prometheus: Url | None = Field(None, description="what KEDA asks; monitoring.prometheus when left out")
    prometheus_auth: PrometheusAuth | None = None
    """what KEDA shows to Prometheus"""
    schedule: list[Window] = []
    """times with a number of pods of their own"""
    cooldown: Duration | None = Field(
        None, description="how long nothing must happen before the last pods go (Knative, KEDA)"
    )

    @model_validator(mode="before")
    @classmethod
    def from_line(cls, data: Any) -> Any:
        """`70% CPU or 100 RPS per pod` says the same as {cpu: 70, rps: 100}."""
        if not isinstance(data, str):
            return data
        return parse_line(data)

    @property
    def rules(self) -> list[str]:
        """Which rules are set, by name."""
        named = [name for name in ("cpu", "memory", "rps", "concurrency", "latency") if getattr(self, name) is not None]
        return named + (["queries"] if self.queries else [])


def parse_line(line: str) -> dict[str, Any]:
    """The rules that a line such as `70% CPU or 100 RPS per pod` names."""
    found: dict[str, Any] = {}
    for clause in re.split(r"\s+or\s+", line.strip(), flags=re.IGNORECASE):
        match = CLAUSE.fullmatch(clause.strip())
        if not match:
            raise ValueError(
                f"{clause!r} is not a scaling rule: expected such as '70% CPU', '100 RPS per pod', '10 concurrent' or "
                "'p95 below 500ms', joined by 'or'"
            )
        name, value = rule_of({key: text.lower() for key, text in match.groupdict().items() if text})
        if name in found:
            raise ValueError(f"{line!r} names {name} twice")
        found[name] = value
    return found


def rule_of(found: dict[str, str]) -> tuple[str, Any]:
    """Name and value of the rule whose parts were found in a clause."""
    if "quantile" in found:
        return "latency", {"quantile": found["quantile"], "below": found["limit"] + found["unit"]}
    if "resource" in found:
        return found["resource"], int(found["share"])
    name, number = found.popitem()
    return name, int(number)


class Replicas(Part):
    """How many pods there may be."""

    min: Annotated[int, Field(ge=0)] = 1
    """pods at least; 0 lets the serve sleep where that is possible"""
    max: Annotated[int, Field(ge=1)] | None = Field(None, description="5, or min if that is more, when left out")
