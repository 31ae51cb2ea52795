"""Two distributions side by side, and lines over time, as plain SVG: no library, no script, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import cycle

WIDTH, HEIGHT = 560, 192
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 26
BEFORE, NOW = "#9aa5b1", "#d0632b"
COLOURS = ("#d0632b", "#3b76c4", "#1a7f4b", "#8250df", "#9a6700", "#59636e")
INK, FAINT, GRID = "#1f2328", "#59636e", "#e3e7eb"
MAX_CHARACTERS = 12
CHARACTER = 5.8  # about the width of one


def bars(labels: Sequence[str], before: Sequence[float], now: Sequence[float]) -> str:
    """Shares of two samples for each bin."""
    most = max([*before, *now, 0.01]) * 1.1
    wide = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    longest = min(MAX_CHARACTERS, max(map(len, labels), default=0))
    every = int(longest * CHARACTER / wide) + 1
    parts = across(most, lambda share: f"{share:.0%}" if most >= 0.05 else f"{share:.1%}")
    for place, (label, *shares) in enumerate(zip(labels, before, now, strict=True)):
        left = LEFT + place * wide
        for number, (share, colour) in enumerate(zip(shares, (BEFORE, NOW), strict=True)):
            tall = share / most * (HEIGHT - TOP - BOTTOM)
            parts.append(
                f"<rect x='{left + wide * (0.1 + 0.4 * number):.1f}' y='{HEIGHT - BOTTOM - tall:.1f}' "
                f"width='{wide * 0.4:.1f}' height='{tall:.1f}' fill='{colour}'>"
                f"<title>{escape(label)}: {share:.1%}</title></rect>"
            )
        if place % every == 0:
            parts.append(foot(left + wide / 2, label, HEIGHT - BOTTOM + 14))
    return framed("Distribution in training and in the log", parts)


def lines(times: Sequence[str], series: Mapping[str, Sequence[float | None]], limit: float) -> str:
    """Values over time with a line that should not be crossed; gaps where there is none."""
    most = max([limit, *(value for one in series.values() for value in one if value is not None)]) * 1.1
    wide = (WIDTH - LEFT - RIGHT) / max(1, len(times))

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM)

    parts = across(most, lambda value: f"{value:.2g}")
    parts.append(
        f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y(limit):.1f}' y2='{y(limit):.1f}' stroke='#cf222e' "
        "stroke-dasharray='4 3'/>"
    )
    for colour, values in zip(cycle(COLOURS), series.values(), strict=False):
        points = [(LEFT + (place + 0.5) * wide, y(value)) for place, value in enumerate(values) if value is not None]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{a:.1f}' cy='{b:.1f}' r='2.5' fill='{colour}'/>" for a, b in points]
    every = -(-len(times) // 6)
    parts += [
        foot(LEFT + (place + 0.5) * wide, time, HEIGHT - BOTTOM + 14)
        for place, time in enumerate(times)
        if place % every == 0
    ]
    return framed("Distance from the profile over time", parts)


def keys(names: Iterable[str], colours: Iterable[str] = COLOURS) -> str:
    """Which colour is what."""
    return "".join(
        f"<span><span class='key' style='background:{colour}'></span> {escape(name)}</span>"
        for name, colour in zip(names, cycle(colours), strict=False)
    )


def across(most: float, written: Callable[[float], str]) -> list[str]:
    parts = []
    for step in range(4):
        value = most / 1.1 * step / 3
        y = HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM)
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='{GRID}'/>")
        parts.append(words(LEFT - 6, y + 4, written(value), "end"))
    return parts


def foot(x: float, label: str, y: float) -> str:
    return words(x, y, short(label, MAX_CHARACTERS), "middle")


def short(label: str, most: int) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def words(x: float, y: float, label: str, anchor: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='10' fill='{FAINT}'>{escape(label)}</text>"


def framed(title: str, parts: Sequence[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        f"aria-label='{escape(title, quote=True)}'>" + "\n".join(parts) + "</svg>"
    )
