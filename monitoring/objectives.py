"""Service level objectives: the share of requests that succeed, and how long predictions may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from monitoring.catalogue import LATENCY_BUCKETS


class Unfit(ValueError):
    """An objective or option that cannot be used, with its field, if it has one."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field, self.message = field, message


@dataclass(frozen=True, slots=True)
class LatencyObjective:
    """A share of the predictions must not take longer than a limit."""

    name: str
    share: float
    seconds: float

    @property
    def le(self) -> str:
        """The bucket's label, as the predictor writes it."""
        return str(float(self.seconds))

    @property
    def budget(self) -> float:
        return 1 - self.share


@dataclass(frozen=True, slots=True)
class Objectives:
    """The objectives of a serve; None drops one."""

    availability: float | None = 99.9
    """Percent of requests that do not fail with a server error."""
    p50: float | None = 0.1
    p95: float | None = 0.5
    p99: float | None = 1.0
    """Seconds, equal to a bucket of the histogram, since values between buckets are not known."""

    def __post_init__(self) -> None:
        if self.availability is not None and not 0 < self.availability < 100:
            raise Unfit("availability", f"{self.availability:g} leaves no error budget: expected such as 99.9")
        for latency in self.latencies:
            if latency.seconds not in LATENCY_BUCKETS:
                known = ", ".join(with_unit(seconds) for seconds in LATENCY_BUCKETS)
                raise Unfit(
                    latency.name,
                    f"{with_unit(latency.seconds)} is between two buckets of the histogram: expected one of {known}",
                )
        ordered = [latency.seconds for latency in self.latencies]
        if ordered != sorted(ordered):
            raise Unfit("", "p50, p95 and p99: expected each to be at least the one before")

    @property
    def budget(self) -> float | None:
        """The share of requests that may fail."""
        return None if self.availability is None else 1 - self.availability / 100

    @property
    def latencies(self) -> list[LatencyObjective]:
        quantiles = {"p50": (0.5, self.p50), "p95": (0.95, self.p95), "p99": (0.99, self.p99)}
        return [
            LatencyObjective(name, share, seconds)
            for name, (share, seconds) in quantiles.items()
            if seconds is not None
        ]


NAMES = tuple(field.name for field in fields(Objectives))


def with_unit(seconds: float) -> str:
    """The duration with its unit."""
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
