"""The verdict on a candidate: counts of two arms go in; pass, fail or inconclusive comes out, with its evidence.

    reader = WindowReader(baseline=PodScraper([url], {"model_version": "7"}), candidate=PodScraper([other]))
    windows = []
    while True:                                     # every 15 s or so
        windows.append(reader.read(time.time()))    # what both arms have counted since the last call
        look = judge(windows, Gates())              # pure: the same windows give the same look
        if look.verdict != "inconclusive":
            break

`judge` may be called as often as wanted: its e-values bound false alarms over all looks together. Evidence of failure
is taken from all windows, that of passing from those since `step_began`. Weights may change between windows and within
them. `Look.plain()` is JSON, and `look_from` its inverse; a driver that resumes has its windows in the looks it kept.
`PrometheusQuery` reads an arm in place of `PodScraper`; any `CounterSource` may. A source that cannot be read raises
`SourceUnreadable`, which says nothing about the candidate. What only a driver knows (restarts that Kubernetes counts,
say) it sets on the counts with `dataclasses.replace`. `picture(looks)` is SVG, and `analysis_template(gates)` YAML for
Argo Rollouts. `compare_arms` is the test of one gate, for whoever counts something else.
"""

from monitoring.verdict.argo import analysis_template
from monitoring.verdict.comparison import Bounds, compare_arms
from monitoring.verdict.counts import ArmCounts, ShadowCounts, TrafficWindow
from monitoring.verdict.decision import judge
from monitoring.verdict.evalues import ArmSeries
from monitoring.verdict.gates import Gates
from monitoring.verdict.looks import Evidence, Look, Verdict, look_from, window_from
from monitoring.verdict.picture import picture
from monitoring.verdict.prometheus import PrometheusQuery
from monitoring.verdict.reader import WindowReader
from monitoring.verdict.sources import CounterSample, CounterSource, PodScraper, SourceUnreadable

__all__ = [
    "ArmCounts",
    "ArmSeries",
    "Bounds",
    "CounterSample",
    "CounterSource",
    "Evidence",
    "Gates",
    "Look",
    "PodScraper",
    "PrometheusQuery",
    "ShadowCounts",
    "SourceUnreadable",
    "TrafficWindow",
    "Verdict",
    "WindowReader",
    "analysis_template",
    "compare_arms",
    "judge",
    "look_from",
    "picture",
    "window_from",
]
