"""Feast in this process: lookups read the online store directly, without a feature server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from predictors.features.definitions import Definitions, read_registry, resolve
from predictors.features.failures import one_line, reason_of, refusal
from predictors.features.keys import MissingKeys, clear_missing, complete_keys
from predictors.features.library import feast
from predictors.features.store import Catalogue, FeastError, FeastRefused, FeastUnavailable, Fetched
from predictors.features.threads import DaemonThreads
from predictors.features.values import python_values, status_of
from predictors.queueing.thread_slots import ThreadSlots

log = logging.getLogger("predictors")
THREADS = 8
NO_ENTITY = {"__dummy_id": [""]}
"""Feast's key for views without entities: it needs a key to count rows."""


class EmbeddedStore:
    def __init__(
        self,
        repo_path: str,
        feature_service: str | None,
        features: Sequence[str] = (),
        refresh_seconds: float = 60,
        threads: int = THREADS,
    ) -> None:
        """`features` are references such as "driver_stats:rating", instead of a service. The registry is reread every
        `refresh_seconds`; 0 is never."""
        self.repo_path = repo_path
        self.feature_service = feature_service
        self.references = features
        self.refresh_seconds = refresh_seconds
        self.threads = DaemonThreads(threads, "feast")
        self.slots = ThreadSlots(self.threads, threads)
        self.abandoned = 0
        """Threads whose callers have left; they may hang."""
        self.reader = DaemonThreads(1, "feast-registry")
        self.refreshing: asyncio.Task[None] | None = None
        self.store: Any = None
        self.definitions: Definitions
        self.needed: set[str] = set()
        """Features that have been requested; the first lookup requests all that the model takes."""

    @property
    def catalogue(self) -> Catalogue:
        """The current catalogue; it changes with the feature service."""
        return self.definitions.catalogue

    async def open(self) -> Catalogue:
        self.store, self.definitions = await asyncio.wrap_future(self.reader.submit(self.load))
        if self.is_async:
            await self.store.initialize()
        if self.refresh_seconds:
            self.refreshing = asyncio.create_task(self.refresh_periodically())
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
            return store, resolve(store, read_registry(store), self.feature_service, self.references)
        except (FeastError, FeastUnavailable):
            raise
        except Exception as error:
            reason = reason_of(error)
            message = f"the Feast repository {self.repo_path}: {one_line(error)}"
            raise FeastError(message) if reason == "error" else FeastUnavailable(reason, message) from None

    async def refresh_periodically(self) -> None:
        while True:
            await asyncio.sleep(self.refresh_seconds)
            await self.refresh()

    async def refresh(self) -> None:
        """Activates a changed registry if it still has the model's features. Lookups continue meanwhile."""
        try:
            changed = await asyncio.wrap_future(self.reader.submit(self.read_changed))
            if changed is None:
                return
            if incompatible := changed.incompatible_with(self.definitions, self.needed):
                raise FeastError(f"{', '.join(incompatible)} was removed or changed incompatibly")
        except Exception as error:
            log.warning("the Feast registry cannot be used, the previous one stays in force: %s", one_line(error))
            return
        self.definitions = changed
        log.info("the changed Feast registry is in force")

    def read_changed(self) -> Definitions | None:
        proto = read_registry(self.store)
        if proto == self.definitions.proto:
            return None
        return resolve(self.store, proto, self.feature_service, self.references)

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        definitions = self.definitions
        self.needed.update(names)
        if definitions.computed.isdisjoint(names):
            catalogue, features, full_names = definitions.request_for(names)
        else:
            catalogue, features, full_names = definitions.catalogue, definitions.everything, definitions.full_names
            if absent := [name for name in catalogue.request_columns if name not in columns]:
                raise FeastRefused(f"features computed on demand need {', '.join(absent)} from the request")
        entities, missing = complete_keys(catalogue, columns)
        request = {
            "config": self.store.config,
            "features": features,
            "entity_rows": entities or NO_ENTITY,
            "registry": definitions.registry,
            "project": self.store.project,
            "full_feature_names": full_names,
        }
        try:
            if self.is_async:
                response = await self.provider.get_online_features_async(**request)
                return self.fetched(response.proto, definitions, names, missing)
            if self.abandoned >= self.slots.threads:
                raise FeastUnavailable(
                    "timeout", f"all {self.slots.threads} threads are still waiting for Feast's online store"
                )
            work = partial(self.request, request, definitions, names, missing)
            fetched: Fetched = await self.slots.run(work, self.abandon_thread)
            return fetched
        except (FeastError, FeastUnavailable):
            raise
        except Exception as error:
            raise refusal(error) from error

    def request(
        self, request: Mapping[str, Any], definitions: Definitions, names: Sequence[str], missing: MissingKeys
    ) -> Fetched:
        return self.fetched(self.provider.get_online_features(**request).proto, definitions, names, missing)

    def abandon_thread(self) -> Any:
        self.abandoned += 1

        def ended() -> None:
            self.abandoned -= 1

        return ended

    def fetched(self, proto: Any, definitions: Definitions, names: Sequence[str], missing: MissingKeys) -> Fetched:
        positions = {name: at for at, name in enumerate(proto.metadata.feature_names.val)}
        result = Fetched({}, {}, {})
        for name in names:
            at = positions.get(name, positions.get(definitions.columns.get(name, "")))
            if at is None:
                raise FeastUnavailable("error", f"Feast's response has no {name}")
            vector = proto.results[at]
            values = python_values(vector.values, self.convert)
            timestamps = [stamp.seconds + stamp.nanos / 1e9 for stamp in vector.event_timestamps]
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
        if missing:
            clear_missing(result, definitions.catalogue, missing)
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
