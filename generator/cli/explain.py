"""Every value of a serve, with its source and the reason."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from generator.cli.arguments import add_spec_arguments
from generator.cli.console import OK, say
from generator.cli.request import requested
from generator.explain import explain, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_spec_arguments(parser)
    parser.add_argument("--all", action="store_true", help="include values that are not set")
    parser.add_argument("--json", action="store_true", help="print a JSON list of {path, value, source, why}")


def run(args: argparse.Namespace) -> int:
    request = requested(args, "explain")
    rows = [
        row
        for row in explain(request.plan, request.file.layers.document)
        if args.all or row.value not in (None, [], {})
    ]
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
    else:
        sys.stdout.write(table(rows))
    for line in [*request.remarks, *request.notes]:
        say(f"Note: {line}.")
    return OK
