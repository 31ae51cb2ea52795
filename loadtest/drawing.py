"""Charts as plain SVG: lines over time, a distribution, intervals. No library, no script, no network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

WIDTH, HEIGHT = 600, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 34, 46
COLOURS = ("#3b76c4", "#d0632b", "#1a7f4b", "#8250df", "#9a6700", "#59636e")
BAD = "#cf222e"
DUE = "due"
"""The line that others may cover, which is wider."""
INK, FAINT, GRID = "#1f2328", "#59636e", "#e3e7eb"
FONT = "font-family='-apple-system, Segoe UI, Helvetica, Arial, sans-serif'"

Points = Sequence[tuple[float, float]]
Format = Callable[[float], str]


def plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def lines(
    title: str, series: dict[str, Points], format_value: Format = plain, across: Format = lambda x: f"{x:g} s"
) -> str:
    """A line for each of `series`, on an axis from zero."""
    points = [point for one in series.values() for point in one]
    if not points:
        return ""
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    most = max(y for _, y in points) or 1.0
    x, y = linear(low, max(high, low + 1e-9), LEFT, WIDTH - RIGHT), linear(0, most * 1.08, HEIGHT - BOTTOM, TOP)
    parts = grid(y, ticks(0, most * 1.08), format_value) + labels_below(x, ticks(low, high), across)
    for number, (name, one) in enumerate(series.items()):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in one)
        colour = COLOURS[number % len(COLOURS)]
        wide = 5 if name == DUE else 2
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='{wide}'/>")
        if len(one) == 1:
            parts.append(f"<circle cx='{x(one[0][0]):.1f}' cy='{y(one[0][1]):.1f}' r='3' fill='{colour}'/>")
    return framed(title, parts, legend(list(series)))


def distribution(title: str, bars: Points, marks: dict[str, float], format_value: Format) -> str:
    """Number of requests (y) by latency (x, logarithmic), with a line for each of `marks`."""
    if not bars:
        return ""
    ends = [x for x, _ in bars] + list(marks.values())
    low, high, most = min(ends) / 1.1, max(ends) * 1.1, max(y for _, y in bars)
    log = linear(math.log(low), math.log(high), LEFT, WIDTH - RIGHT)
    y = linear(0, most * 1.15, HEIGHT - BOTTOM, TOP)

    def x(value: float) -> float:
        return log(math.log(value))

    steps = [step * 10.0**power for power in range(-6, 4) for step in (1, 2, 5)]
    inside = [step for step in steps if low <= step <= high]
    if len(inside) > 9:
        inside = [step for step in inside if f"{step:e}"[0] == "1"]
    parts = grid(y, ticks(0, most * 1.15), plain) + labels_below(x, inside, format_value)
    wide = max(x(bars[0][0] * 1.051) - x(bars[0][0]), 1)
    for at, count in bars:
        parts.append(
            f"<rect x='{x(at) - wide / 2:.1f}' y='{y(count):.1f}' width='{wide:.1f}' "
            f"height='{HEIGHT - BOTTOM - y(count):.1f}' fill='{COLOURS[0]}'/>"
        )
    for row, (name, at) in enumerate(marks.items()):
        colour = BAD if name.startswith("limit") else INK
        top = TOP + 12 * (row % 11)  # as many rows as fit
        parts.append(vertical(x(at), top, colour))
        anchor = "end" if x(at) > WIDTH - 150 else "start"
        shift = -4 if anchor == "end" else 4
        parts.append(text(x(at) + shift, top + 9, name, anchor=anchor, size=11, fill=colour))
    return framed(title, parts, [])


def intervals(title: str, rows: dict[str, tuple[float, float, float, bool]], tolerance: float) -> str:
    """For each name the low end, estimate and high end of a ratio, and whether it is bad; 1 is no difference."""
    ends = [value for low, _, high, _ in rows.values() for value in (low, high)]
    low, high = min([*ends, 1 - tolerance]), max([*ends, 1 + tolerance])
    room = (high - low) * 0.08
    x = linear(low - room, high + room, LEFT, WIDTH - RIGHT)
    parts = labels_below(x, ticks(low - room, high + room), lambda value: f"{value:g}×")
    parts.append(
        f"<rect x='{x(1 - tolerance):.1f}' y='{TOP}' width='{x(1 + tolerance) - x(1 - tolerance):.1f}' "
        f"height='{HEIGHT - BOTTOM - TOP}' fill='{GRID}'/>"
    )
    parts.append(vertical(x(1), TOP, INK))
    for place, (name, (least, estimate, most, bad)) in enumerate(rows.items()):
        y = TOP + (place + 0.5) * (HEIGHT - BOTTOM - TOP) / len(rows)
        colour = BAD if bad else COLOURS[0]
        ends_at = f"x1='{x(least):.1f}' x2='{x(most):.1f}' y1='{y:.1f}' y2='{y:.1f}'"
        parts.append(f"<line {ends_at} stroke='{colour}' stroke-width='3'/>")
        parts.append(f"<circle cx='{x(estimate):.1f}' cy='{y:.1f}' r='5' fill='{colour}'/>")
        parts.append(text(LEFT - 8, y + 4, name, anchor="end"))
    return framed(title, parts, [])


def linear(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    return lambda value: first + (value - low) / (high - low) * (last - first)


def grid(y: Callable[[float], float], values: Sequence[float], format_value: Format) -> list[str]:
    parts = []
    for value in values:
        parts.append(
            f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y(value):.1f}' y2='{y(value):.1f}' stroke='{GRID}'/>"
        )
        parts.append(text(LEFT - 8, y(value) + 4, format_value(value), anchor="end", size=11, fill=FAINT))
    return parts


def labels_below(x: Callable[[float], float], values: Sequence[float], format_value: Format) -> list[str]:
    down = HEIGHT - BOTTOM + 18
    return [text(x(value), down, format_value(value), anchor="middle", size=11, fill=FAINT) for value in values]


def legend(names: list[str]) -> list[str]:
    parts, x = [], float(LEFT)
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f"<rect x='{x}' y='{HEIGHT - 18}' width='10' height='10' rx='2' fill='{colour}'/>")
        parts.append(text(x + 15, HEIGHT - 9, name, size=11, fill=FAINT))
        x += 32 + 6.5 * len(name)
    return parts


def framed(title: str, parts: list[str], below: list[str]) -> str:
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        f"aria-label='{escape(title, quote=True)}' {FONT} font-size='13'>"
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>"
    )
    return "\n".join([head, text(LEFT, 20, title, weight="600"), *parts, *below, "</svg>"])


def vertical(x: float, top: float, colour: str) -> str:
    ends = f"x1='{x:.1f}' x2='{x:.1f}' y1='{top:.1f}' y2='{HEIGHT - BOTTOM}'"
    return f"<line {ends} stroke='{colour}' stroke-dasharray='3 3'/>"


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 13, weight: str = "400", fill: str = INK
) -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'"
    halo = "paint-order='stroke' stroke='#ffffff' stroke-width='3'"
    return f"<text {place} font-size='{size}' font-weight='{weight}' fill='{fill}' {halo}>{escape(words)}</text>"


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers."""
    if high <= low:
        return [low]
    size = 10 ** math.floor(math.log10((high - low) / 4))
    size *= next(step for step in (1, 2, 5, 10) if size * step >= (high - low) / 5)
    return [round(place * size, 12) for place in range(math.ceil(low / size), math.floor(high / size) + 1)]
