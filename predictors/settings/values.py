"""Parsers of setting values: each takes a text and raises ValueError with what it expected."""

from __future__ import annotations

from collections.abc import Callable


def truth(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected true or false")


def port(text: str) -> int:
    return between(0, 65535)(text)


def between(low: int, high: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError(f"expected {low} or more" if high is None else f"expected {low} to {high}")
        return value

    return parse


def seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("expected a number of seconds, 0 or more")
    return value


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("expected a number of seconds, more than 0")
    return value


def above(least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = seconds(text)
        if value < least:
            raise ValueError(f"expected a number of seconds, {least:g} or more")
        return value

    return parse


def share(text: str) -> float:
    digits = text.strip().removesuffix("%")
    try:
        value = float(digits) / (1 if digits == text.strip() else 100)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1, or 0% to 100%")
    return value


UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def size(text: str) -> int:
    lowered = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = lowered[-1:] if lowered[-1:] in UNITS else ""
    value = int(float(lowered.removesuffix(unit)) * UNITS[unit])
    if value <= 0:
        raise ValueError("expected a size such as 64MiB")
    return value


def names(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def some_of(*allowed: str) -> Callable[[str], frozenset[str]]:
    def parse(text: str) -> frozenset[str]:
        chosen = names(text)
        if not chosen <= set(allowed):
            raise ValueError(f"expected some of {', '.join(allowed)}, separated by commas")
        return chosen

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return text

    parse.choices = allowed  # type: ignore[attr-defined]
    return parse
