"""`python -m loadtest run | report | compare | capacity`: exit code 0 for good, 1 for not, 2 for what cannot be."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

from loadtest import capacity, compare, report, results, slo
from loadtest.measuring import MeasuringPlan, measure
from loadtest.outcome import LATE
from loadtest.payloads import PROTOCOLS
from loadtest.profiles import PROFILES
from loadtest.target import Target, UnusableTarget

PRINTED = Path("-")
STOPPED = 130
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
WORDS = re.compile(r"[\x20-\x7e\t]*")
"""What a header may hold, in every protocol."""


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except UnusableTarget as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED
    except OSError as error:  # such as a disk that is full
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="send requests at a rate and hold the latencies against an SLO")
    where(run)
    run.add_argument(
        "--profile", choices=PROFILES, default="steady", help="how the rate changes (default: %(default)s)"
    )
    run.add_argument("--rps", type=positive, default=100.0, help="requests a second (default: %(default)g)")
    run.add_argument("--duration", type=positive, default=60.0, help="seconds (default: %(default)g)")
    run.add_argument(
        "--out", type=Path, default=Path("loadtest.json"), help="the result, - prints it (default: %(default)s)"
    )
    run.add_argument("--html", type=Path, help="the report (default: beside the result)")
    run.set_defaults(run=run_test)
    shown = commands.add_parser("report", help="write the HTML report of a result")
    shown.add_argument("result", type=Path, metavar="RESULT.json")
    shown.add_argument("--html", type=Path, help="default: beside the result")
    shown.set_defaults(run=run_report)
    both = commands.add_parser("compare", help="whether B is worse than A, such as a canary than what is stable")
    both.add_argument("a", type=Path, metavar="A.json")
    both.add_argument("b", type=Path, metavar="B.json")
    both.add_argument("--tolerance", type=percent, default=0.1, help="as much slower is no worse (default: 10%%)")
    both.add_argument("--html", type=Path, default=Path("compare.html"), help="the picture (default: %(default)s)")
    both.set_defaults(run=run_compare)
    most = commands.add_parser("capacity", help="find the highest rate that meets the SLO")
    where(most)
    most.add_argument("--start", type=positive, default=50.0, metavar="RPS", help="default: %(default)g")
    most.add_argument("--most", type=positive, default=20_000.0, metavar="RPS", help="default: %(default)g")
    most.add_argument("--probe", type=positive, default=10.0, help="seconds for each rate (default: %(default)g)")
    most.add_argument("--target-rps", type=positive, metavar="RPS", help="say how many pods it needs")
    most.add_argument("--pods", type=whole, default=1, help="that answer behind --url (default: %(default)s)")
    most.add_argument("--headroom", type=percent, default=0.3, help="of a pod that is kept free (default: 30%%)")
    most.add_argument("--out", type=Path, default=Path("capacity.json"), help="default: %(default)s")
    most.set_defaults(run=run_capacity)
    return made


def where(command: argparse.ArgumentParser) -> None:
    """What all tests have to know."""
    command.add_argument("--url", required=True, help="of the server, such as http://localhost:8080")
    command.add_argument("--grpc", default="", metavar="HOST:PORT", help="of its gRPC server (default: port 8081)")
    command.add_argument("--protocol", choices=PROTOCOLS, default="v1", help="default: %(default)s")
    command.add_argument(
        "--slo", default=slo.DEFAULT, help="what is promised (default: %(default)s)".replace("%)", "%%)")
    )
    command.add_argument("--rows", type=whole, default=1, help="in each request (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of the made-up values (default: %(default)s)")
    command.add_argument("--timeout", type=positive, default=10.0, help="seconds for a reply (default: %(default)g)")
    command.add_argument(
        "--warmup", type=positive, default=1.0, help="seconds that are not counted (default: %(default)g)"
    )
    command.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="for each request")
    command.add_argument("--token-file", type=Path, help="a bearer token for each request")
    command.add_argument("--insecure", action="store_true", help="take any certificate")
    command.add_argument("--ca", type=Path, metavar="FILE", help="certificates of authorities to trust")
    command.add_argument("--metrics-url", default="", help="where the metrics are (default: /metrics of --url)")


def plan(options: argparse.Namespace, **more: object) -> MeasuringPlan:
    slo.parse(options.slo)
    if options.metrics_url:
        Target(options.metrics_url)  # says so if it is no URL
    fields = ("protocol", "profile", "rps", "duration", "slo", "rows", "seed", "timeout", "warmup", "metrics_url")
    given = {name: getattr(options, name) for name in fields if hasattr(options, name)}
    return MeasuringPlan(
        Target(options.url, options.grpc, headers_of(options), options.insecure, options.ca), **given | more
    )


def headers_of(options: argparse.Namespace) -> dict[str, str]:
    """What --header and --token-file say."""
    headers = {}
    for one in options.header:
        name, colon, value = one.partition(":")
        if not colon or not name.strip():
            raise UnusableTarget(f"--header: expected 'NAME: VALUE', got {name.strip()!r} without a colon")
        headers[name.strip()] = value.strip()
        if not NAME.fullmatch(name.strip()) or not WORDS.fullmatch(value.strip()):
            raise UnusableTarget(f"--header: {name.strip()!r} has something that no header can carry")
    if options.token_file:
        try:
            token = options.token_file.read_text().strip()
        except OSError as error:
            raise UnusableTarget(f"--token-file: {options.token_file}: {error.strerror}") from None
        except UnicodeDecodeError:
            token = ""
        if not WORDS.fullmatch(token) or not token:
            raise UnusableTarget(f"--token-file: {options.token_file} does not hold a token")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def run_test(options: argparse.Namespace) -> int:
    if options.profile == "step" and options.duration < 10:
        raise UnusableTarget("--duration: a test in steps takes 10 seconds at least")
    page = options.html or (None if options.out == PRINTED else options.out.with_suffix(".html"))
    for file in (options.out, page):
        writable(file)
    found = measure(plan(options))
    if options.out == PRINTED:
        print(found.line())
    else:
        options.out.write_text(found.line() + "\n")
    if page:
        page.write_text(report.html(found))
    for one in found.checks:
        print(one)
    if found.held is not None:
        print(report.held(found))
    if found.outcome.late >= LATE:
        print(f"the load generator itself was late, {slo.seconds(found.outcome.late)} for 1 % of its requests")
    if "missing" in found.server:
        print(f"nothing from the server itself: {found.server['missing']}")
    where = ", ".join(str(file) for file in (options.out, page) if file not in (None, PRINTED))
    print(f"{found.verdict}{where and ': '}{where}")
    if found.stopped is not None:
        return STOPPED
    return 0 if found.kept else 1


def run_report(options: argparse.Namespace) -> int:
    page = options.html or options.result.with_suffix(".html")
    writable(page)
    page.write_text(report.html(results.read(options.result)))
    print(page)
    return 0


def run_compare(options: argparse.Namespace) -> int:
    writable(options.html)
    a, b = results.read(options.a), results.read(options.b)
    found = compare.compare(a, b, options.tolerance)
    options.html.write_text(compare.html(a, b, found, options.tolerance))
    for one in found:
        print(one)
    print(f"{compare.verdict(found)}: {options.html}")
    return 1 if any(one.worse for one in found) else 0


def run_capacity(options: argparse.Namespace) -> int:
    writable(options.out)
    if options.start > options.most:
        raise UnusableTarget(f"--start {options.start:g} is more than --most {options.most:g}")
    found = capacity.Capacity(slo=options.slo)
    try:
        capacity.search(plan(options, duration=options.probe), options.start, options.most, found)
    finally:  # it may be stopped, or the server gone
        if found.tries:
            found.write(options.out, options.target_rps, options.pods, options.headroom)
    print(found.line(options.pods))
    if options.target_rps and found.rps:
        print(found.pods_line(options.target_rps, options.pods, options.headroom))
    return 0 if found.rps else 1


def writable(file: Path | None) -> None:
    if file is None or file == PRINTED:
        return
    if not file.parent.is_dir():
        raise UnusableTarget(f"{file}: there is no folder {file.parent}")
    there = file.exists()
    try:
        file.open("a").close()
        if not there:  # nothing is left behind where there can be no test
            file.unlink()
    except OSError as error:
        raise UnusableTarget(f"{file}: {error.strerror}") from None


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def percent(text: str) -> float:
    value = float(text.removesuffix("%")) / 100
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0% and 100%")
    return value


def whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
