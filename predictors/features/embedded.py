"""Feast in this process: the online store is read directly, without a feature server in between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from predictors.features.definitions import Definitions, read, resolve
from predictors.features.failures import one_line, reason_of, refusal
from predictors.features.keys import Blanks, blank, completed
from predictors.features.library import feast
from predictors.features.store import Catalogue, FeastError, FeastRefused, FeastUnavailable, Fetched
from predictors.features.threads import DaemonThreads
from predictors.features.values import python_values, status_of
from predictors.queueing.thread_slots import ThreadSlots

log = logging.getLogger("predictors")
THREADS = 8
NO_ENTITY = {"__dummy_id": [""]}
"""Feast's own, of views without entities: it counts rows by their keys, and wants one."""


class Embedded:
    def __init__(
        self,
        repo_path: str,
        feature_service: str | None,
        features: Sequence[str] = (),
        refresh_seconds: float = 60,
        threads: int = THREADS,
    ) -> None:
        """`features` are references, such as "driver_stats:rating", where there is no service.

        The registry is read again every so many seconds; 0 is never.
        """
        self.repo_path = repo_path
        self.feature_service = feature_service
        self.references = features
        self.refresh_seconds = refresh_seconds
        self.threads = DaemonThreads(threads, "feast")
        self.turns = ThreadSlots(self.threads, threads)
        self.left_behind = 0
        """Threads whose callers have gone; they may hang."""
        self.reader = DaemonThreads(1, "feast-registry")
        self.refreshing: asyncio.Task[None] | None = None
        self.store: Any = None
        self.definitions: Definitions
        self.needed: set[str] = set()
        """Features that have been asked for; the first lookup asks for all that the model takes."""

    @property
    def catalogue(self) -> Catalogue:
        """As it is now: a feature service may change."""
        return self.definitions.catalogue

    async def open(self) -> Catalogue:
        self.store, self.definitions = await asyncio.wrap_future(self.reader.submit(self.load))
        if self.is_async:
            await self.store.initialize()
        if self.refresh_seconds:
            self.refreshing = asyncio.create_task(self.refresh_for_ever())
        return self.definitions.catalogue

    def load(self) -> tuple[Any, Definitions]:
        try:
            library = feast()
        except ImportError as error:
            raise FeastError(f"{one_line(error)}: pip install 'mlflow-kserve[feast]'") from None
        try:
            store = library.FeatureStore(repo_path=self.repo_path)
            self.convert = converter()
            self.provider = store.provider
            self.is_async = self.provider.async_supported.online.read
            return store, resolve(store, read(store), self.feature_service, self.references)
        except (FeastError, FeastUnavailable):
            raise
        except Exception as error:
            reason = reason_of(error)
            message = f"the Feast repository {self.repo_path}: {one_line(error)}"
            raise FeastError(message) if reason == "error" else FeastUnavailable(reason, message) from None

    async def refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.refresh_seconds)
            await self.refresh()

    async def refresh(self) -> None:
        """Takes a changed registry over, if the model's features are in it as before. Lookups go on meanwhile."""
        try:
            changed = await asyncio.wrap_future(self.reader.submit(self.read_again))
            if changed is None:
                return
            if lost := changed.lost_since(self.definitions, self.needed):
                raise FeastError(f"it has changed, and {', '.join(lost)} is not there as before")
        except Exception as error:
            log.warning("Feast's registry: what was read before stays in force: %s", one_line(error))
            return
        self.definitions = changed
        log.info("Feast's registry has changed, and is in force")

    def read_again(self) -> Definitions | None:
        proto = read(self.store)
        if proto == self.definitions.proto:
            return None
        return resolve(self.store, proto, self.feature_service, self.references)

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        definitions = self.definitions
        self.needed.update(names)
        if definitions.computed.isdisjoint(names):
            catalogue, features, full_names = definitions.asked_for(names)
        else:
            catalogue, features, full_names = definitions.catalogue, definitions.everything, definitions.full_names
            if absent := [one for one in catalogue.request_columns if one not in columns]:
                raise FeastRefused(f"what Feast computes on demand needs {', '.join(absent)} from the request")
        entities, blanks = completed(catalogue, columns)
        question = {
            "config": self.store.config,
            "features": features,
            "entity_rows": entities or NO_ENTITY,
            "registry": definitions.registry,
            "project": self.store.project,
            "full_feature_names": full_names,
        }
        try:
            if self.is_async:
                answer = await self.provider.get_online_features_async(**question)
                return self.fetched(answer.proto, definitions, names, blanks)
            if self.left_behind >= self.turns.threads:
                raise FeastUnavailable(
                    "timeout", f"all {self.turns.threads} threads still wait for Feast's online store"
                )
            work = partial(self.ask, question, definitions, names, blanks)
            answered: Fetched = await self.turns.take(work, self.leave_behind)
            return answered
        except (FeastError, FeastUnavailable):
            raise
        except Exception as error:
            raise refusal(error) from error

    def ask(
        self, question: Mapping[str, Any], definitions: Definitions, names: Sequence[str], blanks: Blanks
    ) -> Fetched:
        return self.fetched(self.provider.get_online_features(**question).proto, definitions, names, blanks)

    def leave_behind(self) -> Any:
        self.left_behind += 1

        def over() -> None:
            self.left_behind -= 1

        return over

    def fetched(self, proto: Any, definitions: Definitions, names: Sequence[str], blanks: Blanks) -> Fetched:
        positions = {name: at for at, name in enumerate(proto.metadata.feature_names.val)}
        result = Fetched({}, {}, {})
        for name in names:
            at = positions.get(name, positions.get(definitions.columns.get(name, "")))
            if at is None:
                raise FeastUnavailable("error", f"Feast's answer has no {name}")
            vector = proto.results[at]
            values = python_values(vector.values, self.convert)
            timestamps = [one.seconds + one.nanos / 1e9 for one in vector.event_timestamps]
            computed = name in definitions.computed
            age = definitions.ages.get(name)
            earliest = 0.0 if age is None else time.time() - age
            statuses = [
                status_of(status, value, timestamp, computed, earliest)
                for status, value, timestamp in zip(vector.statuses, values, timestamps, strict=True)
            ]
            result.values[name] = values
            result.statuses[name] = statuses
            result.timestamps[name] = timestamps
        if blanks:
            blank(result, definitions.catalogue, blanks)
        return result

    async def close(self) -> None:
        if self.refreshing is not None:
            self.refreshing.cancel()
        if self.store is not None:
            await self.store.close()
        self.threads.shutdown()
        self.reader.shutdown()


def converter() -> Any:
    from feast.type_map import feast_value_type_to_python_type

    return feast_value_type_to_python_type
