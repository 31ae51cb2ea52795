"""Cron lines and time zones of a schedule."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.spec import cron
from generator.spec.cron import checked_line, checked_zone, parse

MONDAY = datetime(2024, 1, 1)


def moments(line: str, days: int = 10) -> list[datetime]:
    """When the line happens in the days from that Monday on, minute by minute."""
    said = parse(line)
    every = (MONDAY + timedelta(minutes=number) for number in range(days * 1440))
    return [
        at
        for at in every
        if at.minute in said.minutes and at.hour in said.hours and said.on(at.month, at.day, at.isoweekday() % 7)
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 8 * * 1-5", ["01 08:00", "02 08:00", "03 08:00", "04 08:00", "05 08:00", "08 08:00", "09 08:00", "10 08:00"]),
        ("30 6-18/6 * * sun", ["07 06:30", "07 12:30", "07 18:30"]),
        ("0 0 3,5 JAN ?", ["03 00:00", "05 00:00"]),
        ("0 0 3 * sat", ["03 00:00", "06 00:00"]),  # one of both is enough
        ("0 22/1 2 * *", ["02 22:00", "02 23:00"]),
        ("*/40 12 2-3 * *", ["02 12:00", "02 12:40", "03 12:00", "03 12:40"]),
    ],
)  # fmt: skip
def test_the_moments_of_a_line(line: str, expected: list[str]) -> None:
    assert [at.strftime("%d %H:%M") for at in moments(line)] == expected


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 8 * *", "expected five fields"),
        ("0 8 * * * *", "expected five fields"),
        ("@daily", "expected five fields"),
        ("60 8 * * *", "'60' is not a minute: expected 0 to 59"),
        ("0 24 * * *", "'24' is not a hour: expected 0 to 23"),
        ("0 8 0 * *", "'0' is not a day of the month: expected 1 to 31"),
        ("0 8 * 13 *", "'13' is not a month: expected 1 to 12 or jan to dec"),
        ("0 8 * * 7", "Sunday is 0"),
        ("0 8 * * monday", "'monday' is not a day of the week"),
        ("0 8 * * fri-mon", "runs backwards"),
        ("0 8-x * * *", "is not a hour"),
        ("*/0 8 * * *", "'*/0' is not a minute"),
        ("0 8, * * *", "is not a hour"),
        ("0 0 31 2,4 *", "never happens"),
        ("TZ=UTC 0 8 * * *", "expected five fields"),
    ],
)
def test_what_is_wrong_with_a_line(line: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(line)
    assert why in str(caught.value)


def test_the_day_that_is_rare() -> None:
    assert parse("0 0 29 2 *").dates


def test_blanks_do_not_matter() -> None:
    assert checked_line(" 0  8 * *  1-5 ") == "0 8 * * 1-5"


def values(low: int, high: int) -> st.SearchStrategy[str]:
    return st.one_of(
        st.just("*"),
        st.integers(low, high).map(str),
        st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: f"{min(ends)}-{max(ends)}"),
        st.integers(1, 3).map(lambda step: f"*/{step}"),
    )


LINES = st.tuples(st.sampled_from(["0", "0,30"]), values(8, 10), values(1, 9), st.just("1"), values(0, 6)).map(" ".join)


@settings(max_examples=30)
@given(LINES, LINES)
def test_meeting_and_being_within_are_about_moments(first: str, second: str) -> None:
    """Told from the calendar, which agrees with ten days minute by minute wherever these decide."""
    one, other = set(moments(first)), set(moments(second))
    if one & other:
        assert parse(first).meets(parse(second))
    if one - other:
        assert not parse(first).within(parse(second))
    assert parse(first).within(parse(first))


def test_zones() -> None:
    assert checked_zone("Europe/Berlin") == "Europe/Berlin"
    with pytest.raises(ValueError, match="expected Europe/Berlin"):
        checked_zone("Europe/Berln")


def test_without_a_database_of_zones_the_form_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cron, "zones", frozenset)
    assert checked_zone("Mars/Olympus_Mons") == "Mars/Olympus_Mons"
    with pytest.raises(ValueError, match="expected UTC"):
        checked_zone("half past eight")
