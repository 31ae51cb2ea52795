"""Counts from Prometheus, which scrapes the pods."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from monitoring.catalogue import BY_SERIES
from monitoring.verdict.sources import FAMILIES, CounterSample, SourceUnreadable, body, client_with

POD_LABELS = ("pod", "instance")
"""Labels that tell pods apart, the first one that a series has."""
SERIES = tuple(
    series
    for series, metric in BY_SERIES.items()
    if metric.name.removesuffix("_total") in FAMILIES and not series.endswith("_sum")
)


@dataclass(frozen=True, slots=True)
class PrometheusQuery:
    """One arm's series, as Prometheus last scraped them."""

    url: str
    """Base URL of Prometheus, such as http://prometheus.monitoring:9090."""
    selector: str
    """Matchers of the arm, such as namespace="ml",pod=~"fraud-next-.*"; of Knative the revision's prefix."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> Mapping[str, Sequence[CounterSample] | None]:
        pods: dict[str, list[CounterSample]] = defaultdict(list)
        for each in self.asked():
            labels = dict(each["metric"])
            pod = next((labels[name] for name in POD_LABELS if name in labels), "")
            pods[pod].append(CounterSample(labels.pop("__name__"), labels, float(each["value"][1])))
        return pods

    def asked(self) -> list[dict[str, Any]]:
        query = f'{{__name__=~"{"|".join(SERIES)}",{self.selector}}}'
        url = str(httpx.URL(self.url.rstrip("/") + "/api/v1/query", params={"query": query}))
        try:
            result: list[dict[str, Any]] = json.loads(asyncio.run(self.answer(url)))["data"]["result"]
        except httpx.HTTPStatusError as error:
            raise SourceUnreadable(f"{self.url} answers {error.response.status_code} to {query}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceUnreadable(f"{self.url} cannot be reached: {error}") from None
        except (ValueError, KeyError, TypeError):
            raise SourceUnreadable(f"{self.url} does not answer as Prometheus does: expected data.result") from None
        return result

    async def answer(self, url: str) -> str:
        async with client_with(self.headers) as client:
            return await body(client, url)
