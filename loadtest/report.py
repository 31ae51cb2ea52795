"""The HTML report of a test, which needs no script and no network."""

from __future__ import annotations

from html import escape

from loadtest import drawing, slo
from loadtest.histogram import SHARES, middle
from loadtest.outcome import LATE_SECONDS
from loadtest.results import Result

STYLE = """
body { font: 15px/1.5 -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; color: #1f2328; background: #f6f8fa;
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
table { border-collapse: collapse; background: #fff } td, th { border: 1px solid #d1d9e0; padding: .3rem .7rem }
th { text-align: left } td.number { text-align: right; font-variant-numeric: tabular-nums }
.kept { color: #1a7f4b } .missed { color: #cf222e } .unsure { color: #9a6700 }
.warn { background: #fff8c5; padding: .5rem .8rem }
.verdict { font-size: 1.15rem; font-weight: 600 } .faint { color: #59636e }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 1rem }
svg { box-sizing: border-box; width: 100%; height: auto; border: 1px solid #d1d9e0; border-radius: 6px }
"""
BAR = 5
"""Steps of a histogram, 1 % each, in one bar."""


def page(title: str, body: str) -> str:
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<link rel='icon' href='data:,'><title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def html(result: Result) -> str:
    verdict = result.verdict[0].upper() + result.verdict[1:]
    version = f" version {result.model_version}" if result.model_version else ""
    head = (
        f"<h1>Load test of {escape(result.model)}{escape(version)}</h1>"
        f"<p class='faint'>{escape(result.url)} · {escape(result.protocol)} · {escape(result.profile)}, "
        f"{result.rps:g} requests per second for {result.duration:g} s · {result.rows} row(s) per request · "
        f"{escape(result.when)}</p><p class='verdict {word(result.kept)}'>{verdict}</p>"
    )
    return page(
        f"Load test of {result.model}", head + warnings(result) + checks(result) + pictures(result) + sides(result)
    )


def warnings(result: Result) -> str:
    late = result.outcome.late
    if late < LATE_SECONDS:
        return ""
    return (
        f"<p class='warn'>The load generator itself was late: {slo.seconds(late)} for 1 % of its requests. "
        "Give it its own core, or a lower rate.</p>"
    )


def checks(result: Result) -> str:
    rows = [
        [
            escape(one.objective.name),
            one.objective.written(one.objective.limit),
            one.objective.written(one.measured),
            f"<span class='{word(one.kept)}'>{word(one.kept)}</span>",
        ]
        for one in result.checks
    ]
    steps = "" if result.held is None else f"<p>{escape(held(result))}</p>"
    return "<h2>Objectives</h2>" + table(["objective", "limit", "measured", ""], rows) + steps


def held(result: Result) -> str:
    if not result.held:
        return "the SLO held on no step"
    return f"the SLO held at {result.held:g} requests per second"


def pictures(result: Result) -> str:
    outcome, latencies = result.outcome, result.outcome.latencies
    seconds = sorted(outcome.seconds.items())
    marks = {f"{name} {slo.seconds(latencies.percentile(share))}": latencies.percentile(share)
             for name, share in SHARES.items() if name in ("p50", "p95", "p99")} if latencies.count else {}  # fmt: skip
    for one in result.checks:
        # A limit far to the right would leave no room for the measured values.
        if one.measured and one.objective.name.startswith("p") and one.objective.limit < 5 * latencies.highest:
            marks[f"limit of {one.objective.name}"] = one.objective.limit
    bars: dict[int, int] = {}
    for step, count in latencies.steps.items():
        bars[step // BAR] = bars.get(step // BAR, 0) + count
    kinds = sorted(outcome.errors)
    drawn = [
        drawing.distribution(
            "Latency, from when a request was due",
            [(middle(bar * BAR + BAR // 2), count) for bar, count in sorted(bars.items())], marks, slo.seconds,
        ),
        drawing.lines(
            "Percentiles over time",
            {name: [(at, one.latencies.percentile(SHARES[name])) for at, one in seconds if one.latencies.count]
             for name in ("p50", "p95", "p99")},
            slo.seconds,
        ),
        drawing.lines(
            "Requests per second",
            {"due": [(at, one.offered) for at, one in seconds],
             "answered": [(at, one.latencies.count) for at, one in seconds]},
        ),
        drawing.lines(
            "Errors per second",
            {kind: [(at, one.errors[kind]) for at, one in seconds] for kind in kinds},
        ) if kinds else "",
    ]  # fmt: skip
    if levels := result.server.get("over_time"):
        drawn.append(
            drawing.lines(
                "Inside the server",
                {
                    "in flight": [(round(one["at"], 1), one["in_flight"]) for one in levels],
                    "waiting": [(round(one["at"], 1), one["waiting"]) for one in levels],
                },
            )
        )
    return f"<h2>Measurements</h2><div class='pictures'>{''.join(drawn)}</div>"


def sides(result: Result) -> str:
    """What the client saw, next to what the server counted."""
    outcome, server, latencies = result.outcome, result.server, result.outcome.latencies
    errors = outcome.errors
    rows = [["requests", f"{outcome.offered:,}", counted(server, "predictions")]]
    for name, share in SHARES.items():
        client = slo.seconds(latencies.percentile(share)) if latencies.count else "–"
        seconds = (server.get("latency") or {}).get(name)
        rows.append([name, client, slo.seconds(seconds) if seconds is not None else "–"])
    rows.append(["errors", f"{errors.total():,}", listed(server.get("errors"))])
    rows.append(["refused", "", listed(server.get("refused"))])
    kinds = [[escape(kind), f"{count:,}", f"{count / outcome.offered:.3%}"] for kind, count in errors.most_common()]
    note = (
        f"<p class='warn'>No metrics from the server: {escape(server['missing'])}</p>"
        if "missing" in server
        else f"<p class='faint'>Served: version {escape(', '.join(server.get('versions', [])) or '–')}. The client's "
        "times include the network and the wait from when a request was due; the server's percentiles are as exact as "
        "the buckets of its histogram.</p>"
    )
    heard, sent = (server.get("over_time") or [{"at": 0}])[-1]["at"], max(outcome.seconds, default=0)
    if "missing" not in server and heard < sent:
        note += (
            f"<p class='warn'>The server sent no metrics after {heard:.0f} s: only the client's numbers include later "
            "requests.</p>"
        )
    elif server.get("predictions", 0) > outcome.offered:
        note += "<p class='warn'>Others sent requests meanwhile: the server's numbers include them.</p>"
    elif server.get("predictions", latencies.count) < latencies.count:
        note += "<p class='warn'>The server counted fewer requests than were answered: it is one pod of several.</p>"
    return (
        "<h2>Client and server</h2>" + note + table(["", "client", "server"], rows)
        + ("<h2>Errors by kind</h2>" + table(["kind", "requests", "share"], kinds) if kinds else "")
    )  # fmt: skip


def counted(server: dict[str, object], key: str) -> str:
    value = server.get(key)
    return f"{value:,.0f}" if isinstance(value, int | float) else "–"


def listed(kinds: object) -> str:
    if not isinstance(kinds, dict):
        return "–"
    return ", ".join(f"{escape(str(kind))} {count:,.0f}" for kind, count in sorted(kinds.items()) if count) or "0"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are HTML."""
    top = "".join(f"<th>{one}</th>" for one in head)
    body = "".join(
        f"<tr><th>{row[0]}</th>{''.join(f'<td class=number>{one}</td>' for one in row[1:])}</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def word(kept: bool) -> str:
    return "kept" if kept else "missed"
