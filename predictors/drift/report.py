"""The report as a single HTML page without external resources."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from predictors.drift.compare import Comparison, Finding
from predictors.drift.drawing import BEFORE, NOW, bars, legend, lines
from predictors.drift.variables import Variable

SLIGHT_PSI = 0.1
MAX_TIMELINES = 5
MAX_PICTURES = 100
STYLE = """
body { font: 15px/1.5 -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; color: #1f2328; margin: 2rem auto;
  max-width: 1180px; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
td, th { padding: .3rem .7rem; border-bottom: 1px solid #e3e7eb; } .n { text-align: right;
  font-variant-numeric: tabular-nums; }
.verdict { padding: .6rem .9rem; border-radius: 6px; margin: 1rem 0; font-weight: 600; }
.fine { background: #e6f4ea; } .slight { background: #fff4d6; } .drift { background: #fde3df; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(480px, 100%), 1fr)); gap: 1.2rem; }
figure { margin: 0; border: 1px solid #e3e7eb; border-radius: 6px; padding: .8rem; }
figcaption { display: flex; justify-content: space-between; gap: .8rem; font-weight: 600; }
figcaption span:last-child { white-space: nowrap; align-self: flex-start; }
.verdict, .note, td:first-child, figcaption span:first-child, .keys { overflow-wrap: anywhere; }
td:first-child { min-width: 8rem; } .wide { overflow-x: auto; }
.keys { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; margin: .4rem 0; font-size: .85rem; }
.note { color: #59636e; } .key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; }
@media print { figure { break-inside: avoid; } }
"""


def page(comparison: Comparison, trained_on: int, threshold: float, source: str) -> str:
    drifted = [finding for finding in comparison.findings if finding.psi > threshold]
    verdict = "drift" if drifted else "fine"
    over_time = {finding.variable.name: finding.periods for finding in comparison.findings[:MAX_TIMELINES]}
    parts = [
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'><link rel='icon' href='data:,'>",
        f"<title>Drift – {escape(source)}</title><style>{STYLE}</style></head>\n<body>",
        f"<h1>Drift</h1><p class='note'>{comparison.rows:,} rows of {escape(source)} beside {trained_on:,} rows of "
        f"training data · {datetime.now(UTC):%Y-%m-%d %H:%M} UTC</p>",
        f"<p class='verdict {verdict}'>{escape(verdict_line(comparison, threshold))}</p>",
        "<h2>Columns, the furthest away first</h2>",
        columns(comparison, threshold),
        absent(comparison.absent),
        versions(comparison, threshold),
    ]
    if comparison.times and any(value is not None for values in over_time.values() for value in values):
        parts += [
            "<h2>Over time</h2><div class='pictures'><figure>",
            lines(comparison.times, over_time, threshold),
            f"<p class='keys'>{legend(over_time)}</p></figure></div>",
        ]
    parts += [
        f"<h2>Distributions</h2><p class='keys'>{legend(('training', 'log'), (BEFORE, NOW))}</p><div class='pictures'>",
        *(figure(finding, threshold) for finding in comparison.findings[:MAX_PICTURES]),
        "</div></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def verdict_line(comparison: Comparison, threshold: float) -> str:
    drifted = [finding for finding in comparison.findings if finding.psi > threshold]
    count = f"{len(drifted)} of {len(comparison.findings)} columns"
    if not drifted:
        worst = comparison.findings[0]
        return f"no drift: {count} above {threshold:g} (highest: {worst.variable.name} {worst.psi:.3f})"
    names = ", ".join(f"{finding.variable.name} {finding.psi:.3f}" for finding in drifted[:5])
    return f"drift: {count} above {threshold:g} ({names}{', …' if len(drifted) > 5 else ''})"


def level(value: float, threshold: float) -> str:
    return "drift" if value > threshold else "slight" if value > min(SLIGHT_PSI, threshold) else "fine"


def columns(comparison: Comparison, threshold: float) -> str:
    heads = ["column", "", "kind", "PSI", "missing: training", "log", "mean: training", "log", "shift (std)"]
    rows = [tr([th(head, position > 2) for position, head in enumerate(heads)])]
    for finding in comparison.findings:
        before, now = finding.missing
        summary = finding.variable.summary if finding.variable.kind == "number" else {}
        mean = finding.mean if finding.variable.kind == "number" else None
        rows.append(
            tr(
                [
                    td(finding.variable.name),
                    td("output" if finding.is_output else "input"),
                    td(finding.variable.kind),
                    td(f"{finding.psi:.3f}", level(finding.psi, threshold)),
                    td(f"{before:.1%}", ""),
                    td(f"{now:.1%}", ""),
                    td(format_optional(summary.get("mean")), ""),
                    td(format_optional(mean), ""),
                    td("" if finding.shift is None or mean is None else f"{finding.shift:+.2f}", ""),
                ]
            )
        )
    return f"<div class='wide'><table>{''.join(rows)}</table></div>"


def absent(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"<p class='note'>Not in the log, only as hashes, or in too few rows: {escape(', '.join(names))}</p>"


def versions(comparison: Comparison, threshold: float) -> str:
    if len(comparison.versions) < 2:
        return ""
    names = list(comparison.versions)
    rows = [tr([th("column", False), *(th(name, True) for name in names)])]
    rows.append(tr([td("rows"), *(td(f"{comparison.versions[name]:,}", "") for name in names)]))
    for finding in comparison.findings:
        cells = [finding.versions.get(name) for name in names]
        rows.append(
            tr(
                [
                    td(finding.variable.name),
                    *(td(*(("", "") if cell is None else (f"{cell:.3f}", level(cell, threshold)))) for cell in cells),
                ]
            )
        )
    return f"<h2>PSI by version</h2><div class='wide'><table>{''.join(rows)}</table></div>"


def figure(finding: Finding, threshold: float) -> str:
    before, now = finding.variable.counts, finding.counts
    shares = [(counts / max(1, counts.sum())).tolist() for counts in (before, now)]
    used = [position for position in range(len(before)) if before[position] or now[position]]
    labels = bin_labels(finding.variable)
    chart = bars(
        [labels[position] for position in used],
        [shares[0][position] for position in used],
        [shares[1][position] for position in used],
    )
    return (
        f"<figure><figcaption><span>{escape(finding.variable.name)}</span>"
        f"<span class='{level(finding.psi, threshold)}'>PSI {finding.psi:.3f}</span></figcaption>{chart}</figure>"
    )


def bin_labels(variable: Variable) -> list[str]:
    """A label for each bin."""
    if not variable.numeric:
        return [*variable.values, "other", "missing"]
    edges = [format_date(edge) if variable.kind == "datetime" else format_number(edge) for edge in variable.edges]
    if not edges:
        return ["any", "missing"]
    return [f"≤ {edges[0]}", *(f"≤ {edge}" for edge in edges[1:]), f"> {edges[-1]}", "missing"]


def format_date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.4g}"


def format_optional(value: float | None) -> str:
    return "" if value is None else format_number(value)


def format_number(value: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if 10 * unit <= abs(value) < 1e12:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def tr(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>\n"


def th(text: str, right: bool) -> str:
    return f"<th{' class=n' if right else ''}>{escape(text)}</th>"


def td(text: str, number: str | float | None = None) -> str:
    """A cell; `number` is the CSS class of a right-aligned one, and None for text."""
    return f"<td>{escape(text)}</td>" if number is None else f"<td class='n {number}'>{escape(text)}</td>"
