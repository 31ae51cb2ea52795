"""Charts as plain SVG, without libraries, scripts or the network: two distributions, and lines over time."""

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
CHARACTER_WIDTH = 5.8  # approximately


def bars(labels: Sequence[str], before: Sequence[float], after: Sequence[float]) -> str:
    """The shares of two samples in each bin."""
    top = max([*before, *after, 0.01]) * 1.1
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    longest = min(MAX_CHARACTERS, max(map(len, labels), default=0))
    label_step = int(longest * CHARACTER_WIDTH / step) + 1
    parts = grid_lines(top, lambda share: f"{share:.0%}" if top >= 0.05 else f"{share:.1%}")
    for position, (label, *shares) in enumerate(zip(labels, before, after, strict=True)):
        left = LEFT + position * step
        for number, (share, colour) in enumerate(zip(shares, (BEFORE, NOW), strict=True)):
            height = share / top * (HEIGHT - TOP - BOTTOM)
            parts.append(
                f"<rect x='{left + step * (0.1 + 0.4 * number):.1f}' y='{HEIGHT - BOTTOM - height:.1f}' "
                f"width='{step * 0.4:.1f}' height='{height:.1f}' fill='{colour}'>"
                f"<title>{escape(label)}: {share:.1%}</title></rect>"
            )
        if position % label_step == 0:
            parts.append(axis_label(left + step / 2, label, HEIGHT - BOTTOM + 14))
    return svg("Distribution in training and in the log", parts)


def lines(times: Sequence[str], series: Mapping[str, Sequence[float | None]], limit: float) -> str:
    """Values over time, with a line for the limit; None is a gap."""
    top = max([limit, *(value for values in series.values() for value in values if value is not None)]) * 1.1
    step = (WIDTH - LEFT - RIGHT) / max(1, len(times))

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    parts = grid_lines(top, lambda value: f"{value:.2g}")
    parts.append(
        f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y(limit):.1f}' y2='{y(limit):.1f}' stroke='#cf222e' "
        "stroke-dasharray='4 3'/>"
    )
    for colour, values in zip(cycle(COLOURS), series.values(), strict=False):
        points = [
            (LEFT + (position + 0.5) * step, y(value)) for position, value in enumerate(values) if value is not None
        ]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{a:.1f}' cy='{b:.1f}' r='2.5' fill='{colour}'/>" for a, b in points]
    label_step = -(-len(times) // 6)
    parts += [
        axis_label(LEFT + (position + 0.5) * step, time, HEIGHT - BOTTOM + 14)
        for position, time in enumerate(times)
        if position % label_step == 0
    ]
    return svg("Distance from the profile over time", parts)


def legend(names: Iterable[str], colours: Iterable[str] = COLOURS) -> str:
    """The legend of the colours."""
    return "".join(
        f"<span><span class='key' style='background:{colour}'></span> {escape(name)}</span>"
        for name, colour in zip(names, cycle(colours), strict=False)
    )


def grid_lines(top: float, format_value: Callable[[float], str]) -> list[str]:
    parts = []
    for step in range(4):
        value = top / 1.1 * step / 3
        y = HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='{GRID}'/>")
        parts.append(text(LEFT - 6, y + 4, format_value(value), "end"))
    return parts


def axis_label(x: float, label: str, y: float) -> str:
    return text(x, y, shorten(label, MAX_CHARACTERS), "middle")


def shorten(label: str, limit: int) -> str:
    return label if len(label) <= limit else f"{label[: limit - 1]}…"


def text(x: float, y: float, label: str, anchor: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='10' fill='{FAINT}'>{escape(label)}</text>"


def svg(title: str, parts: Sequence[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        f"aria-label='{escape(title, quote=True)}'>" + "\n".join(parts) + "</svg>"
    )
