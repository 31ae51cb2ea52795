"""From what a model declares to what looks its features up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from predictors.features.cache import Cached
from predictors.features.counting import Counted, FeatureCounters
from predictors.features.declaration import Declaration
from predictors.features.embedded import Embedded
from predictors.features.join import LookupPlan, wanted_of
from predictors.features.keys import stand_in
from predictors.features.lookup import Features
from predictors.features.remote import Remote
from predictors.features.resilience import Resilient
from predictors.features.store import Catalogue, FeastError, FeastUnavailable, FeatureStore
from predictors.protocol.errors import InvalidInput
from predictors.signature.fields import Field

if TYPE_CHECKING:
    from predictors.features.settings import FeatureSettings
    from predictors.signature.plan import SignaturePlan

log = logging.getLogger("predictors")

PATIENCE = 30.0  # seconds for Feast to answer at the start, and for the first lookup
PAUSE = 0.5  # seconds before the second try, doubled each time
HOLD_NULL = frozenset({"float", "double", "string", "binary", "datetime", "any"})


async def open_features(
    name: str, declaration: Declaration, plan: SignaturePlan, settings: FeatureSettings
) -> Features:
    """Raises `FeastError`."""
    counters = FeatureCounters(name)
    resilient = Resilient(store_of(declaration, settings), settings.feast_timeout, settings.feast_retries)
    cached = (
        Cached(resilient, settings.feast_cache_ttl, settings.feast_cache_rows) if settings.feast_cache_ttl else None
    )
    store = Counted(name, cached or resilient, resilient.breaker, cached)
    try:
        catalogue = await patiently(store)
        wanted = wanted_of(declaration, catalogue, [one.name for one in plan.inputs if one.name] or list(plan.names))
        check_policies(declaration, wanted, plan.inputs)
    except BaseException:
        await store.close()
        raise
    counters.begin(wanted.features)
    await first_lookup(resilient.store, wanted)
    log.info(
        "features: %s by %s", ", ".join(wanted.features), ", ".join(wanted.keys_of(list(wanted.features))) or "nothing"
    )
    return Features(declaration, wanted, plan.inputs, store, counters)


def store_of(declaration: Declaration, settings: FeatureSettings) -> FeatureStore:
    """The way to Feast that the settings name."""
    if settings.feast_repo_path:
        return Embedded(
            settings.feast_repo_path, declaration.feature_service, declaration.features, settings.feast_refresh
        )
    return Remote(
        settings.feast_server_url or "",
        declaration.feature_service,
        declaration.features,
        list(declaration.entities),
        token=None if settings.feast_token_file is None else Path(settings.feast_token_file).read_text,
    )


async def patiently(store: FeatureStore) -> Catalogue:
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + PATIENCE, PAUSE
    while True:
        try:
            return await store.open()
        except FeastUnavailable as error:
            if loop.time() + pause > end:
                raise FeastError(f"Feast does not answer: {error}") from error
            log.info("waiting for Feast: %s", error)
        await asyncio.sleep(pause)
        pause *= 2


async def first_lookup(store: FeatureStore, wanted: LookupPlan) -> None:
    """Of an entity that hardly exists: it takes much longer than later ones, and no caller should wait for that."""
    columns = list(wanted.features)
    keys = {key: [stand_in(wanted.types.get(key, ""))] for key in wanted.keys_of(columns)}
    try:
        async with asyncio.timeout(PATIENCE):
            await store.fetch(keys, [one.full_name for one in wanted.features.values()])
    except TimeoutError:
        log.warning("a first lookup of features failed: no answer within %g s", PATIENCE)
    except FeastUnavailable as error:
        log.warning("a first lookup of features failed: %s", error)


def check_policies(declaration: Declaration, wanted: LookupPlan, fields: Sequence[Field]) -> None:
    """What would only show with the first entity that Feast does not know."""
    for field in fields:
        if field.name not in wanted.features:
            continue
        for policy in ("missing", "stale", "unavailable"):
            if getattr(declaration, policy) == "null" and field.required and field.type not in HOLD_NULL:
                raise FeastError(
                    f"{policy} features become null, which '{field.name}' cannot be: the model takes {field.expected}"
                )
        if field.name in declaration.defaults:
            try:
                field.conform([declaration.defaults[field.name]])
            except InvalidInput as error:
                raise FeastError(f"defaults: {error}") from None
