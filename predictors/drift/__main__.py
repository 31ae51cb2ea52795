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

from predictors.drift.compare import compared
from predictors.drift.files import UnusableData, is_log, logged, speaking, table, tables
from predictors.drift.profiles import DriftProfile, ProfileError, columns_of, made, parsed, profile_of
from predictors.drift.report import page, verdict_line
from predictors.flavor import FlavorError, read_mlmodel
from predictors.protocol.results import PREDICTIONS

FINE, DRIFT, BAD = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (UnusableData, ProfileError, FlavorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m predictors.drift", description=__doc__)
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    profile_parser = commands.add_parser("profile", help="write the profile of training data, a small JSON file")
    profile_parser.add_argument(
        "data", metavar="DATA", help="CSV, Parquet or JSON lines, a folder of them, or a prediction log"
    )
    profile_parser.add_argument("-o", "--output", metavar="FILE", help="file for the profile (default: stdout)")
    profile_parser.add_argument(
        "--predictions",
        metavar="COLUMNS",
        default="",
        help="columns with predictions, separated by commas; NAME=COLUMN names the output of the model",
    )
    profile_parser.add_argument(
        "--drop", metavar="COLUMNS", default="", help="columns that are not inputs, such as the label"
    )
    profile_parser.add_argument(
        "--bins", type=whole(2, 100), default=10, help="number of bins of a numeric column (default: %(default)s)"
    )
    profile_parser.set_defaults(run=profile)
    report_parser = commands.add_parser("report", help="compare a prediction log with a profile")
    report_parser.add_argument("log", metavar="LOG", help="Parquet or JSON lines, a folder of them, or a URL of either")
    report_parser.add_argument(
        "--profile", required=True, metavar="FILE", help="a profile, or the folder of a model with one"
    )
    report_parser.add_argument("-o", "--output", metavar="FILE", help="file for an HTML page")
    report_parser.add_argument(
        "--threshold", type=limit, default=0.2, help="PSI above which a column has drifted (default: %(default)s)"
    )
    report_parser.add_argument(
        "--min-rows", type=whole(1), default=200, help="fewest rows for a verdict (default: %(default)s)"
    )
    report_parser.set_defaults(run=report)
    return root


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"expected a number from {low}" + (f" to {high}" if high else ""))
        return value

    return parse


def limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < inf:
        raise argparse.ArgumentTypeError("expected a number from 0")
    return value


def profile(options: argparse.Namespace) -> int:
    frame = table(options.data)
    if is_log(frame):
        features, answers = logged(frame)
    else:
        outputs = named(options.predictions)
        drop = names(options.drop)
        check_columns([*outputs.values(), *drop], [str(name) for name in frame.columns], options.data)
        features = columns_of(frame.drop(columns=[*outputs.values(), *drop]))
        answers = {name: frame[column] for name, column in outputs.items()}
    found = made(features, answers or None, bins=options.bins)
    if not found.features:
        raise UnusableData(f"{options.data} has no column of numbers, categories, booleans or times")
    left_out = features.keys() - {one.name for one in found.features}
    if left_out:
        print(f"left out, since they are no numbers, texts or times: {', '.join(sorted(left_out))}", file=sys.stderr)
    text = json.dumps(found.as_json(), ensure_ascii=False) + "\n"
    if options.output is None:
        sys.stdout.write(text)
        return FINE
    with speaking(options.output):
        Path(options.output).write_text(text)
    print(f"{options.output}: {found.rows} rows, {len(found.features)} inputs, {len(found.outputs)} outputs")
    return FINE


def named(written: str) -> dict[str, str]:
    """Outputs and their columns; a single column without a name is `predictions`."""
    parts = names(written)
    if len(parts) == 1 and "=" not in parts[0]:
        return {PREDICTIONS: parts[0]}
    return {part.partition("=")[0]: part.partition("=")[2] or part for part in parts}


def names(written: str) -> list[str]:
    return [part.strip() for part in written.split(",") if part.strip()]


def check_columns(wanted: Sequence[str], there: Sequence[str], place: str) -> None:
    for name in wanted:
        if name not in there:
            raise UnusableData(f"{place} has no column '{name}'; it has {', '.join(there[:20])}")


def report(options: argparse.Namespace) -> int:
    known = read_profile(options.profile)
    found = compared(known, tables(options.log), options.min_rows)
    if options.output is not None:
        with speaking(options.output):
            Path(options.output).write_text(page(found, known.rows, options.threshold, options.log))
    print(verdict_line(found, options.threshold))
    return DRIFT if any(one.psi > options.threshold for one in found.findings) else FINE


def read_profile(place: str) -> DriftProfile:
    path = Path(place)
    if path.is_dir():
        return profile_of(read_mlmodel(path))
    try:
        return parsed(path.read_text())
    except OSError as error:
        raise UnusableData(f"{place} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{place} is not JSON") from None


if __name__ == "__main__":
    sys.exit(main())
