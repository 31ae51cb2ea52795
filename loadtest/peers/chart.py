"""The chart: a bar per comparison on a log axis, with marks for floor and goal. Plain SVG, no library."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape

from loadtest.peers.results import ComparisonRow

_WIDTH = 1000
_LEFT = 450
_RIGHT = 90
_LINE = 24
_FONT = "font-family='-apple-system, Segoe UI, Helvetica, Arial, sans-serif'"
_COLOURS = {"goal": "#1a7f4b", "floor": "#3b76c4", "neither": "#d0632b", "": "#9aa3ad"}
_INK, _FAINT, _GRID = "#1f2328", "#59636e", "#e3e7eb"


def svg(rows: list[ComparisonRow]) -> str:
    parts: list[str] = []
    drawn = [row for row in rows if row.ratio is not None]
    top = 74.0
    for title, better in (
        ("Times as many requests per second as the peer (more is better)", True),
        ("Latency, start and memory: share of the reference (less is better)", False),
    ):
        group = [row for row in drawn if row.higher_is_better is better]
        if group:
            top = _panel(parts, group, title, top)
    height = math.ceil(top)
    head = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' height='{height}' "
        f"role='img' aria-label='Ratio to peers per case' {_FONT} font-size='13'>",
        # Its own background: the page around it may be dark.
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        _text(20, 28, "Side by side on one core", size=18, weight="600"),
        *_legend(),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _legend() -> list[str]:
    parts: list[str] = []
    x = 20.0
    named = (("goal", "goal met"), ("floor", "floor met"), ("neither", "neither"), ("", "no bar set"))
    for verdict, label in named:
        parts.append(f"<rect x='{x}' y='42' width='12' height='12' rx='2' fill='{_COLOURS[verdict]}'/>")
        parts.append(_text(x + 18, 52, label, fill=_FAINT))
        x += 40 + 7 * len(label)
    parts += [_floor(x + 4, 48), _text(x + 14, 52, "floor", fill=_FAINT)]
    parts += [_goal(x + 70, 48), _text(x + 82, 52, "goal", fill=_FAINT)]
    parts += [
        f"<line x1='{x + 130}' x2='{x + 156}' y1='48' y2='48' stroke='{_INK}' stroke-width='1.2'/>",
        _text(x + 163, 52, "range over the rounds", fill=_FAINT),
    ]
    return parts


def _panel(parts: list[str], rows: list[ComparisonRow], title: str, top: float) -> float:
    marks = [mark for row in rows for mark in (row.floor, row.goal, row.ratio, *row.ratios) if mark]
    low, high = min(1.0, *marks) / 1.15, max(1.0, *marks) * 1.15
    plot = _WIDTH - _LEFT - _RIGHT

    def x(value: float) -> float:
        return _LEFT + plot * math.log(max(value, low) / low) / math.log(high / low)

    parts.append(_text(20, top + 14, title, weight="600"))
    first = top + 30
    bottom = first + _LINE * len(rows)
    for tick in _ticks(low, high):
        strong = tick == 1
        colour = _FAINT if strong else _GRID
        parts.append(f"<line x1='{x(tick):.1f}' x2='{x(tick):.1f}' y1='{first}' y2='{bottom}' stroke='{colour}'/>")
        parts.append(_text(x(tick), bottom + 15, f"{tick:g}×", anchor="middle", size=11, fill=_FAINT))
    for place, row in enumerate(rows):
        parts += _bar(row, first + _LINE * (place + 0.5), x)
    return bottom + 40


def _bar(row: ComparisonRow, middle: float, at: Callable[[float], float]) -> list[str]:
    ratio = row.ratio or 1.0
    left, right = sorted((at(1.0), at(ratio)))
    label = row.title + (f" · {row.ours.removeprefix('ours, ')}" if row.ours != "ours" else "")
    parts = [
        _text(_LEFT - 12, middle + 4, label, anchor="end", tail=f" / {row.peer}" if row.peer else ""),
        f"<rect x='{left:.1f}' y='{middle - 7:.1f}' width='{max(right - left, 1):.1f}' height='14' rx='2' "
        f"fill='{_COLOURS[row.verdict]}'/>",
    ]
    if row.ratios:
        low, high = at(min(row.ratios)), at(max(row.ratios))
        ends = f"x1='{low:.1f}' x2='{high:.1f}' y1='{middle:.1f}' y2='{middle:.1f}'"
        parts.append(f"<line {ends} stroke='{_INK}' stroke-width='1.2'/>")
    if row.floor is not None:
        parts.append(_floor(at(row.floor), middle))
    if row.goal is not None:
        parts.append(_goal(at(row.goal), middle))
    value = f"{ratio:,.0f}×" if ratio >= 100 else f"{ratio:.1f}×" if ratio >= 10 else f"{ratio:.2f}×"
    parts.append(_text(_WIDTH - 20, middle + 4, value, anchor="end", weight="600"))
    return parts


def _floor(x: float, middle: float) -> str:
    ends = f"x1='{x:.1f}' x2='{x:.1f}' y1='{middle - 10:.1f}' y2='{middle + 10:.1f}'"
    return f"<line {ends} stroke='{_INK}' stroke-width='2.5'/>"


def _goal(x: float, middle: float) -> str:
    points = f"{x:.1f},{middle - 8:.1f} {x + 7:.1f},{middle:.1f} {x:.1f},{middle + 8:.1f} {x - 7:.1f},{middle:.1f}"
    return f"<polygon points='{points}' fill='#ffffff' stroke='{_INK}' stroke-width='1.6'/>"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 13,
    weight: str = "400",
    fill: str = _INK,
    tail: str = "",
) -> str:
    rest = f"<tspan fill='{_FAINT}'>{escape(tail)}</tspan>" if tail else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' font-weight='{weight}' "
        f"fill='{fill}'>{escape(text)}{rest}</text>"
    )


def _ticks(low: float, high: float) -> list[float]:
    steps = [step * 10.0**power for power in range(-3, 5) for step in (1, 2, 5)]
    # 2 and 5 only where there is room for their labels.
    wide = math.log10(high / low) < 3
    return [tick for tick in steps if low <= tick <= high and (wide or f"{tick:e}"[0] == "1")]
