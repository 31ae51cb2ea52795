"""Gauges whose samples are replaced all at once, so that those of the past disappear.

prometheus_client cannot remove a sample where several processes share them, and an outdated number is worse than none.
With several workers one process measures for all of them and writes a file, which any process that is scraped reads.
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
SNAPSHOT_FILE = "measured.json"


class SnapshotGauge:
    """A collector for prometheus_client's registry, with the attributes of its own gauges."""

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
        samples = [sample for by_labels in list(self.samples.values()) for sample in by_labels.items()]
        return [self.family(samples)] if samples else []

    def family(self, samples: Iterable[tuple[Iterable[str], float]]) -> GaugeMetricFamily:
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, value in samples:  # an unpaired surrogate in one of them would fail the whole page
            family.add_metric([label.encode(errors="replace").decode() for label in labels], value)
        return family


def publish(model_name: str, snapshot: Mapping[SnapshotGauge, Mapping[Labels, float]], folder: str | None) -> None:
    """Replaces all samples of a model; `folder` is where several processes share them."""
    for gauge, samples in snapshot.items():
        gauge.samples[model_name] = samples
    if folder is not None:
        lines = {
            gauge._name: [[*labels, value] for labels, value in samples.items()] for gauge, samples in snapshot.items()
        }
        unfinished = Path(folder) / f".{SNAPSHOT_FILE}.{os.getpid()}"
        unfinished.write_text(json.dumps(lines))
        unfinished.rename(unfinished.with_name(SNAPSHOT_FILE))


class SharedSnapshot:
    """The samples that the measuring process has published, for the registry of any process."""

    def __init__(self, folder: str, gauges: Iterable[SnapshotGauge]) -> None:
        self.file = Path(folder) / SNAPSHOT_FILE
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
