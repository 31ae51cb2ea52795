"""All problems of spec files, with their lines, in every environment."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from generator.cli.arguments import add_environment
from generator.cli.console import OK, WRONG, Stop, problem_line, say
from generator.cli.request import local_tracking_uri, read_document
from generator.crds import CrdError, load
from generator.facts import ModelFacts
from generator.lookup import LookupFailed, fetch_facts
from generator.output import file_name
from generator.plan import decide
from generator.problems import Problem, SpecError
from generator.render import resources
from generator.spec import ServeSpec
from generator.specfile.load import SpecFile, against_rules, in_order, overlap, spec_file, with_flavor, without_path
from generator.specfile.overlay import ENVIRONMENTS, environments_of, misshapen
from generator.specfile.yaml_text import YamlDocument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", metavar="serve.yaml", help="spec files; - reads stdin")
    add_environment(parser)
    parser.add_argument(
        "--crds", metavar="DIR", help="also check the rendered manifests against the CRDs in this folder"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of {file, line, path, message}")


def run(args: argparse.Namespace) -> int:
    problems = [problem for name in args.file for problem in in_order(problems_in(name, args))]
    if args.json:
        listed = [
            {"file": each.source, "line": each.line, "path": each.where, "message": each.message} for each in problems
        ]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            print(problem_line(problem))
    if not problems:
        say(f"{', '.join(args.file)}: no problems")
    return WRONG if problems else OK


def problems_in(name: str, args: argparse.Namespace) -> list[Problem]:
    """The problems of a file in all of its environments."""
    wrong: list[Problem] = []
    try:
        file = read_document(name, wrong)
        shared = read_document(args.environments) if args.environments else None
    except SpecError as error:
        return error.problems
    # Parts that cannot be read or merged are reported; the rest is checked without them.
    wrong += [each for each in misshapen(file) if each.path]
    for problem in wrong:
        file = (
            YamlDocument(without_path(file.data, problem.path), file.positions)
            if problem.path[:1] == (ENVIRONMENTS,)
            else file
        )
    known = list(dict.fromkeys(known for each in (shared, file) if each for known in environments_of(each)))
    unlaid = any(each.path == (ENVIRONMENTS, args.env) for each in wrong)
    environments: list[str | None] = [args.env] if args.env and not unlaid else [*known] or [None]
    rest = [problem for environment in environments for problem in problems_for(file, environment, shared, args)]
    return wrong + [each for each in rest if not (each.path and any(overlap(each.path, other.path) for other in wrong))]


def problems_for(
    file: YamlDocument, environment: str | None, shared: YamlDocument | None, args: argparse.Namespace
) -> list[Problem]:
    try:
        parsed = spec_file(file, environment, shared)
        facts = known_of(parsed.spec)
        if problems := against_rules(parsed.spec, facts):
            return parsed.placed(SpecError(problems)).problems
        return against_crds(parsed, facts, args.crds) if args.crds else []
    except SpecError as error:
        return error.problems


def known_of(spec: ServeSpec) -> dict[str, ModelFacts]:
    """The facts about the model; a failed lookup is only a note."""
    if spec.flavor is not None:
        return {}
    try:
        return {spec.model: fetch_facts(spec.model, local_tracking_uri(spec))}
    except LookupFailed as error:
        say(f"Note: {error}.")
        return {}


def against_crds(parsed: SpecFile, facts: Mapping[str, ModelFacts], folder: str) -> list[Problem]:
    """Problems for which an API server with these CRDs would refuse the manifests."""
    try:
        crds = load(Path(folder))
    except CrdError as error:
        raise Stop(f"--crds: {error}") from None
    return [
        Problem((), f"{file_name(resource)}: {finding}", None, folder)
        for resource in resources(decide(with_flavor(parsed.spec, facts), facts))
        if crds.knows(resource)
        for finding in crds.problems(resource)
    ]
