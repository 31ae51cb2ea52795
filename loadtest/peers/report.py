"""The table, the raw rounds and the chart of a run."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from loadtest.peers import chart
from loadtest.peers.load import DISTURBED
from loadtest.peers.results import ComparisonRow

_VERDICTS = {"goal": "goal", "floor": "floor", "neither": "**neither**", "": "–", "not measured": "not measured"}

# With a larger share of disturbed bursts, the numbers should not be quoted.
_MAX_DISTURBED_SHARE = 0.25


def write(run: dict[str, Any], out: Path) -> None:
    """`peers.md`, `peers.json` and `peers.svg` in a folder."""
    rows = [ComparisonRow.read(row) for row in run["rows"]]
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.json").write_text(json.dumps(run, indent=1) + "\n")
    (out / "peers.svg").write_text(chart.svg(rows))
    (out / "peers.md").write_text(_page(run, rows))


def table(rows: list[ComparisonRow]) -> str:
    lines = [
        "| case | measured | against | ratio [min–max] | floor | goal | met | ours | peer | per CPU second |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"**{number(row.ratio)}** [{number(min(row.ratios))}–{number(max(row.ratios))}]" if row.ratios else "–"
        note = f" ({row.note})" if row.note else ""
        cells = [
            row.title,
            row.ours,
            row.peer or "itself",
            ratio + note,
            _bar(row, row.floor),
            _bar(row, row.goal),
            _VERDICTS[row.verdict] + (f": {row.reason}" if row.reason else ""),
            _value(row.ours_values, row.unit),
            _value(row.peer_values, row.unit),
            number(statistics.median(row.cpu_ratios)) if row.cpu_ratios else "–",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def number(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _bar(row: ComparisonRow, mark: float | None) -> str:
    return "–" if mark is None else f"{'≥' if row.higher_is_better else '≤'} {mark:g}"


def _value(values: list[float], unit: str) -> str:
    if not values:
        return "–"
    middle = statistics.median(values)
    return number(middle) if unit == "p99/p50" else f"{number(middle)} {unit}"


def _page(run: dict[str, Any], rows: list[ComparisonRow]) -> str:
    bursts = [seen for seen in run["raw"] if "foreign" in seen]
    disturbed = sum(seen["foreign"] > DISTURBED for seen in bursts)
    judged = [row for row in rows if row.floor is not None or row.goal is not None]
    goals = sum(row.verdict == "goal" for row in judged)
    floors = sum(row.verdict == "floor" for row in judged)
    neither = sum(row.verdict == "neither" for row in judged)
    missing = len(judged) - goals - floors - neither
    busy = disturbed > _MAX_DISTURBED_SHARE * len(bursts)
    warning = f"**The machine was busy: others disturbed {disturbed} of {len(bursts)} bursts. Run it again.**\n\n"
    quick = (
        "**A quick run: short bursts, fewer cases. Use it for a first impression only.**\n\n" if run["quick"] else ""
    )
    summary = f"Of {len(judged)} bars: {goals} reach the goal, {floors} the floor only, {neither} neither"
    summary += f"; not measured: {missing}." if missing else "."
    libraries = {
        where: ", ".join(f"{name} {version}" for name, version in pairs.items())
        for where, pairs in run["versions"].items()
    }
    return f"""# Side by side with other servers

{warning if busy else ""}{quick}Measured on {run["date"]} by `make bench`. {summary}

![Ratio per case, with floor and goal](peers.svg)

A ratio is ours divided by the peer's. For requests per second more is better (≥); for latency, start and memory less
is better (≤). The floor must be reached; the goal is the target. Where the peer is "itself", the ratio compares two
values of the same server, as the title says.

{table(rows)}

Every round of every case is in [peers.json](peers.json).

## Method

- All servers of a case run at once, each as a single process pinned to one core; the load generator is pinned to
  another. They are loaded in turns: {run["rounds"]} rounds of bursts of {run["seconds"]:g} s, every other round in
  reverse order. The ratio is computed per round; the table shows the median and the range over the rounds.
- A burst in which other processes used more than {DISTURBED:.0%} of a core is repeated once, and the less disturbed of
  the two is kept. In this run {disturbed} of {len(bursts)} bursts stayed above that. The last column is a cross-check
  that neighbours do not affect: the same ratio, from requests per second of the server's processor time.
- Before the bursts, each server must return exactly the model's own labels for the rows of the case. A single error,
  lost connection or timeout in a burst fails the case.
- Load: wrk, 16 keep-alive connections unless the case says otherwise; latencies are wrk's. gRPC: a small
  HTTP/2 client of this project keeps 16 unary calls in flight on one connection, and checks the length of every
  response against one from gRPC's own client. The table notes where the client's core was the limit.
- Rows: 10 features of six decimals; wrk sends 32 different bodies in turn. All servers return labels: ours runs
  with `--probabilities=false`, since the peers return no probabilities. The row "ours, with probabilities" shows the
  default.
- *stock KServe*: a `kserve.Model` on KServe's own helpers and `ModelServer`, with the framework's model loaded by the
  framework. *Tuned*: the same without request logs and warnings. *mlflow serve*: `mlflow models serve` with the local
  environment. *MLServer*: its MLflow runtime without worker processes, which is its faster setting on one core; for
  named columns the request asks for its pandas codec. *Raw ASGI echo*: uvicorn, uvloop, httptools and orjson parse the
  body and return as many zeros: without model and validation, the upper bound for any server on uvicorn.
- *Native engine* is `--engine=native`: the library's own predict, without a compiled model.
- The large request is compared with its bare work, in one process on the server's core: orjson parses, numpy
  multiplies, orjson dumps. One connection, median latency.
- Start: from the start of the process until the readiness probe returns 200, in turns, after one round that warms the
  page cache; ratio of the medians. Memory: proportional set size of all processes of the server after 1,000 requests
  per worker.

## Machine and versions

| | |
|---|---|
{_pairs(run["machine"])}
{_pairs(libraries)}
"""


def _pairs(values: dict[str, str]) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in values.items())
