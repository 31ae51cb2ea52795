"""Opens the feature store of a model, and checks its declaration against Feast and the signature."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from predictors.features.cache import CachedStore
from predictors.features.declaration import Declaration
from predictors.features.embedded import EmbeddedStore
from predictors.features.join import LookupPlan, plan_lookups
from predictors.features.keys import placeholder
from predictors.features.lookup import Features
from predictors.features.metered import FeatureCounters, MeteredStore
from predictors.features.remote import RemoteStore
from predictors.features.resilience import ResilientStore
from predictors.features.store import Catalogue, FeastError, FeastUnavailable, FeatureStore
from predictors.protocol.errors import InvalidInput
from predictors.signature.fields import Field

if TYPE_CHECKING:
    from predictors.features.settings import FeatureSettings
    from predictors.signature.plan import SignaturePlan

log = logging.getLogger("predictors")

OPEN_TIMEOUT = 30.0  # seconds, for the first answer and for the first lookup
BACKOFF = 0.5  # seconds before the first retry, doubled each time
NULLABLE_TYPES = frozenset({"float", "double", "string", "binary", "datetime", "any"})


async def open_features(
    name: str, declaration: Declaration, plan: SignaturePlan, settings: FeatureSettings
) -> Features:
    """Raises `FeastError`."""
    counters = FeatureCounters(name)
    resilient = ResilientStore(store_of(declaration, settings), settings.feast_timeout, settings.feast_retries)
    cached = (
        CachedStore(resilient, settings.feast_cache_ttl, settings.feast_cache_rows)
        if settings.feast_cache_ttl
        else None
    )
    store = MeteredStore(name, cached or resilient, resilient.breaker, cached)
    try:
        catalogue = await open_store(store)
        lookups = plan_lookups(
            declaration, catalogue, [field.name for field in plan.inputs if field.name] or list(plan.names)
        )
        check_policies(declaration, lookups, plan.inputs)
    except BaseException:
        await store.close()
        raise
    counters.begin(lookups.features)
    await warm_up(resilient.store, lookups)
    log.info(
        "features: %s by %s",
        ", ".join(lookups.features),
        ", ".join(lookups.keys_of(list(lookups.features))) or "no keys",
    )
    return Features(declaration, lookups, plan.inputs, store, counters)


def store_of(declaration: Declaration, settings: FeatureSettings) -> FeatureStore:
    """The store that the settings name."""
    if settings.feast_repo_path:
        return EmbeddedStore(
            settings.feast_repo_path, declaration.feature_service, declaration.features, settings.feast_refresh
        )
    return RemoteStore(
        settings.feast_server_url or "",
        declaration.feature_service,
        declaration.features,
        list(declaration.entities),
        token=None if settings.feast_token_file is None else Path(settings.feast_token_file).read_text,
    )


async def open_store(store: FeatureStore) -> Catalogue:
    """Waits for Feast to answer, for at most OPEN_TIMEOUT."""
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + OPEN_TIMEOUT, BACKOFF
    while True:
        try:
            return await store.open()
        except FeastUnavailable as error:
            if loop.time() + pause > end:
                raise FeastError(f"Feast did not answer within {OPEN_TIMEOUT:g} s: {error}") from error
            log.info("waiting for Feast: %s", error)
        await asyncio.sleep(pause)
        pause *= 2


async def warm_up(store: FeatureStore, lookups: LookupPlan) -> None:
    """Looks up a placeholder entity: the first lookup takes much longer, and no caller should wait for it."""
    columns = list(lookups.features)
    keys = {key: [placeholder(lookups.types.get(key, ""))] for key in lookups.keys_of(columns)}
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            await store.fetch(keys, [feature.full_name for feature in lookups.features.values()])
    except TimeoutError:
        log.warning("the first feature lookup failed: no answer within %g s", OPEN_TIMEOUT)
    except FeastUnavailable as error:
        log.warning("the first feature lookup failed: %s", error)


def check_policies(declaration: Declaration, lookups: LookupPlan, fields: Sequence[Field]) -> None:
    """Checks at the start what would otherwise fail with the first missing value."""
    for field in fields:
        if field.name not in lookups.features:
            continue
        for policy in ("missing", "stale", "unavailable"):
            if getattr(declaration, policy) == "null" and field.required and field.type not in NULLABLE_TYPES:
                raise FeastError(
                    f"{policy} features become null, but '{field.name}' cannot be null: expected {field.expected}"
                )
        if field.name in declaration.defaults:
            try:
                field.conform([declaration.defaults[field.name]])
            except InvalidInput as error:
                raise FeastError(f"defaults: {error}") from None
