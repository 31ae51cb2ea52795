"""The features of one loaded model: what a request lacks is looked up and joined to it, or the request refused."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

from predictors.features.counting import FeatureCounters
from predictors.features.declaration import Declaration
from predictors.features.join import Lookup, LookupPlan, joined, request_of
from predictors.features.server_errors import NeedsColumns
from predictors.features.store import FeastRefused, FeastUnavailable, FeatureStatus, FeatureStore, Fetched
from predictors.protocol.batch import Batch
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE
from predictors.protocol.errors import FeatureMissing, FeaturesUnavailable, InvalidInput
from predictors.signature.fields import TEXT_TYPES, Field, quoted

log = logging.getLogger("predictors")
T = TypeVar("T")
Apart: TypeAlias = "Callable[[Callable[[], Any]], Awaitable[Any]]"
SILENCE = 10.0  # seconds between lines of the log about lookups that fail
REASONS = {
    "timeout": "Feast does not answer in time",
    "unreachable": "Feast cannot be reached",
    "error": "Feast fails",
    "circuit_open": "Feast has not answered lately, and is asked again in a few seconds",
}
MAX_NAMED = 3  # problems that one error names
# Types of Feast whose every value a column of these types takes.
FITTING = {
    "FLOAT": {"float", "double"},
    "DOUBLE": {"double"},
    "INT32": {"integer", "long", "double"},
    "INT64": {"long"},
    "STRING": {"string"},
    "BOOL": {"boolean"},
}
WORDS = {
    FeatureStatus.MISSING: "has no value for",
    FeatureStatus.NULL: "is null for",
    FeatureStatus.STALE: "is too old for",
}


@dataclass(frozen=True, slots=True)
class Description:
    """What callers can know of it."""

    source: str
    entities: Mapping[str, str]
    """Columns that hold the keys, and their types in Feast."""
    columns: Mapping[str, str]
    """Columns that need not be sent, and the features that they are."""


class Features:
    """For the event loop only."""

    def __init__(
        self,
        declaration: Declaration,
        wanted: LookupPlan,
        fields: Sequence[Field],
        store: FeatureStore,
        counters: FeatureCounters,
    ) -> None:
        self.declaration = declaration
        self.wanted = wanted
        self.store = store
        self.counters = counters
        self.silent_until = 0.0
        self.under_way = 0
        by_name = {one.name: one for one in fields}
        self.doubtful = {
            column: by_name[column]
            for column, feature in wanted.features.items()
            if column in by_name and by_name[column].type not in FITTING.get(feature.type, ())
        }
        """Columns whose values are checked: what does not fit is not the caller's fault."""
        self.texts = {one.name for one in fields if one.type in TEXT_TYPES}

    async def join(self, batch: Batch, apart: Apart | None = None) -> Batch:
        """The request with its features; `apart` runs in a thread what would keep the event loop from others."""
        run = apart or inline
        request = await run(lambda: request_of(batch, self.wanted))
        if request is None:
            return batch
        if len(request.lookups) == 1:
            found = [await self.found(request.lookups[0])]
        else:
            found = await together([self.found(one) for one in request.lookups])
        made: Batch = await run(lambda: joined(request, found))
        return made

    async def found(self, lookup: Lookup) -> dict[str, Sequence[Any]]:
        """By column, a value for each of the distinct keys."""
        if not lookup.rows:
            return {column: [] for column in lookup.columns}
        features = self.wanted.features
        self.under_way += 1
        try:
            fetched = await self.store.fetch(lookup.keys, [features[column].full_name for column in lookup.columns])
        except NeedsColumns as error:
            raise FeatureMissing(f"Feast computes features with {quoted(error.columns)}, which are not sent") from error
        except FeastRefused as error:
            self.tell(error)
            raise FeatureMissing("Feast refuses to look the features up; the server's log has the details") from error
        except FeastUnavailable as error:
            self.tell(error)
            if self.declaration.unavailable == "error":
                reason = REASONS[error.reason]
                raise FeaturesUnavailable(f"the features cannot be looked up now: {reason}") from error
            return {
                column: [self.instead(self.declaration.unavailable, column)] * lookup.size for column in lookup.columns
            }
        finally:
            self.under_way -= 1
        return self.settled(lookup, fetched)

    def tell(self, error: FeastUnavailable) -> None:
        """In the log, where addresses and Feast's own words belong; now and then, as this may go on for long."""
        if time.monotonic() >= self.silent_until:
            self.silent_until = time.monotonic() + SILENCE
            log.warning("features were not looked up: %s", error)

    def settled(self, lookup: Lookup, fetched: Fetched) -> dict[str, Sequence[Any]]:
        """The values that the model gets, or an error that names what is not there."""
        limit = None if self.declaration.max_age is None else time.time() - self.declaration.max_age
        made: dict[str, Sequence[Any]] = {}
        problems: list[str] = []
        for column in lookup.columns:
            name = self.wanted.features[column].full_name
            values, statuses = fetched.values[name], fetched.statuses[name]
            if limit is not None:
                statuses = [aged(*one, limit) for one in zip(statuses, values, fetched.timestamps[name], strict=True)]
            good = statuses.count(FeatureStatus.FOUND)
            self.counters.count(column, FeatureStatus.FOUND, good)
            if good < len(statuses):
                values = list(values)
                for place, status in enumerate(statuses):
                    if status is not FeatureStatus.FOUND:
                        self.counters.count(column, status, 1)
                        policy = self.declaration.stale if status is FeatureStatus.STALE else self.declaration.missing
                        if policy == "error" or (policy == "serve" and values[place] is None):
                            where = place_words(lookup, place, self.wanted.features[column].keys)
                            problems.append(f"feature '{name}' {WORDS[status]} {where}")
                        elif policy != "serve":
                            values[place] = self.instead(policy, column)
            made[column] = values
        if problems:
            more = f" and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
            raise FeatureMissing("; ".join(problems[:MAX_NAMED]) + more)
        for column, field in self.doubtful.items():
            if column in made:
                if field.type == "datetime":
                    made[column] = [moment(value) for value in made[column]]
                self.check(field, made[column])
        return made

    def check(self, field: Field, values: Sequence[Any]) -> None:
        try:
            if field.type in ("double", "float") and any(
                type(one) is int and abs(one) > MAX_EXACT_IN_DOUBLE for one in values
            ):
                raise InvalidInput(f"expected {field.expected}, got an integer that a double cannot hold exactly")
            field.conform(list(values))
        except InvalidInput as error:
            name = self.wanted.features[field.name].full_name
            raise FeatureMissing(f"feature '{name}' is not what the model takes: {error}") from error

    def instead(self, policy: str, column: str) -> Any:
        return self.declaration.defaults[column] if policy == "default" else None

    @property
    def text_columns(self) -> list[str]:
        """Those that hold keys or features which are text, also where they look like numbers."""
        keys = [column for key, column in self.wanted.keys.items() if self.wanted.types.get(key) == "STRING"]
        return keys + [name for name, column in self.wanted.spellings.items() if column in self.texts]

    @property
    def description(self) -> Description:
        wanted = self.wanted
        keys = wanted.keys_of(list(wanted.features))
        return Description(
            source=self.declaration.source,
            entities={wanted.keys[key]: wanted.types.get(key, "") for key in keys},
            columns={column: one.full_name for column, one in wanted.features.items()},
        )

    async def close(self) -> None:
        """Once nothing is under way: lookups have little time each."""
        while self.under_way:
            await asyncio.sleep(0.02)
        await self.store.close()


def moment(value: Any) -> Any:
    """A feature server writes times as numbers of seconds."""
    return datetime.fromtimestamp(value, UTC) if type(value) in (int, float) else value


def aged(status: FeatureStatus, value: Any, stamp: float, limit: float) -> FeatureStatus:
    """The age that is said counts, not that of the feature view."""
    if status not in (FeatureStatus.FOUND, FeatureStatus.STALE) or not stamp:
        return status
    return FeatureStatus.STALE if stamp < limit or value is None else FeatureStatus.FOUND


def place_words(lookup: Lookup, place: int, keys: Sequence[str]) -> str:
    """The entity, and the row of the request where it first stands."""
    entity = ", ".join(f"{key}={lookup.keys[key][place]!r}" for key in keys) or "any entity"
    return f"{entity} (row {lookup.rows[lookup.places.index(place)]})"


async def inline(work: Callable[[], T]) -> T:
    return work()


async def together(work: Sequence[Awaitable[T]]) -> list[T]:
    """All of them, or the first error; then nothing is left behind."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
