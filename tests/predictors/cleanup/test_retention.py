"""Decisions about removal, for generated caches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.cleanup.retention import (
    DAY,
    HOUR,
    CachedModel,
    CacheLimits,
    DiskUsage,
    FileLinks,
    Files,
    RemovalDecision,
    ago,
    decide,
)

NOW = 1_000_000_000.0
NO_LIMITS = CacheLimits(ttl=float("inf"), max_bytes=float("inf"), min_age=HOUR)


@st.composite
def caches(draw: st.DrawFn) -> list[CachedModel]:
    """Entries that may share files by hard links, some of them linked elsewhere."""
    models = []
    shared = {(1, number): draw(st.integers(0, 1000)) for number in range(3)}
    for number in range(draw(st.integers(0, 8))):
        files = {(0, number): FileLinks(draw(st.integers(0, 1000)), total=1, here=1)}
        for file in draw(st.sets(st.sampled_from(sorted(shared)))):
            files[file] = FileLinks(shared[file], total=9, here=1)
        models.append(
            CachedModel(
                f"k{number}",
                NOW - draw(st.integers(-10, 20 * 24)) * HOUR,
                files,
                broken=draw(st.sampled_from([None, None, None, "broken"])),
                held=draw(st.sampled_from([None, None, "in use"])),
            )
        )
    return models


limits = st.builds(
    CacheLimits,
    ttl=st.sampled_from([0.0, DAY, 7 * DAY, float("inf")]),
    max_bytes=st.one_of(st.just(float("inf")), st.integers(0, 5000).map(float)),
    min_age=st.sampled_from([0.0, HOUR, DAY]),
)


def decisions(cache: list[CachedModel], by: CacheLimits) -> list[RemovalDecision]:
    return decide(cache, by, NOW, DiskUsage(one.files for one in cache))


def size(cache: list[CachedModel]) -> int:
    return sum({file: names.size for one in cache for file, names in one.files.items()}.values())


@given(caches(), limits)
def test_each_entry_gets_one_decision_and_held_ones_stay(cache: list[CachedModel], by: CacheLimits) -> None:
    decided = decisions(cache, by)
    assert sorted(decision.model.key for decision in decided) == sorted(one.key for one in cache)
    assert not any(decision.removed for decision in decided if decision.model.held)


@given(caches(), limits)
def test_nothing_is_removed_without_a_reason(cache: list[CachedModel], by: CacheLimits) -> None:
    for decision in decisions(cache, by):
        one, idle = decision.model, NOW - decision.model.last_used
        if decision.removed:
            assert (one.broken and idle > HOUR) or idle > by.ttl or (by.max_bytes < size(cache) and idle > by.min_age)
        elif not one.held:
            assert one.broken or idle <= by.ttl


@given(caches(), limits)
def test_the_size_is_kept_below_the_limit_if_possible(cache: list[CachedModel], by: CacheLimits) -> None:
    decided = decisions(cache, by)
    left = [decision.model for decision in decided if not decision.removed]
    removable = [one for one in left if not one.held and not one.broken and NOW - one.last_used > by.min_age]
    assert size(left) <= by.max_bytes or not removable


@given(caches(), limits)
def test_the_oldest_entries_are_removed_and_no_more_than_needed(cache: list[CachedModel], by: CacheLimits) -> None:
    decided = decisions(cache, by)
    for_size = [decision.model for decision in decided if decision.removed and "MAX_SIZE_GB" in decision.why]
    left = [decision.model for decision in decided if not decision.removed]
    if for_size:
        assert size([*left, for_size[-1]]) > by.max_bytes
        newest = max(one.last_used for one in for_size)
        assert all(one.held or one.broken or one.last_used >= newest for one in left)


@given(caches())
def test_without_limits_only_broken_entries_are_removed(cache: list[CachedModel]) -> None:
    assert all(decision.model.broken for decision in decisions(cache, NO_LIMITS) if decision.removed)


@given(caches())
def test_bytes_are_counted_once(cache: list[CachedModel]) -> None:
    usage = DiskUsage(one.files for one in cache)

    while cache:
        assert usage.bytes == size(cache)
        usage.remove(cache.pop().files)
    assert usage.bytes == 0


def test_files_with_links_elsewhere_are_not_freed() -> None:
    files: list[Files] = [{(0, 1): FileLinks(10, total=3, here=1)}, {(0, 1): FileLinks(10, total=3, here=2)}]
    usage = DiskUsage(files)
    assert [usage.remove(one) for one in files] == [0, 10]
    assert DiskUsage(files[:1]).remove(files[0]) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute ago"), (7199, "1 hour ago"), (7200, "2 hours ago"), (9.9 * DAY, "9 days ago")],
)  # fmt: skip
def test_how_long_ago_it_was(seconds: float, text: str) -> None:
    assert ago(seconds) == text
