"""The manifests of a serve, from a spec file or from flags alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from generator.cli.arguments import add_spec_arguments
from generator.cli.console import OK, say
from generator.cli.files import write_folder
from generator.cli.request import requested
from generator.output import files, stream


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_spec_arguments(parser)
    parser.add_argument(
        "-o", "--output", default="-", metavar="DIR",
        help="folder for a file per resource and a kustomization.yaml; - is stdout [default]",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    request = requested(args, "render")
    resources, notes = request.resources, request.notes
    for line in [*request.remarks, *notes]:
        say(f"Note: {line}.")
    if args.output == "-":
        sys.stdout.write(stream(resources, request.header, notes))
    else:
        write_folder(Path(args.output), files(resources, request.header, notes), request.spec.name)
        context = f" --context {request.file.layers.cluster}" if request.file.layers.cluster else ""
        say(f"{args.output}: {len(resources)} resources; kubectl{context} apply -k {args.output}")
    return OK
