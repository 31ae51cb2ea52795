"""A picture of a verdict: both arms, and the evidence that grows towards its bounds. Plain SVG, light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from monitoring.verdict.looks import Evidence, Look

WIDTH, HEIGHT = 720, 430
LEFT, RIGHT = 64, 150
SHARES = (56, 190)
EVIDENCE = (250, 400)
"""Top and bottom of the two panels."""
LOWEST = -2
"""Exponent below which evidence is not told apart."""
STYLE = """
.page{color:#fff}.ink,.moment{color:#1f2328}.faint,.baseline{color:#59636e}.grid{color:#e3e7eb}
.candidate{color:#3b76c4}.against{color:#cf222e}.favour{color:#1a7f4b}
@media (prefers-color-scheme:dark){
.page{color:#0d1117}.ink,.moment{color:#e6edf3}.faint,.baseline{color:#9198a1}.grid{color:#2a313c}
.candidate{color:#6cb0ff}.against{color:#ff7b72}.favour{color:#4ac26b}}
line,polyline{stroke:currentColor;fill:none}polyline{stroke-width:2}text,circle,rect{fill:currentColor}
"""
Scale = Callable[[float], float]
Points = Sequence[tuple[float, float]]


def picture(looks: Sequence[Look], gate: str | None = None) -> str:
    """The looks at one gate, by default at the one that decided; empty without any evidence."""
    name = gate or deciding(looks)
    seen = [(look, each) for look in looks if (each := look.gate(name)) is not None]
    if not seen:
        return ""
    began = seen[0][0].window.began
    times = [(look.window.ended - began) / 60 for look, _ in seen]
    x = linear(0.0, max(*times, 0.1), LEFT, WIDTH - RIGHT)
    evidence = [each for _, each in seen]
    decided = next((at for at, look in enumerate(looks) if look.verdict != "inconclusive"), None)
    parts = [*shares_panel(name, times, evidence, x), *evidence_panel(times, evidence, x)]
    heading = "inconclusive so far"
    if decided is not None:
        at = (looks[decided].window.ended - began) / 60
        heading = f"{looks[decided].verdict} after {at:.1f} min"
        parts += moment(x(at))
    return framed(f"{name}: {heading}", parts)


def deciding(looks: Sequence[Look]) -> str:
    """The first gate that failed, or that of the errors."""
    failed = [each.gate for look in looks for each in look.evidence if each.verdict == "fail"]
    return failed[0] if failed else "errors"


def shares_panel(gate: str, times: Sequence[float], evidence: Sequence[Evidence], x: Scale) -> Iterable[str]:
    arms = {"baseline": [each.baseline for each in evidence], "candidate": [each.candidate for each in evidence]}
    points = {name: [(at, 100 * share) for at, share in zip(times, arm, strict=True) if share is not None]
              for name, arm in arms.items()}  # fmt: skip
    most = max([1e-6, *(share for arm in points.values() for _, share in arm)])
    y = linear(0.0, most * 1.15, SHARES[1], SHARES[0])
    yield text(LEFT, SHARES[0] - 10, f"share of requests so far: {gate}", "faint")
    for value in round_steps(most * 1.15):
        yield from gridline(y(value), f"{value:g} %")
    yield from labelled(points, x, y, lambda value: f"{value:.2g} %")


def evidence_panel(times: Sequence[float], evidence: Sequence[Evidence], x: Scale) -> Iterable[str]:
    values = {"against": [each.against for each in evidence], "favour": [each.in_favour for each in evidence]}
    points = {name: [(at, exponent(value)) for at, value in zip(times, path, strict=True) if value is not None]
              for name, path in values.items()}  # fmt: skip
    bounds = {"against": evidence[-1].fails_at, "favour": evidence[-1].passes_at}
    top = max(exponent(each) for each in bounds.values() if each is not None) + 1
    y = linear(LOWEST, top, EVIDENCE[1], EVIDENCE[0])
    yield text(LEFT, EVIDENCE[0] - 10, "evidence (e-value, logarithmic)", "faint")
    for power in range(LOWEST, math.floor(top) + 1):
        yield from gridline(y(power), f"{10.0**power:g}")
    for (name, bound), (words, down) in zip(bounds.items(), (("fails", -6), ("passes", 14)), strict=True):
        if bound is not None:
            height = y(exponent(bound))
            yield line((LEFT, height), (WIDTH - RIGHT, height), name, dashed=True)
            yield text(LEFT + 6, height + down, f"{words} at {bound:.3g}", name)
    clipped = {name: [(at, min(value, top)) for at, value in path] for name, path in points.items()}
    yield from labelled(clipped, x, y, lambda _: "")
    for minute in round_steps(times[-1]):
        yield text(x(minute), EVIDENCE[1] + 18, f"{minute:g} min", "faint", "middle")


def labelled(series: Mapping[str, Points], x: Scale, y: Scale, value_text: Callable[[float], str]) -> Iterable[str]:
    """Lines with their names at the ends, which do not stand on each other."""
    below = -math.inf
    for name, points in sorted(series.items(), key=lambda each: -each[1][-1][1] if each[1] else 0.0):
        if not points:
            continue
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
        yield f"<polyline class='{name}' points='{path}'/>"
        at, value = points[-1]
        yield f"<circle class='{name}' cx='{x(at):.1f}' cy='{y(value):.1f}' r='3'/>"
        below = max(y(value) + 4, below + 16)
        words = {"favour": "in favour"}.get(name, name)
        yield text(x(at) + 8, below, f"{words} {value_text(value)}".strip(), name)


def moment(x: float) -> Iterable[str]:
    yield line((x, SHARES[0]), (x, EVIDENCE[1]), "moment", dashed=True)


def gridline(y: float, words: str) -> Iterable[str]:
    yield line((LEFT, y), (WIDTH - RIGHT, y), "grid")
    yield text(LEFT - 8, y + 4, words, "faint", "end")


def framed(title: str, parts: Iterable[str]) -> str:
    return "\n".join([
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        f"aria-label='{escape(title, quote=True)}' font-family='-apple-system, Segoe UI, Helvetica, Arial, sans-serif' "
        f"font-size='12'><style>{STYLE}</style><rect class='page' width='{WIDTH}' height='{HEIGHT}'/>",
        f"<g font-size='15' font-weight='600'>{text(LEFT, 24, title, 'ink')}</g>",
        *parts, "</svg>",
    ])  # fmt: skip


def line(start: tuple[float, float], end: tuple[float, float], name: str, dashed: bool = False) -> str:
    ends = f"x1='{start[0]:.1f}' y1='{start[1]:.1f}' x2='{end[0]:.1f}' y2='{end[1]:.1f}'"
    dashes = " stroke-dasharray='4 4'" if dashed else ""
    return f"<line class='{name}' {ends}{dashes}/>"


def text(x: float, y: float, words: str, name: str, anchor: str = "start") -> str:
    return f"<text class='{name}' x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{escape(words)}</text>"


def linear(low: float, high: float, first: float, last: float) -> Scale:
    return lambda value: first + (value - low) / (high - low) * (last - first)


def exponent(value: float) -> float:
    return max(math.log10(max(value, 1e-300)), LOWEST)


def round_steps(most: float) -> list[float]:
    """About four round numbers from zero on."""
    size = 10 ** math.floor(math.log10(most / 3))
    size *= next(step for step in (1, 2, 5, 10) if size * step >= most / 5)
    return [round(at * size, 12) for at in range(math.floor(most / size) + 1)]
