"""What may go: over all caches that hypothesis can think of."""

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
    Files,
    Names,
    RemovalDecision,
    ago,
    verdicts,
)

NOW = 1_000_000_000.0
NO_LIMITS = CacheLimits(ttl=float("inf"), most=float("inf"), young=HOUR)


@st.composite
def caches(draw: st.DrawFn) -> list[CachedModel]:
    """Entries that may share data by hard links, some of which have names elsewhere."""
    made = []
    shared = {(1, number): draw(st.integers(0, 1000)) for number in range(3)}
    for number in range(draw(st.integers(0, 8))):
        files = {(0, number): Names(draw(st.integers(0, 1000)), everywhere=1, here=1)}
        for file in draw(st.sets(st.sampled_from(sorted(shared)))):
            files[file] = Names(shared[file], everywhere=9, here=1)
        made.append(
            CachedModel(
                f"k{number}",
                NOW - draw(st.integers(-10, 20 * 24)) * HOUR,
                files,
                broken=draw(st.sampled_from([None, None, None, "broken"])),
                held=draw(st.sampled_from([None, None, "in use"])),
            )
        )
    return made


limits = st.builds(
    CacheLimits,
    ttl=st.sampled_from([0.0, DAY, 7 * DAY, float("inf")]),
    most=st.one_of(st.just(float("inf")), st.integers(0, 5000).map(float)),
    young=st.sampled_from([0.0, HOUR, DAY]),
)


def judged(cache: list[CachedModel], by: CacheLimits) -> list[RemovalDecision]:
    return verdicts(cache, by, NOW, DiskUsage(one.files for one in cache))


def size(cache: list[CachedModel]) -> int:
    return sum({file: names.size for one in cache for file, names in one.files.items()}.values())


@given(caches(), limits)
def test_each_is_judged_once_and_what_is_held_stays(cache: list[CachedModel], by: CacheLimits) -> None:
    made = judged(cache, by)
    assert sorted(verdict.candidate.key for verdict in made) == sorted(one.key for one in cache)
    assert not any(verdict.removed for verdict in made if verdict.candidate.held)


@given(caches(), limits)
def test_nothing_goes_without_a_reason(cache: list[CachedModel], by: CacheLimits) -> None:
    for verdict in judged(cache, by):
        one, idle = verdict.candidate, NOW - verdict.candidate.last_used
        if verdict.removed:
            assert (one.broken and idle > HOUR) or idle > by.ttl or (by.most < size(cache) and idle > by.young)
        elif not one.held:
            assert one.broken or idle <= by.ttl


@given(caches(), limits)
def test_the_limit_is_kept_where_it_can_be(cache: list[CachedModel], by: CacheLimits) -> None:
    made = judged(cache, by)
    left = [verdict.candidate for verdict in made if not verdict.removed]
    fit_to_go = [one for one in left if not one.held and not one.broken and NOW - one.last_used > by.young]
    assert size(left) <= by.most or not fit_to_go


@given(caches(), limits)
def test_no_more_goes_than_the_limit_asks_for_and_the_oldest_first(cache: list[CachedModel], by: CacheLimits) -> None:
    made = judged(cache, by)
    for_size = [verdict.candidate for verdict in made if verdict.removed and "MAX_SIZE_GB" in verdict.why]
    left = [verdict.candidate for verdict in made if not verdict.removed]
    if for_size:
        assert size([*left, for_size[-1]]) > by.most
        newest = max(one.last_used for one in for_size)
        assert all(one.held or one.broken or one.last_used >= newest for one in left)


@given(caches())
def test_without_limits_only_what_is_broken_goes(cache: list[CachedModel]) -> None:
    assert all(verdict.candidate.broken for verdict in judged(cache, NO_LIMITS) if verdict.removed)


@given(caches())
def test_bytes_are_counted_once(cache: list[CachedModel]) -> None:
    tally = DiskUsage(one.files for one in cache)

    while cache:
        assert tally.bytes == size(cache)
        tally.remove(cache.pop().files)
    assert tally.bytes == 0


def test_data_with_a_name_elsewhere_is_not_freed() -> None:
    files: list[Files] = [{(0, 1): Names(10, everywhere=3, here=1)}, {(0, 1): Names(10, everywhere=3, here=2)}]
    tally = DiskUsage(files)
    assert [tally.remove(one) for one in files] == [0, 10]
    assert DiskUsage(files[:1]).remove(files[0]) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute ago"), (7199, "1 hour ago"), (7200, "2 hours ago"), (9.9 * DAY, "9 days ago")],
)  # fmt: skip
def test_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text
