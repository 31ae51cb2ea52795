"""Cron lines as Kubernetes and KEDA read them: five fields, the two for days combined in a special way."""

from __future__ import annotations

import re
import zoneinfo
from calendar import monthrange
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated

from pydantic import AfterValidator

MONTHS = {
    word: number
    for number, word in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
WEEKDAYS = {word: number for number, word in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
# name, smallest, largest, words
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 6, WEEKDAYS),
)
ITEM = re.compile(r"(?P<every>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?")
ANY = {"*", "?", "*/1", "?/1"}
CALENDAR = [
    (month, day, weekday)
    for month in range(1, 13)
    for day in range(1, monthrange(2024, month)[1] + 1)
    for weekday in range(7)
]
"""Each date of a year on each day of the week: all of them occur, sooner or later."""


@dataclass(frozen=True, slots=True)
class Cron:
    """The moments that a line names; equal for lines that restrict the fields to the same values."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    """Both day fields are restricted: a match of one of them is enough."""

    @property
    def dates(self) -> frozenset[int]:
        """Indices of the days in CALENDAR on which something happens."""
        return dates(self)

    def on(self, month: int, day: int, weekday: int) -> bool:
        matches = (day in self.days, weekday in self.weekdays)
        return month in self.months and (any(matches) if self.either else all(matches))

    def meets(self, other: Cron) -> bool:
        """Whether both name a common moment."""
        return bool(self.minutes & other.minutes and self.hours & other.hours and self.dates & other.dates)

    def within(self, other: Cron) -> bool:
        """Whether the other names all of the moments that this one names."""
        return self.minutes <= other.minutes and self.hours <= other.hours and self.dates <= other.dates


@cache
def dates(cron: Cron) -> frozenset[int]:
    return frozenset(number for number, day in enumerate(CALENDAR) if cron.on(*day))


@cache
def parse(line: str) -> Cron:
    """The moments of a line; the ValueError names the wrong field and what it may hold."""
    texts = line.split()
    if len(texts) != len(FIELDS):
        raise ValueError(f"{line!r} is not a cron line: expected five fields, such as '0 8 * * 1-5'")
    minutes, hours, days, months, weekdays = (field(text, *about) for text, about in zip(texts, FIELDS, strict=True))
    either = not any(ANY & set(text.split(",")) for text in (texts[2], texts[4]))
    cron = Cron(minutes, hours, days, months, weekdays, either)
    if not cron.dates:
        raise ValueError(f"{line!r} never happens: no month that it names has such a day")
    return cron


def field(text: str, name: str, low: int, high: int, words: dict[str, int]) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        what, slash, step = item.partition("/")
        match = ITEM.fullmatch(what)
        if not match or (slash and not (step.isdecimal() and int(step))):
            raise ValueError(f"{item!r} is not a {name}: expected such as *, {low}, {low}-{high} or */2")
        if match["every"]:
            first, last = low, high
        else:
            first = number(match["first"], name, low, high, words)
            # A step after a single value runs from there to the end.
            end = match["last"] or (str(high) if slash else match["first"])
            last = number(end, name, low, high, words)
        if first > last:
            raise ValueError(f"{item!r} runs backwards: expected the {name} that comes first at the left")
        values.update(range(first, last + 1, int(step) if slash else 1))
    return frozenset(values)


def number(text: str, name: str, low: int, high: int, words: dict[str, int]) -> int:
    value = words.get(text.lower(), int(text) if text.isdecimal() else -1)
    if not low <= value <= high:
        names = f" or {next(iter(words))} to {list(words)[-1]}" if words else ""
        sunday = " (Sunday is 0)" if words is WEEKDAYS else ""
        raise ValueError(f"{text!r} is not a {name}: expected {low} to {high}{names}{sunday}")
    return value


def checked_line(line: str) -> str:
    parse(line)
    return " ".join(line.split())


def checked_zone(name: str) -> str:
    """A name of the time zone database. Without a database, as in a slim image, only its form is checked."""
    known = zones()
    if name in known or (not known and re.fullmatch(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+)*", name)):
        return name
    close = get_close_matches(name, known, 1)
    raise ValueError(
        f"{name!r} is not a time zone: expected {close[0] if close else 'UTC or one such as Europe/Berlin'}"
    )


@cache
def zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


CronLine = Annotated[str, AfterValidator(checked_line)]
TimeZone = Annotated[str, AfterValidator(checked_zone)]
