"""`python -m loadtest run | report | compare | capacity`."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

from loadtest import capacity, report, results, slo
from loadtest.measuring import MeasuringPlan, measure
from loadtest.outcome import LATE_SECONDS
from loadtest.payloads import PROTOCOLS
from loadtest.profiles import PROFILES
from loadtest.target import Target, UnusableTarget

PROG = "python -m loadtest"
DESCRIPTION = """Sends load to a server, compares runs, and finds what it can take.

Exit codes: 0 if the SLO was met (or B is not worse than A), 1 if not, and 2 if the test could not run."""
STDOUT = Path("-")
STOPPED = 130
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
"""Values that every protocol can carry in a header."""


def main(arguments: list[str] | None = None, prog: str = PROG) -> int:
    options = parser(prog).parse_args(arguments)
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


def parser(prog: str = PROG) -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog=prog, description=DESCRIPTION)
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="send requests at a given rate and check the latencies against an SLO")
    add_test_options(run)
    run.add_argument(
        "--profile", choices=PROFILES, default="steady", help="how the rate changes (default: %(default)s)"
    )
    run.add_argument("--rps", type=positive, default=100.0, help="requests per second (default: %(default)g)")
    run.add_argument("--duration", type=positive, default=60.0, help="duration in seconds (default: %(default)g)")
    run.add_argument(
        "--out",
        type=Path,
        default=Path("loadtest.json"),
        help="file for the result; - prints it (default: %(default)s)",
    )
    run.add_argument("--html", type=Path, help="file for the report (default: next to the result)")
    run.set_defaults(run=run_test)
    report_command = commands.add_parser("report", help="write the HTML report of a result")
    report_command.add_argument("result", type=Path, metavar="RESULT.json")
    report_command.add_argument("--html", type=Path, help="file for the report (default: next to the result)")
    report_command.set_defaults(run=run_report)
    compare_command = commands.add_parser(
        "compare", help="tell whether B is worse than A, such as a canary than the stable model"
    )
    compare_command.add_argument("a", type=Path, metavar="A.json")
    compare_command.add_argument("b", type=Path, metavar="B.json")
    compare_command.add_argument(
        "--tolerance", type=percent, default=0.1, help="how much slower B may be (default: 10%%)"
    )
    compare_command.add_argument(
        "--html", type=Path, default=Path("compare.html"), help="file for the report (default: %(default)s)"
    )
    compare_command.set_defaults(run=run_compare)
    capacity_command = commands.add_parser("capacity", help="find the highest rate that meets the SLO")
    add_test_options(capacity_command)
    capacity_command.add_argument(
        "--start", type=positive, default=50.0, metavar="RPS", help="first rate (default: %(default)g)"
    )
    capacity_command.add_argument(
        "--most", type=positive, default=20_000.0, metavar="RPS", help="highest rate (default: %(default)g)"
    )
    capacity_command.add_argument(
        "--probe", type=positive, default=10.0, help="seconds per rate (default: %(default)g)"
    )
    capacity_command.add_argument(
        "--target-rps", type=positive, metavar="RPS", help="print the number of pods for this rate"
    )
    capacity_command.add_argument(
        "--pods", type=whole, default=1, help="number of pods behind --url (default: %(default)s)"
    )
    capacity_command.add_argument(
        "--headroom", type=percent, default=0.3, help="share of each pod to keep free (default: 30%%)"
    )
    capacity_command.add_argument(
        "--out", type=Path, default=Path("capacity.json"), help="file for the result (default: %(default)s)"
    )
    capacity_command.set_defaults(run=run_capacity)
    return root


def add_test_options(command: argparse.ArgumentParser) -> None:
    """Options of all tests."""
    command.add_argument("--url", required=True, help="URL of the server, such as http://localhost:8080")
    command.add_argument(
        "--grpc", default="", metavar="HOST:PORT", help="address of its gRPC server (default: port 8081)"
    )
    command.add_argument("--protocol", choices=PROTOCOLS, default="v1", help="default: %(default)s")
    command.add_argument(
        "--slo", default=slo.DEFAULT, help="objectives to check (default: %(default)s)".replace("%)", "%%)")
    )
    command.add_argument("--rows", type=whole, default=1, help="rows per request (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="seed of the generated values (default: %(default)s)")
    command.add_argument(
        "--timeout", type=positive, default=10.0, help="seconds to wait for a response (default: %(default)g)"
    )
    command.add_argument(
        "--warmup", type=positive, default=1.0, help="seconds of warm-up that are not counted (default: %(default)g)"
    )
    command.add_argument(
        "--header", action="append", default=[], metavar="'NAME: VALUE'", help="header of each request"
    )
    command.add_argument("--token-file", type=Path, help="file with a bearer token for each request")
    command.add_argument("--insecure", action="store_true", help="accept any certificate")
    command.add_argument("--ca", type=Path, metavar="FILE", help="certificates of the authorities to trust")
    command.add_argument("--metrics-url", default="", help="URL of the metrics (default: /metrics of --url)")


def plan(options: argparse.Namespace, **more: object) -> MeasuringPlan:
    slo.parse(options.slo)
    if options.metrics_url:
        Target(options.metrics_url)  # raises if it is not a URL
    fields = ("protocol", "profile", "rps", "duration", "slo", "rows", "seed", "timeout", "warmup", "metrics_url")
    values = {name: getattr(options, name) for name in fields if hasattr(options, name)}
    return MeasuringPlan(
        Target(options.url, options.grpc, headers_of(options), options.insecure, options.ca), **values | more
    )


def headers_of(options: argparse.Namespace) -> dict[str, str]:
    """The headers that --header and --token-file ask for."""
    headers = {}
    for one in options.header:
        name, colon, value = one.partition(":")
        if not colon or not name.strip():
            raise UnusableTarget(f"--header: expected 'NAME: VALUE', got {name.strip()!r} without a colon")
        headers[name.strip()] = value.strip()
        if not HEADER_NAME.fullmatch(name.strip()) or not HEADER_VALUE.fullmatch(value.strip()):
            raise UnusableTarget(f"--header: {name.strip()!r} has characters that no header can carry")
    if options.token_file:
        try:
            token = options.token_file.read_text().strip()
        except OSError as error:
            raise UnusableTarget(f"--token-file: {options.token_file}: {error.strerror}") from None
        except UnicodeDecodeError:
            token = ""
        if not HEADER_VALUE.fullmatch(token) or not token:
            raise UnusableTarget(f"--token-file: {options.token_file} does not hold a token")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def run_test(options: argparse.Namespace) -> int:
    if options.profile == "step" and options.duration < 10:
        raise UnusableTarget("--duration: a test in steps takes at least 10 seconds")
    page = options.html or (None if options.out == STDOUT else options.out.with_suffix(".html"))
    for file in (options.out, page):
        writable(file)
    result = measure(plan(options))
    if options.out == STDOUT:
        print(result.line())
    else:
        options.out.write_text(result.line() + "\n")
    if page:
        page.write_text(report.html(result))
    for check in result.checks:
        print(check)
    if result.held is not None:
        print(report.held(result))
    if result.outcome.late >= LATE_SECONDS:
        print(f"the load generator itself was late, {slo.seconds(result.outcome.late)} for 1 % of its requests")
    if "missing" in result.server:
        print(f"no metrics from the server: {result.server['missing']}")
    where = ", ".join(str(file) for file in (options.out, page) if file not in (None, STDOUT))
    print(f"{result.verdict}{where and ': '}{where}")
    if result.stopped is not None:
        return STOPPED
    return 0 if result.kept else 1


def run_report(options: argparse.Namespace) -> int:
    page = options.html or options.result.with_suffix(".html")
    writable(page)
    page.write_text(report.html(results.read(options.result)))
    print(page)
    return 0


def run_compare(options: argparse.Namespace) -> int:
    from loadtest import compare  # the verdict is not in a predictor's image, where the Job runs tests

    writable(options.html)
    a, b = results.read(options.a), results.read(options.b)
    differences = compare.compare(a, b, options.tolerance)
    options.html.write_text(compare.html(a, b, differences, options.tolerance))
    for difference in differences:
        print(difference)
    print(f"{compare.verdict(differences)}: {options.html}")
    return 1 if any(difference.worse for difference in differences) else 0


def run_capacity(options: argparse.Namespace) -> int:
    writable(options.out)
    if options.start > options.most:
        raise UnusableTarget(f"--start {options.start:g} is more than --most {options.most:g}")
    result = capacity.Capacity(slo=options.slo)
    try:
        capacity.search(plan(options, duration=options.probe), options.start, options.most, result)
    finally:  # the search may be stopped, or the server may be gone
        if result.tries:
            result.write(options.out, options.target_rps, options.pods, options.headroom)
    print(result.line(options.pods))
    if options.target_rps and result.rps:
        print(result.pods_line(options.target_rps, options.pods, options.headroom))
    return 0 if result.rps else 1


def writable(file: Path | None) -> None:
    if file is None or file == STDOUT:
        return
    if not file.parent.is_dir():
        raise UnusableTarget(f"{file}: there is no folder {file.parent}")
    there = file.exists()
    try:
        file.open("a").close()
        if not there:  # leave no file behind if the test cannot run
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
