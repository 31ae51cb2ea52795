"""The JSON Schema of spec files (draft 2020-12), for editors; `docs/schema/serve.json` is a copy."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from generator.cli.console import OK
from generator.cli.files import write
from generator.schema import json_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="-", metavar="FILE", help="file to write; - is stdout [default]")


def run(args: argparse.Namespace) -> int:
    text = schema_text()
    if args.output == "-":
        sys.stdout.write(text)
    else:
        write(Path(args.output), text)
    return OK


def schema_text() -> str:
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
