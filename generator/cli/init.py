"""A commented spec file for a model, as a starting point."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from generator.cli.arguments import add_lookup
from generator.cli.console import OK, UNREACHABLE, Stop
from generator.cli.files import write
from generator.facts import ModelFacts
from generator.lookup import LookupFailed, fetch_facts
from generator.specfile.load import spec_file
from generator.specfile.yaml_text import Position, YamlDocument
from generator.starter import starter
from predictors.uris import ModelURI


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="URI", help="URI of the model, such as models:/fraud@champion"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the serve [default: that of the registered model]")
    parser.add_argument("--namespace", default="default", metavar="NAME", help="namespace of all resources [default]")
    parser.add_argument("--flavor", metavar="FLAVOR", help="flavor of the model, which is then not looked up")
    parser.add_argument("--tracking-uri", metavar="URL", help="MLflow's address [MLFLOW_TRACKING_URI]")
    add_lookup(parser)
    parser.add_argument("--schema", metavar="PATH", help="path of the JSON Schema for editors, written as a comment")
    parser.add_argument("-o", "--output", default="-", metavar="FILE", help="file to write; - is stdout [default]")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(args: argparse.Namespace) -> int:
    name = args.name or name_of(args.model)
    if name is None:
        raise Stop(f"python -m generator init: {args.model} has no registered name: expected --name")
    fields = {"name": name, "model": args.model, "namespace": args.namespace, "flavor": args.flavor}
    spec_file(
        YamlDocument({}),
        flags=[YamlDocument({key: value}, {(key,): Position(f"--{key}")}) for key, value in fields.items()],
    )
    text = starter(name, args.model, args.namespace, facts(args), args.schema)
    if args.flavor:
        text = text.replace("\nmodel: ", f"\nflavor: {args.flavor}\nmodel: ", 1)
    if args.output == "-":
        sys.stdout.write(text)
    elif Path(args.output).exists() and not args.force:
        raise Stop(f"{args.output}: already exists: expected another --output, or --force")
    else:
        write(Path(args.output), text)
    return OK


def facts(args: argparse.Namespace) -> ModelFacts | None:
    if args.flavor:
        return None
    try:
        return fetch_facts(args.mlmodel or args.model, args.tracking_uri, args.lookup_timeout)
    except LookupFailed as error:
        raise Stop(str(error), UNREACHABLE) from None


def name_of(uri: str) -> str | None:
    """The registered model's name as a name in Kubernetes."""
    name = ModelURI.parse(uri).name or ""
    slug = re.sub(r"[^a-z0-9]+", "-", name.rpartition(".")[2].lower()).strip("-")
    return slug[:63].strip("-") if slug and slug[0].isalpha() else None
