"""`python -m loadtest.peers`: runs the cases, and writes the table, the raw rounds and the chart."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

from loadtest.peers import envs, load, report
from loadtest.peers.cases import CASES, BenchmarkCase
from loadtest.peers.machine import machine, versions
from loadtest.peers.measure import Measure
from loadtest.peers.models import Models
from loadtest.peers.pace import FULL, QUICK, BenchmarkPace, estimate
from loadtest.peers.place import ROOT, cores, stay_off_the_servers_core
from loadtest.peers.process import BenchmarkFailed, stop_all
from loadtest.peers.progress import Progress
from loadtest.peers.results import CaseResult, ComparisonRow
from loadtest.peers.servers import MLFLOW, MLSERVER, Starter

_PUBLISHED = ROOT / "docs" / "benchmarks"
# Quick and partial runs do not replace the published numbers, unless --out says so.
_SCRATCH = ROOT / "build" / "benchmarks"


def main() -> int:
    options = _options()
    if options.render:
        run = json.loads(options.render.read_text())
        report.write(run, options.out or options.render.parent)
        return 0
    if options.set_up:
        for name in options.set_up:
            sys.stderr.write(f"setting up the environment of {name}\n")
            envs.python_of(name, may_install=True)
        return 0
    out: Path = options.out or (_SCRATCH if options.quick or options.case or options.against else _PUBLISHED)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    work = Path(tempfile.mkdtemp(prefix="peers-"))
    try:
        return _run(options, out, work)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: nothing was written\n")
        return 130
    finally:
        # A second Ctrl-C must not leave servers running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop_all()
        shutil.rmtree(work, ignore_errors=True)


def _run(options: argparse.Namespace, out: Path, work: Path) -> int:
    load.need_wrk()
    pace = QUICK if options.quick else FULL
    cases = [case for case in CASES if case.name in options.case] if options.case else list(CASES)
    if options.quick and not options.case:
        cases = [case for case in cases if case.quick]
    other: Path | None = options.against
    if other:
        # Further workers are compared with the first one, not with anybody.
        cases = [case.against_other() for case in cases if case.kind != "workers"]
    starter = Starter(work, options.ours, other=other, may_install=not options.quick)
    # Installing uses both cores and comes before anything is measured.
    for who in (MLFLOW, MLSERVER):
        if any(who in case.contenders for case in cases):
            reason = starter.unavailable(who)
            sys.stderr.write(f"{who} is left out: {reason}\n" if reason else f"{who} is set up\n")
    if len(set(cores())) == 1:
        sys.stderr.write("only one core: server and load generator share it, so the numbers mean little\n")
    run: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
        "seconds": pace.seconds,
        "rounds": pace.rounds,
        "machine": machine(options.ours),
        "versions": versions(),
        "rows": [],
        "raw": [],
    }
    stay_off_the_servers_core()
    failures = _measure(cases, starter, pace, work, run)
    report.write(run, out)
    sys.stdout.write(report.table([ComparisonRow.read(row) for row in run["rows"]]) + "\n")
    sys.stderr.write(f"written to {out}\n")
    for failure in failures:
        sys.stderr.write(f"FAILED: {failure}\n")
    return 1 if failures else 0


def _measure(
    cases: list[BenchmarkCase], starter: Starter, pace: BenchmarkPace, work: Path, run: dict[str, Any]
) -> list[str]:
    """Adds rows and raw rounds to `run`; returns the failures."""
    estimates = [estimate(case, pace) for case in cases]
    progress = Progress(sum(estimates))
    measure = Measure(starter, Models(work / "models"), pace, work, progress)
    failures = []
    for place, case in enumerate(cases):
        progress.case(place + 1, len(cases), case.name, sum(estimates[:place]))
        if progress.elapsed + estimates[place] > pace.budget:
            progress.say("left out: the quick run's time is over")
            outcome = CaseResult(case, progress)
            outcome.skip("the quick run's time was over")
        else:
            outcome = measure.run(case)
        run["rows"] += [row.as_dict() for row in outcome.rows]
        run["raw"] += outcome.seen
        failures += outcome.failures
    return failures


def _options() -> argparse.Namespace:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short bursts and fewer cases; sets up no environments")
    parser.add_argument("--case", action="append", choices=names, default=[], metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--out", type=Path, help="folder for the results (default: docs/benchmarks; build/benchmarks for a partial run)"
    )
    parser.add_argument(
        "--ours", type=_checkout, default=ROOT, metavar="FOLDER", help="checkout to measure (default: this one)"
    )
    parser.add_argument(
        "--against",
        type=_checkout,
        metavar="FOLDER",
        help="another checkout: each case compares the two, and no other servers",
    )
    parser.add_argument(
        "--set-up", nargs="+", choices=[envs.MLFLOW, envs.MLSERVER], help="set up environments and stop"
    )
    parser.add_argument(
        "--render", type=Path, metavar="JSON", help="write the table and the chart of an earlier run again"
    )
    return parser.parse_args()


def _checkout(folder: str) -> Path:
    if not (Path(folder) / "predictors" / "mlflow.py").is_file():
        raise argparse.ArgumentTypeError(f"{folder} is no checkout: it has no predictors/mlflow.py")
    return Path(folder).resolve()


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchmarkFailed, envs.PeerUnavailable) as error:
        sys.exit(str(error))
