"""Where counts come from: the pods' own metrics, or Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import httpx
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_SECONDS = 5.0
MAX_BYTES = 16 * 2**20
PATH = "/metrics"
FAMILIES = (
    "model_predictions", "model_prediction_errors", "model_prediction_latency_seconds", "model_loaded",
    "model_reloads", "model_prediction_share", "model_prediction_quantile", "model_drift_window_rows", "model_role",
    "model_feature_psi", "model_feature_missing_ratio", "model_prediction_psi",
    "model_shadow_requests", "model_shadow_labels", "model_shadow_difference", "model_shadow_latency_ratio",
)  # fmt: skip
"""What is read. A parser of Prometheus' text names a counter without its `_total`."""


class CounterSample(NamedTuple):
    """One value of a pod: a counter since its start, or a gauge."""

    name: str
    labels: Mapping[str, str]
    value: float


class SourceUnreadable(Exception):
    """Nothing of an arm could be read."""


class CounterSource(Protocol):
    """One arm's metrics."""

    def read(self) -> Mapping[str, Sequence[CounterSample] | None]:
        """The samples by pod; None for a pod that gave no answer."""
        ...


@dataclass(frozen=True, slots=True)
class PodScraper:
    """Asks each pod's /metrics. `labels` choose series, where several models or versions share a pod."""

    urls: Sequence[str]
    """Base URLs of the pods themselves, such as http://10.0.0.7:8080: of a Service, another pod answers each time."""
    labels: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> Mapping[str, Sequence[CounterSample] | None]:
        return asyncio.run(self.read_all())

    async def read_all(self) -> Mapping[str, Sequence[CounterSample] | None]:
        """Asks all pods at once."""
        async with client_with(self.headers) as client:
            answers = await asyncio.gather(*(self.scraped(client, url) for url in self.urls))
        return dict(zip(self.urls, answers, strict=True))

    async def scraped(self, client: httpx.AsyncClient, url: str) -> Sequence[CounterSample] | None:
        try:
            text = await body(client, url.rstrip("/") + PATH)
            return [sample for sample in samples(text) if self.chooses(sample)]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return None

    def chooses(self, sample: CounterSample) -> bool:
        """Metrics that lack a label are those of the whole pod."""
        return all(sample.labels.get(label, value) == value for label, value in self.labels.items())


def client_with(headers: Mapping[str, str]) -> httpx.AsyncClient:
    """A client that asks for nothing packed."""
    headers = {**headers, "accept-encoding": "identity"}
    return httpx.AsyncClient(timeout=TIMEOUT_SECONDS, headers=headers, trust_env=False)


async def body(client: httpx.AsyncClient, url: str) -> str:
    """The text as it comes: what somebody has packed nevertheless is none. Raises httpx.HTTPError and ValueError."""
    content = bytearray()
    try:
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),  # the client's own begins anew with each byte
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ValueError(f"{url} sends more than {MAX_BYTES} bytes")
    except TimeoutError:
        raise httpx.ReadTimeout(f"not all of it came within {TIMEOUT_SECONDS:g} s") from None
    return content.decode()


def samples(text: str) -> Iterable[CounterSample]:
    for family in text_string_to_metric_families(text):
        if family.name in FAMILIES:
            for sample in family.samples:
                yield CounterSample(sample.name, sample.labels, sample.value)
