"""Policies for missing values, failed lookups, and opening and closing a store; with a scripted store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from prometheus_client import REGISTRY

from predictors.features import open_features as opening
from predictors.features.declaration import Declaration
from predictors.features.join import plan_lookups
from predictors.features.lookup import Features
from predictors.features.metered import FeatureCounters
from predictors.features.store import Catalogue, FeastError, FeastUnavailable, Feature, FeatureStatus, Fetched
from predictors.pipeline.settings import Settings
from predictors.protocol.batch import Batch
from predictors.protocol.errors import FeatureMissing, FeaturesUnavailable
from predictors.signature.fields import field_of
from predictors.signature.plan import SignaturePlan

FOUND, NULL, MISSING, STALE = FeatureStatus.FOUND, FeatureStatus.NULL, FeatureStatus.MISSING, FeatureStatus.STALE
CATALOGUE = Catalogue(
    (Feature("view", "x", "DOUBLE", ("who",)), Feature("view", "y", "DOUBLE", ("who",))), {"who": "STRING"}
)
HOUR = 3600.0
KNOWN: dict[str, tuple[Any, FeatureStatus, float]] = {
    "new": (1.0, FOUND, HOUR),
    "old": (2.0, STALE, 24 * HOUR),
    "older": (3.0, STALE, 48 * HOUR),
    "null": (None, NULL, HOUR),
    "timeless": (4.0, FOUND, 0.0),
}
"""Values, their statuses, and their ages in seconds."""


class KnownEntities:
    """A store with the entities above, and the same value for each feature."""

    def __init__(self, before: Callable[[Sequence[str]], Any] | None = None) -> None:
        self.before = before
        self.cancelled: list[tuple[str, ...]] = []
        self.closed = 0

    async def open(self) -> Catalogue:
        return CATALOGUE

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        if self.before is not None:
            try:
                await self.before(names)
            except asyncio.CancelledError:
                self.cancelled.append(tuple(names))
                raise
        rows = [KNOWN.get(who, (None, MISSING, 0.0)) for who in columns["who"]]
        now = time.time()
        return Fetched(
            {name: [row[0] for row in rows] for name in names},
            {name: [row[1] for row in rows] for name in names},
            {name: [row[2] and now - row[2] for row in rows] for name in names},
        )

    async def close(self) -> None:
        self.closed += 1


def features(store: KnownEntities, columns: Sequence[str] = ("x",), **declared: Any) -> Features:
    declaration = Declaration("service", **declared)
    counters = FeatureCounters("lookup")
    counters.begin(columns)
    fields = [field_of({"name": name, "type": "double", "required": True}) for name in columns]
    return Features(declaration, plan_lookups(declaration, CATALOGUE, columns), fields, store, counters)


def joined(rows: list[dict[str, Any]], columns: Sequence[str] = ("x",), **declared: Any) -> Mapping[str, Any]:
    batch = asyncio.run(features(KnownEntities(), columns, **declared).join(Batch(rows=rows)))
    assert batch.columns is not None
    return batch.columns


def who(*names: str) -> list[dict[str, Any]]:
    return [{"who": name} for name in names]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"missing": "null", "stale": "serve"}, [1.0, 2.0, 3.0, None, None, 4.0]),
        ({"missing": "null", "stale": "null"}, [1.0, None, None, None, None, 4.0]),
        ({"missing": "default", "stale": "null", "defaults": {"x": 7.0}}, [1.0, None, None, 7.0, 7.0, 4.0]),
        ({"missing": "null", "stale": "default", "defaults": {"x": 7.0}}, [1.0, 7.0, 7.0, None, None, 4.0]),
        # A declared age overrides the feature view's ttl, whether it is longer or shorter.
        ({"missing": "null", "stale": "null", "max_age": 36 * HOUR}, [1.0, 2.0, None, None, None, 4.0]),
        ({"missing": "null", "stale": "null", "max_age": HOUR / 2}, [None, None, None, None, None, 4.0]),
    ],
    ids=["serve", "null", "missing default", "stale default", "longer", "shorter"],
)
def test_policies(declared: dict[str, Any], expected: list[float | None]) -> None:
    assert joined(who("new", "old", "older", "null", "nobody", "timeless"), **declared) == {"x": expected}


@pytest.mark.parametrize(
    ("names", "declared", "message"),
    [
        (["new", "old"], {}, "feature 'view__x' is too old for who='old' (row 1)"),
        (["null"], {"stale": "serve"}, "feature 'view__x' is null for who='null' (row 0)"),
        (["new", "a", "a"], {"stale": "null"}, "feature 'view__x' has no value for who='a' (row 1)"),
        (["a", "b", "c"], {}, "for who='b' (row 1); feature 'view__x' has no value for who='c' (row 2)"),
        (["a", "b", "c", "d", "e"], {}, "for who='c' (row 2) and 2 more"),
    ],
    ids=["stale", "null", "once for each entity", "as many as are named", "more"],
)
def test_errors_name_feature_and_entity(names: list[str], declared: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureMissing) as raised:
        joined(who(*names), **declared)
    assert str(raised.value).endswith(message)


def test_each_value_is_counted_once() -> None:
    before = [counted(status) for status in FeatureStatus]
    joined(who("new", "old", "older", "null", "nobody", "nobody"), missing="null", stale="null")
    assert [counted(status) - was for status, was in zip(FeatureStatus, before, strict=True)] == [1, 1, 1, 2]


def counted(status: FeatureStatus) -> float:
    labels = {"model_name": "lookup", "feature": "x", "result": status.value}
    return REGISTRY.get_sample_value("model_feature_values_total", labels) or 0.0


def test_failed_lookups_are_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async def down(_: Sequence[str]) -> None:
        raise FeastUnavailable("unreachable", "gone")

    async def run() -> None:
        model = features(KnownEntities(down))
        for _ in range(3):
            with pytest.raises(FeaturesUnavailable, match="Feast cannot be reached"):
                await model.join(Batch(rows=who("new")))

    asyncio.run(run())
    assert [one.message for one in caplog.records] == ["a feature lookup failed: gone"]


def test_when_a_lookup_of_a_request_fails_the_others_are_cancelled() -> None:
    async def down(names: Sequence[str]) -> None:
        if len(names) == 1:
            raise FeastUnavailable("error", "down")
        await asyncio.Event().wait()

    async def run() -> None:
        store = KnownEntities(down)
        with pytest.raises(FeaturesUnavailable):
            await features(store, ("x", "y")).join(Batch(rows=[{"who": "new"}, {"who": "new", "y": 1.0}]))
        await asyncio.sleep(0)
        assert store.cancelled == [("view__x", "view__y")]

    asyncio.run(run())


def test_a_store_is_closed_after_active_lookups() -> None:
    async def run() -> None:
        gate = asyncio.Event()

        async def held(_: Sequence[str]) -> None:
            await gate.wait()

        store = KnownEntities(held)
        model = features(store)
        lookup = asyncio.create_task(model.join(Batch(rows=who("new"))))
        closing = asyncio.create_task(model.close())
        await asyncio.sleep(0.05)
        assert (store.closed, closing.done()) == (0, False)
        gate.set()
        assert (await lookup).columns == {"x": [1.0]}
        await asyncio.wait_for(closing, 5)
        assert store.closed == 1

    asyncio.run(run())


class TestOpening:
    SETTINGS = Settings(feast_server_url="http://feast")

    def opened(self, store: KnownEntities, monkeypatch: pytest.MonkeyPatch, **declared: Any) -> Features:
        monkeypatch.setattr(opening, "store_of", lambda *_: store)
        monkeypatch.setattr(opening, "BACKOFF", 0.001)
        plan = SignaturePlan((field_of({"name": "x", "type": "integer", "required": True}),))
        return asyncio.run(opening.open_features("opening", Declaration("service", **declared), plan, self.SETTINGS))

    def test_it_waits_for_feast_and_looks_up_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        attempts, lookups = [], []

        class Late(KnownEntities):
            async def open(self) -> Catalogue:
                attempts.append(1)
                if len(attempts) < 4:
                    raise FeastUnavailable("unreachable", "not yet")
                return CATALOGUE

        async def first(names: Sequence[str]) -> None:
            lookups.append([*names])

        store = Late(first)
        self.opened(store, monkeypatch)
        assert (len(attempts), lookups, store.closed) == (4, [["view__x"]], 0)

    def test_it_does_not_wait_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Never(KnownEntities):
            async def open(self) -> Catalogue:
                raise FeastUnavailable("unreachable", "not yet")

        store = Never()
        monkeypatch.setattr(opening, "OPEN_TIMEOUT", 0.05)
        with pytest.raises(FeastError, match=r"Feast did not answer within 0\.05 s: not yet"):
            self.opened(store, monkeypatch)
        assert store.closed == 1

    @pytest.mark.parametrize("policy", ["missing", "stale", "unavailable"])
    def test_null_for_a_column_that_is_not_nullable(self, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        store = KnownEntities()
        with pytest.raises(FeastError, match=f"{policy} features become null, but 'x' cannot be null"):
            self.opened(store, monkeypatch, **{policy: "null"})
        assert store.closed == 1

    @pytest.mark.parametrize("value", [0.5, "x", None], ids=["number", "text", "null"])
    def test_a_default_that_does_not_fit_the_signature(self, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(FeastError, match="defaults: "):
            self.opened(KnownEntities(), monkeypatch, missing="default", defaults={"x": value})
