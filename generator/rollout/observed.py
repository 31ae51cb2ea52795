"""What a cluster has of a serve, and what it can do. No I/O: whoever asks the cluster fills it in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from generator.resources.meta import Resource

KNATIVE_SERVICE = "ksvc"
"""The kind of Knative's Services here, because Kubernetes has a kind Service as well."""


@dataclass(frozen=True, slots=True)
class ClusterTraits:
    """What the cluster's KServe and gateway can do; None where nobody asked."""

    gateway_api: bool | None = None
    """Whether KServe makes HTTPRoutes rather than Ingresses."""
    splits: bool | None = None
    """Whether KServe sends the canaries of spec.canary any traffic."""
    release: str | None = None
    """The release of KServe's controller, if its image names it."""


@dataclass(frozen=True, slots=True)
class ObservedServe:
    """The objects of a namespace that matter for a serve, by kind and name."""

    objects: Mapping[tuple[str, str], Resource] = field(default_factory=dict)
    traits: ClusterTraits = ClusterTraits()

    @classmethod
    def of(cls, resources: Iterable[Resource], traits: ClusterTraits = ClusterTraits()) -> ObservedServe:
        return cls({(kind_of(each), each["metadata"]["name"]): each for each in resources}, traits)

    def get(self, kind: str, name: str) -> Resource | None:
        return self.objects.get((kind, name))

    def number(self, kind: str, name: str, *path: str) -> int:
        """A number in an object; 0 where there is none."""
        value = self.value(kind, name, *path)
        return value if isinstance(value, int) else 0

    def value(self, kind: str, name: str, *path: str) -> Any:
        """A value in an object, or None."""
        place: Any = self.get(kind, name)
        for part in path:
            place = place.get(part) if isinstance(place, Mapping) else None
        return place

    def contains(self, kind: str, name: str, texts: Iterable[str], *path: str) -> bool:
        """Whether all texts are values below a path of an object."""
        there = set(strings(self.value(kind, name, *path)))
        return all(text in there for text in texts)


def kind_of(resource: Resource) -> str:
    is_knative = resource["kind"] == "Service" and resource["apiVersion"].startswith("serving.knative.dev/")
    return KNATIVE_SERVICE if is_knative else str(resource["kind"])


def strings(content: Any) -> Iterator[str]:
    """All texts in an object that are values."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from strings(value)
