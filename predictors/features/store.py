"""The interface to Feast, in this process or behind its feature server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

FAILURES = ("timeout", "unreachable", "error", "circuit_open")


class FeastError(Exception):
    """Feast cannot be used as it is declared; the message is one line for the operator."""


class FeastUnavailable(Exception):
    """A lookup failed."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """One of FAILURES."""


class FeastRefused(FeastUnavailable):
    """Feast refused a lookup: a retry would not help, and other lookups may succeed."""

    def __init__(self, message: str) -> None:
        super().__init__("error", message)


class FeatureStatus(Enum):
    """The status of a looked-up value."""

    FOUND = "found"
    NULL = "null"
    """The entity has a row without a value."""
    MISSING = "missing"
    """Feast knows no such entity."""
    STALE = "stale"
    """The value is older than the feature view allows."""


@dataclass(frozen=True, slots=True)
class Feature:
    view: str
    """The feature view, by its name in full feature names; empty if a feature server does not report it."""
    name: str
    type: str = ""
    """Feast's value type, such as INT64, DOUBLE or STRING_LIST; empty if unknown."""
    keys: tuple[str, ...] = ()
    """The join keys of its view."""
    computed_with: tuple[str, ...] = ()
    """Columns of the request from which Feast computes the feature on demand."""

    @property
    def full_name(self) -> str:
        return f"{self.view}__{self.name}" if self.view else self.name


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The features that can be looked up."""

    features: tuple[Feature, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    """Value types by join key; empty if unknown."""
    request_columns: Mapping[str, str] = field(default_factory=dict)
    """Columns of the request that on-demand feature views need."""


@dataclass(slots=True)
class Fetched:
    """Results by full feature name, one for each row of keys."""

    values: dict[str, list[Any]]
    statuses: dict[str, list[FeatureStatus]]
    timestamps: dict[str, list[float]]
    """Event times in seconds since the epoch; 0 if unknown."""


class FeatureStore(Protocol):
    async def open(self) -> Catalogue:
        """Raises `FeastError`, or `FeastUnavailable` if a retry may help."""

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        """Looks up features by full name, for rows of join keys and request columns of equal length, at least 1.

        Raises `FeastUnavailable`.
        """

    async def close(self) -> None: ...
