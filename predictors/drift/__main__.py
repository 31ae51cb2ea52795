"""Writes profiles of training data, and compares prediction logs with them.

The exit code is 0 for success, 1 if a report finds drift, and 2 if the input cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

from predictors.drift.compare import compare
from predictors.drift.files import UnusableData, is_log, read_table, read_tables, reporting_write_errors, split_log
from predictors.drift.profiles import DriftProfile, ProfileError, columns_of, make_profile, parse_profile, read_profile
from predictors.drift.report import page, verdict_line
from predictors.flavor import FlavorError, read_mlmodel
from predictors.protocol.results import PREDICTIONS

FINE, DRIFT, BAD = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    options = argument_parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (UnusableData, ProfileError, FlavorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m predictors.drift", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    profile_parser = commands.add_parser("profile", help="write the profile of training data, a small JSON file")
    profile_parser.add_argument(
        "data", metavar="DATA", help="CSV, Parquet or JSON lines, a folder of them, or a prediction log"
    )
    profile_parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: stdout)")
    profile_parser.add_argument(
        "--predictions",
        metavar="COLUMNS",
        default="",
        help="columns with the model's predictions, separated by commas; NAME=COLUMN names the output",
    )
    profile_parser.add_argument(
        "--drop", metavar="COLUMNS", default="", help="columns that are not inputs, such as the label"
    )
    profile_parser.add_argument(
        "--bins", type=integer(2, 100), default=10, help="bins of each number (default: %(default)s)"
    )
    profile_parser.set_defaults(run=profile)
    report_parser = commands.add_parser("report", help="compare a prediction log with a profile")
    report_parser.add_argument("log", metavar="LOG", help="Parquet or JSON lines, a folder of them, or a URL of either")
    report_parser.add_argument(
        "--profile", required=True, metavar="FILE", help="the profile, or the folder of a model with one"
    )
    report_parser.add_argument("-o", "--output", metavar="FILE", help="where to write the HTML page")
    report_parser.add_argument(
        "--threshold",
        type=non_negative,
        default=0.2,
        help="PSI above which a column has drifted (default: %(default)s)",
    )
    report_parser.add_argument(
        "--min-rows", type=integer(1), default=200, help="rows that a comparison needs (default: %(default)s)"
    )
    report_parser.set_defaults(run=report)
    return parser


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"expected a number from {low}" + (f" to {high}" if high else ""))
        return value

    return parse


def non_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < inf:
        raise argparse.ArgumentTypeError("expected a number from 0")
    return value


def profile(options: argparse.Namespace) -> int:
    frame = read_table(options.data)
    if is_log(frame):
        features, answers = split_log(frame)
    else:
        outputs = parse_outputs(options.predictions)
        drop = parse_names(options.drop)
        check_columns([*outputs.values(), *drop], [str(name) for name in frame.columns], options.data)
        features = columns_of(frame.drop(columns=[*outputs.values(), *drop]))
        answers = {name: frame[column] for name, column in outputs.items()}
    drift_profile = make_profile(features, answers or None, bins=options.bins)
    if not drift_profile.features:
        raise UnusableData(f"{options.data} has no column of numbers, categories, booleans or times")
    left_out = features.keys() - {variable.name for variable in drift_profile.features}
    if left_out:
        print(f"left out, as they are not numbers, texts or times: {', '.join(sorted(left_out))}", file=sys.stderr)
    text = json.dumps(drift_profile.as_json(), ensure_ascii=False) + "\n"
    if options.output is None:
        sys.stdout.write(text)
        return FINE
    with reporting_write_errors(options.output):
        Path(options.output).write_text(text)
    counts = f"{drift_profile.rows} rows, {len(drift_profile.features)} inputs, {len(drift_profile.outputs)} outputs"
    print(f"{options.output}: {counts}")
    return FINE


def parse_outputs(written: str) -> dict[str, str]:
    """Outputs and their columns; the output of a single column without a name is `predictions`."""
    parts = parse_names(written)
    if len(parts) == 1 and "=" not in parts[0]:
        return {PREDICTIONS: parts[0]}
    return {part.partition("=")[0]: part.partition("=")[2] or part for part in parts}


def parse_names(written: str) -> list[str]:
    return [part.strip() for part in written.split(",") if part.strip()]


def check_columns(wanted: Sequence[str], existing: Sequence[str], location: str) -> None:
    for name in wanted:
        if name not in existing:
            raise UnusableData(f"{location} has no column '{name}'; it has {', '.join(existing[:20])}")


def report(options: argparse.Namespace) -> int:
    expected = load_profile(options.profile)
    comparison = compare(expected, read_tables(options.log), options.min_rows)
    if options.output is not None:
        with reporting_write_errors(options.output):
            Path(options.output).write_text(page(comparison, expected.rows, options.threshold, options.log))
    print(verdict_line(comparison, options.threshold))
    return DRIFT if any(finding.psi > options.threshold for finding in comparison.findings) else FINE


def load_profile(location: str) -> DriftProfile:
    path = Path(location)
    if path.is_dir():
        return read_profile(read_mlmodel(path))
    try:
        return parse_profile(path.read_text())
    except OSError as error:
        raise UnusableData(f"{location} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{location} is not JSON") from None


if __name__ == "__main__":
    sys.exit(main())
