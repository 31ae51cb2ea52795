"""The features of one loaded model: looks up the values that a request lacks, and applies the policies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

from predictors.features.declaration import Declaration
from predictors.features.join import Lookup, LookupPlan, joined, request_of
from predictors.features.metered import FeatureCounters
from predictors.features.server_errors import NeedsColumns
from predictors.features.store import FeastRefused, FeastUnavailable, FeatureStatus, FeatureStore, Fetched
from predictors.protocol.batch import Batch
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE
from predictors.protocol.errors import FeatureMissing, FeaturesUnavailable, InvalidInput
from predictors.protocol.names import quoted
from predictors.runtime.log_throttle import LogThrottle
from predictors.signature.fields import TEXT_TYPES, Field

log = logging.getLogger("predictors")
T = TypeVar("T")
RunInThread: TypeAlias = "Callable[[Callable[[], Any]], Awaitable[Any]]"
FAILURE_LOG_INTERVAL = 10.0  # seconds
REASONS = {
    "timeout": "Feast did not answer in time",
    "unreachable": "Feast cannot be reached",
    "error": "Feast failed",
    "circuit_open": "Feast has failed repeatedly; the next attempt is in a few seconds",
}
MAX_PROBLEMS = 3  # in one error message
# Types of the signature that accept every value of a Feast type.
COMPATIBLE_TYPES = {
    "FLOAT": {"float", "double"},
    "DOUBLE": {"double"},
    "INT32": {"integer", "long", "double"},
    "INT64": {"long"},
    "STRING": {"string"},
    "BOOL": {"boolean"},
}
STATUS_TEXT = {
    FeatureStatus.MISSING: "has no value for",
    FeatureStatus.NULL: "is null for",
    FeatureStatus.STALE: "is too old for",
}


@dataclass(frozen=True, slots=True)
class Description:
    """The public description of the lookups, for /schema and the documentation pages."""

    source: str
    entities: Mapping[str, str]
    """Types in Feast by key column."""
    columns: Mapping[str, str]
    """Features by column; these columns are optional in requests."""


class Features:
    """For the event loop only."""

    def __init__(
        self,
        declaration: Declaration,
        plan: LookupPlan,
        fields: Sequence[Field],
        store: FeatureStore,
        counters: FeatureCounters,
    ) -> None:
        self.declaration = declaration
        self.plan = plan
        self.store = store
        self.counters = counters
        self.failures = LogThrottle(FAILURE_LOG_INTERVAL)
        self.active = 0
        by_name = {field.name: field for field in fields}
        self.checked_fields = {
            column: by_name[column]
            for column, feature in plan.features.items()
            if column in by_name and by_name[column].type not in COMPATIBLE_TYPES.get(feature.type, ())
        }
        """Columns whose looked-up values may not fit the signature, which is not the caller's fault."""
        self.texts = {field.name for field in fields if field.type in TEXT_TYPES}

    async def join(self, batch: Batch, run_in_thread: RunInThread | None = None) -> Batch:
        """The request with its features; `run_in_thread` takes work that would block the event loop."""
        run = run_in_thread or inline
        request = await run(lambda: request_of(batch, self.plan))
        if request is None:
            return batch
        if len(request.lookups) == 1:
            results = [await self.look_up(request.lookups[0])]
        else:
            results = await gather_or_cancel([self.look_up(lookup) for lookup in request.lookups])
        completed: Batch = await run(lambda: joined(request, results))
        return completed

    async def look_up(self, lookup: Lookup) -> dict[str, Sequence[Any]]:
        """The values of the distinct keys, by column."""
        if not lookup.rows:
            return {column: [] for column in lookup.columns}
        features = self.plan.features
        self.active += 1
        try:
            fetched = await self.store.fetch(lookup.keys, [features[column].full_name for column in lookup.columns])
        except NeedsColumns as error:
            raise FeatureMissing(
                f"the request lacks {quoted(error.columns)}, from which Feast computes features"
            ) from error
        except FeastRefused as error:
            self.log_failure(error)
            raise FeatureMissing("Feast refused the feature lookup; the server's log has the details") from error
        except FeastUnavailable as error:
            self.log_failure(error)
            if self.declaration.unavailable == "error":
                reason = REASONS[error.reason]
                raise FeaturesUnavailable(f"the features cannot be looked up now: {reason}") from error
            return {
                column: [self.substitute(self.declaration.unavailable, column)] * lookup.size
                for column in lookup.columns
            }
        finally:
            self.active -= 1
        return self.apply_policies(lookup, fetched)

    def log_failure(self, error: FeastUnavailable) -> None:
        """Logs Feast's message, which callers must not see: it may hold addresses."""
        if self.failures.due():
            log.warning("a feature lookup failed: %s", error)

    def apply_policies(self, lookup: Lookup, fetched: Fetched) -> dict[str, Sequence[Any]]:
        """The values for the model, or an error that names the missing ones."""
        limit = None if self.declaration.max_age is None else time.time() - self.declaration.max_age
        columns: dict[str, Sequence[Any]] = {}
        problems: list[str] = []
        for column in lookup.columns:
            name = self.plan.features[column].full_name
            values, statuses = fetched.values[name], fetched.statuses[name]
            if limit is not None:
                rows = zip(statuses, values, fetched.timestamps[name], strict=True)
                statuses = [status_by_age(*row, limit) for row in rows]
            found_count = statuses.count(FeatureStatus.FOUND)
            self.counters.count(column, FeatureStatus.FOUND, found_count)
            if found_count < len(statuses):
                values = list(values)
                for position, status in enumerate(statuses):
                    if status is not FeatureStatus.FOUND:
                        self.counters.count(column, status, 1)
                        policy = self.declaration.stale if status is FeatureStatus.STALE else self.declaration.missing
                        if policy == "error" or (policy == "serve" and values[position] is None):
                            entity = entity_text(lookup, position, self.plan.features[column].keys)
                            problems.append(f"feature '{name}' {STATUS_TEXT[status]} {entity}")
                        elif policy != "serve":
                            values[position] = self.substitute(policy, column)
            columns[column] = values
        if problems:
            more = f" and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
            raise FeatureMissing("; ".join(problems[:MAX_PROBLEMS]) + more)
        for column, field in self.checked_fields.items():
            if column in columns:
                if field.type == "datetime":
                    columns[column] = [as_datetime(value) for value in columns[column]]
                self.check(field, columns[column])
        return columns

    def check(self, field: Field, values: Sequence[Any]) -> None:
        try:
            if field.type in ("double", "float") and any(
                type(value) is int and abs(value) > MAX_EXACT_IN_DOUBLE for value in values
            ):
                raise InvalidInput(f"expected {field.expected}, got an integer that a double cannot hold exactly")
            field.conform(list(values))
        except InvalidInput as error:
            name = self.plan.features[field.name].full_name
            raise FeatureMissing(f"feature '{name}' does not fit the signature: {error}") from error

    def substitute(self, policy: str, column: str) -> Any:
        return self.declaration.defaults[column] if policy == "default" else None

    @property
    def text_columns(self) -> list[str]:
        """Key columns and features of type text, which must not be parsed as numbers."""
        keys = [column for key, column in self.plan.keys.items() if self.plan.types.get(key) == "STRING"]
        return keys + [name for name, column in self.plan.spellings.items() if column in self.texts]

    @property
    def further_columns(self) -> list[str]:
        """Columns that requests may have beside those of the model: keys, and other names of features."""
        return [*self.plan.key_only, *self.plan.spellings]

    @property
    def description(self) -> Description:
        plan = self.plan
        keys = plan.keys_of(list(plan.features))
        return Description(
            source=self.declaration.source,
            entities={plan.keys[key]: plan.types.get(key, "") for key in keys},
            columns={column: feature.full_name for column, feature in plan.features.items()},
        )

    async def close(self) -> None:
        """Waits for active lookups, whose time is limited."""
        while self.active:
            await asyncio.sleep(0.02)
        await self.store.close()


def as_datetime(value: Any) -> Any:
    """A feature server writes times as numbers of seconds."""
    return datetime.fromtimestamp(value, UTC) if type(value) in (int, float) else value


def status_by_age(status: FeatureStatus, value: Any, stamp: float, limit: float) -> FeatureStatus:
    """The status by the declared maximal age, which overrides the feature view's ttl."""
    if status not in (FeatureStatus.FOUND, FeatureStatus.STALE) or not stamp:
        return status
    return FeatureStatus.STALE if stamp < limit or value is None else FeatureStatus.FOUND


def entity_text(lookup: Lookup, position: int, keys: Sequence[str]) -> str:
    """The entity, and the first row of the request that has it."""
    entity = ", ".join(f"{key}={lookup.keys[key][position]!r}" for key in keys) or "any entity"
    return f"{entity} (row {lookup.rows[lookup.positions.index(position)]})"


async def inline(work: Callable[[], T]) -> T:
    return work()


async def gather_or_cancel(work: Sequence[Awaitable[T]]) -> list[T]:
    """All results, or the first error; then the other tasks are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
