"""Fleet: all serves, worst first."""

from __future__ import annotations

from typing import Any

from monitoring.boards.style import BAD, FLEET, OVERVIEW, RECENTLY, Expr, board, graph, listing, number
from monitoring.recording import FAULTS

IN_NAMESPACE = 'namespace=~"$namespace"'
BY = "namespace, model_name"
LEGEND = "{{namespace}} {{model_name}}"
WORST = 10


def per_second(series: str, more: str = "") -> str:
    return f"sum by ({BY}) (rate({series}{{{IN_NAMESPACE}{more}}}[{RECENTLY}]))"


REQUESTS = per_second("model_requests_total")
FAULTY = f',status=~"{FAULTS}"'
FAILED = f"({per_second('model_requests_total', FAULTY)} or 0 * {REQUESTS}) / {REQUESTS}"
BUCKETS = f"sum by (le, {BY}) (rate(model_prediction_latency_seconds_bucket{{{IN_NAMESPACE}}}[{RECENTLY}]))"
P95, P99 = f"histogram_quantile(0.95, {BUCKETS})", f"histogram_quantile(0.99, {BUCKETS})"
REFUSED = per_second("model_requests_refused_total")
WAIT = f"max by ({BY}) (model_expected_wait_seconds{{{IN_NAMESPACE}}})"
PODS = f"count by ({BY}) (model_loaded{{{IN_NAMESPACE}}} == 1)"
FAILING = f"max by ({BY}) (model_reload_failing{{{IN_NAMESPACE}}})"


def fleet() -> Any:
    now = [
        number("Serves", "none", f"count(count by ({BY}) (model_loaded{{{IN_NAMESPACE}}} == 1))"),
        number("Pods with a model", "none", f"count(model_loaded{{{IN_NAMESPACE}}} == 1)"),
        number("Requests", "reqps", f"sum({REQUESTS})"),
        number("Serves that fail requests", "none", f"count(({FAILED}) > 0.001) or vector(0)", (1, BAD)),
        number("Serves slower than 500 ms", "none", f"count({P95} > 0.5) or vector(0)", (1, BAD), about="Their P95."),
        number("Serves whose reload fails", "none", f"sum({FAILING})", (1, BAD)),
    ]
    worst = [
        listing(
            "All serves",
            [
                ("Failed", "percentunit", Expr(FAILED)),
                ("P95", "s", Expr(P95)),
                ("P99", "s", Expr(P99)),
                ("Requests", "reqps", Expr(REQUESTS)),
                ("Expected wait", "s", Expr(WAIT)),
                ("Pods", "none", Expr(PODS)),
                ("Reload fails", "bool_yes_no", Expr(FAILING)),
            ],
            {"namespace": "Namespace", "model_name": "Serve"}, hidden=["Time"], sort="Failed",
            link=f"/d/{OVERVIEW}?${{datasource:queryparam}}&var-namespace=${{__data.fields.Namespace}}"
                 "&var-serve=${__data.fields.Serve}&${__url_time_range}",
            about="Worst first; a serve's name links to its overview.",
        ),
    ]  # fmt: skip
    time = [
        graph("Failed most", "percentunit", Expr(f"topk({WORST}, {FAILED})", LEGEND)),
        graph("Slowest, P95", "s", Expr(f"topk({WORST}, {P95})", LEGEND)),
        graph("Busiest", "reqps", Expr(f"topk({WORST}, {REQUESTS})", LEGEND)),
        graph("Longest expected wait", "s", Expr(f"topk({WORST}, {WAIT})", LEGEND)),
        graph("Refused most", "reqps", Expr(f"topk({WORST}, {REFUSED})", LEGEND)),
        graph("Pods", "none", Expr(PODS, LEGEND), stacked=True),
    ]
    return board(
        FLEET, "Fleet", "All serves, worst first.", {"Now": now, "Worst first": worst, "Over time": time}, ["namespace"]
    )
