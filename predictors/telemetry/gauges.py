"""Gauges whose samples are found all at once: one that is not among the latest is gone.

prometheus_client cannot take a sample away where several processes share them, and a number that is not true any more
is worse than none. With several workers one of them measures for all, and whoever is asked reads it from a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

Labels: TypeAlias = "tuple[str, ...]"
FILE = "measured.json"


class Measured:
    """One such gauge, as prometheus_client's registry takes it; it has the attributes of its own gauges."""

    _type = "gauge"

    def __init__(self, name: str, documentation: str, labelnames: Labels) -> None:
        from prometheus_client import REGISTRY

        self._name, self._documentation, self._labelnames = name, documentation, labelnames
        self.samples: dict[str, Mapping[Labels, float]] = {}
        """By the model's name."""
        REGISTRY.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        return [self.family(())]

    def collect(self) -> list[GaugeMetricFamily]:
        samples = [one for found in list(self.samples.values()) for one in found.items()]
        return [self.family(samples)] if samples else []

    def family(self, samples: Iterable[tuple[Iterable[str], float]]) -> GaugeMetricFamily:
        from prometheus_client.core import GaugeMetricFamily

        made = GaugeMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, value in samples:  # a half of a surrogate pair in one of them would fail the whole page
            made.add_metric([label.encode(errors="replace").decode() for label in labels], value)
        return made


def publish(model_name: str, found: Mapping[Measured, Mapping[Labels, float]], folder: str | None) -> None:
    """Replaces all that was said of a model; `folder` is where several processes share it."""
    for measured, samples in found.items():
        measured.samples[model_name] = samples
    if folder is not None:
        lines = {one._name: [[*labels, value] for labels, value in samples.items()] for one, samples in found.items()}
        made = Path(folder) / f".{FILE}.{os.getpid()}"
        made.write_text(json.dumps(lines))
        made.rename(made.with_name(FILE))


class Published:
    """What the process that measures has published, for a registry of any of them."""

    def __init__(self, folder: str, gauges: Iterable[Measured]) -> None:
        self.file = Path(folder) / FILE
        self.gauges = gauges

    def collect(self) -> Iterator[Any]:
        try:
            lines = json.loads(self.file.read_bytes())
        except FileNotFoundError:
            return
        for gauge in self.gauges:
            samples = lines.get(gauge._name)
            if samples:
                yield gauge.family((labels, value) for *labels, value in samples)
