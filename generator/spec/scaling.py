"""How many pods: the rule by which they follow the load, and the clock."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from generator.spec.values import Duration, Name, Part, Url, Utilization, matching

CRON_FIELD = r"[\d*,/\-A-Za-z]+"
Cron = Annotated[
    str, matching(rf"{CRON_FIELD}( {CRON_FIELD}){{4}}", "a cron line: expected five fields, such as '0 8 * * 1-5'")
]
TimeZone = Annotated[
    str, matching(r"UTC|[A-Za-z_]+(/[A-Za-z0-9_+\-]+)+", "a time zone: expected UTC or one such as Europe/Berlin")
]

# "70% CPU or 100 RPS per pod": each clause is a number, a word, and for latency a quantile before them.
CLAUSE = re.compile(
    r"(?:(?P<target>\d+)\s*%?\s*(?P<what>cpu|memory|rps|requests/s|concurrency|concurrent(?: requests)?)"
    r"|(?P<quantile>p50|p95|p99)\s*(?:latency\s*)?(?:<|below|under)\s*(?P<limit>\d+(?:\.\d+)?(?:ms|s)))"
    r"(?:\s+(?:per|a)\s+pod)?",
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


class Window(Part):
    """A time with a number of pods of its own."""

    start: Cron
    """when it begins, a cron line such as 0 8 * * 1-5"""
    end: Cron
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
    concurrency: Annotated[int, Field(ge=1)] | None = Field(
        None, description="requests at a time for each pod (Knative)"
    )
    latency: Latency | None = None
    queries: list[Query] = []
    """Prometheus queries of your own (KEDA)"""
    target_utilization: Utilization | None = Field(None, description="percent of the target that is aimed at (Knative)")
    window: Duration | None = Field(None, description="over which Knative averages; between 6s and 1h")
    initial_scale: Annotated[int, Field(ge=0)] | None = Field(None, description="pods of a new revision (Knative)")
    scale_down_delay: Duration | None = Field(
        None, description="how long less load must last before pods are taken away"
    )
    prometheus: Url | None = Field(None, description="address of Prometheus for rps, latency and queries with KEDA")
    prometheus_auth: Name | None = Field(None, description="KEDA TriggerAuthentication for it")
    schedule: list[Window] = []
    """times with a number of pods of their own"""
    cooldown: Duration | None = Field(
        None, description="with KEDA: how long nothing must happen before the last pods go"
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
        if match["quantile"]:
            name, value = "latency", {"quantile": match["quantile"].lower(), "below": match["limit"]}
        else:
            word = match["what"].lower()
            name = "concurrency" if word.startswith("concurren") else "rps" if word == "requests/s" else word
            value = int(match["target"])  # type: ignore[assignment]
        if name in found:
            raise ValueError(f"{line!r} names {name} twice")
        found[name] = value
    return found


class Replicas(Part):
    """How many pods there may be."""

    min: Annotated[int, Field(ge=0)] = 1
    """pods at least; 0 lets the serve sleep where that is possible"""
    max: Annotated[int, Field(ge=1)] | None = Field(None, description="5, or min if that is more, when left out")
