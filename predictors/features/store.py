"""What this package needs of Feast, whichever way it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

FAILURES = ("timeout", "unreachable", "error", "circuit_open")


class FeastError(Exception):
    """Feast cannot be used as it is declared; the message is one line for the operator."""


class FeastUnavailable(Exception):
    """Feast gave no answer this time."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """One of FAILURES."""


class FeastRefused(FeastUnavailable):
    """Feast is there and does not answer this lookup: another try would not help, and others may be answered."""

    def __init__(self, message: str) -> None:
        super().__init__("error", message)


class FeatureStatus(Enum):
    """What became of one value."""

    FOUND = "found"
    NULL = "null"
    """There is a row for the entity, and it has no value."""
    MISSING = "missing"
    """Feast knows no such entity."""
    STALE = "stale"
    """The value is older than the feature view allows."""


@dataclass(frozen=True, slots=True)
class Feature:
    view: str
    """The feature view, by the name that stands in full feature names; empty where a feature server does not tell."""
    name: str
    type: str = ""
    """Feast's value type, such as INT64, DOUBLE or STRING_LIST; empty where it is not known."""
    keys: tuple[str, ...] = ()
    """The join keys by which it is found."""
    computed_with: tuple[str, ...] = ()
    """Columns of the request, of a feature that Feast computes on demand."""

    @property
    def full_name(self) -> str:
        return f"{self.view}__{self.name}" if self.view else self.name


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be looked up."""

    features: tuple[Feature, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    """Join keys, and their value types where they are known."""
    request_columns: Mapping[str, str] = field(default_factory=dict)
    """Columns that on-demand feature views compute with; the request has to bring them along."""


@dataclass(slots=True)
class Fetched:
    """By full feature name, an entry for each row of keys."""

    values: dict[str, list[Any]]
    statuses: dict[str, list[FeatureStatus]]
    timestamps: dict[str, list[float]]
    """When the value was true, in seconds since the epoch; 0 where it is not known."""


class FeatureStore(Protocol):
    async def open(self) -> Catalogue:
        """Raises `FeastError`, or `FeastUnavailable` where another try may help."""

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        """The features with these full names for rows of join keys (and request columns), in one batch.

        The columns are of one length, at least 1. Raises `FeastUnavailable`.
        """

    async def close(self) -> None: ...
