"""A commented spec file for a model, to begin with."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from generator.cli.console import OK, UNREACHABLE, Stop
from generator.cli.files import write
from generator.facts import ModelFacts
from generator.lookup import LookupFailed, fact
from generator.specfile.load import spec_file
from generator.specfile.yaml_text import Position, Written
from generator.starter import starter
from predictors.uris import ModelURI


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="URI", help="what to serve, such as models:/fraud@champion")
    parser.add_argument("--name", metavar="NAME", help="name of the serve [that of the registered model]")
    parser.add_argument("--namespace", default="default", metavar="NAME", help="namespace of everything [default]")
    parser.add_argument("--flavor", metavar="FLAVOR", help="do not look at the model; it has this flavor")
    parser.add_argument("--tracking-uri", metavar="URL", help="MLflow's address [MLFLOW_TRACKING_URI]")
    parser.add_argument("--mlmodel", metavar="FOLDER", help="a copy of the model to look at, rather than at --model")
    parser.add_argument("--schema", metavar="PATH", help="where editors find the JSON Schema; a comment says so")
    parser.add_argument("-o", "--output", default="-", metavar="FILE", help="write it there; - is stdout [default]")
    parser.add_argument("--force", action="store_true", help="also over a file that is there")


def run(args: argparse.Namespace) -> int:
    name = args.name or name_of(args.model)
    if name is None:
        raise Stop(f"python -m generator init: {args.model} has no name to take: expected --name")
    said = {"name": name, "model": args.model, "namespace": args.namespace, "flavor": args.flavor}
    spec_file(Written({}), flags=[Written({key: value}, {(key,): Position(f"--{key}")}) for key, value in said.items()])
    text = starter(name, args.model, args.namespace, facts(args), args.schema)
    if args.flavor:
        text = text.replace("\nmodel: ", f"\nflavor: {args.flavor}\nmodel: ", 1)
    if args.output == "-":
        sys.stdout.write(text)
    elif Path(args.output).exists() and not args.force:
        raise Stop(f"{args.output}: is there already: expected another --output, or --force")
    else:
        write(Path(args.output), text)
    return OK


def facts(args: argparse.Namespace) -> ModelFacts | None:
    if args.flavor:
        return None
    try:
        return fact(args.mlmodel or args.model, args.tracking_uri)
    except LookupFailed as error:
        raise Stop(str(error), UNREACHABLE) from None


def name_of(uri: str) -> str | None:
    """The registered model's name as Kubernetes takes it."""
    name = ModelURI.parse(uri).name or ""
    slug = re.sub(r"[^a-z0-9]+", "-", name.rpartition(".")[2].lower()).strip("-")
    return slug[:63].strip("-") if slug and slug[0].isalpha() else None
