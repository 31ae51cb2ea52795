"""Shared parts of the rollout commands: printing or writing patches, and changing the spec file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from generator.cli.arguments import add_environment, add_lookup
from generator.cli.console import OK, Stop, say
from generator.cli.files import write
from generator.cli.request import ServeRequest, requested, text_of
from generator.problems import SpecError
from generator.rollout import Patch, Step
from generator.specfile.rewriting import REMOVED, rewritten
from generator.specfile.yaml_text import read


def add_step_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="serve.yaml", help="spec file, as applied to the cluster")
    add_environment(parser)
    add_lookup(parser)
    parser.add_argument("--type", choices=["merge", "json"], default="merge", help="kind of the patches [merge]")
    parser.add_argument(
        "--only", choices=["patch", "command"], help="print only the patches, or only the kubectl lines"
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for the patches and a script that applies them")
    parser.add_argument("--write", action="store_true", help="change the spec file as well")


def step_request(args: argparse.Namespace, command: str) -> ServeRequest:
    if args.write and args.file == "-":
        raise Stop(f"python -m generator {command}: --write needs a file to change, not stdin")
    return requested(args, command)


def finish(args: argparse.Namespace, request: ServeRequest, plan_step: Callable[[], Step]) -> int:
    """Prints or writes the patches of a step, and shows or writes the change of the spec."""
    try:
        step = plan_step()
    except SpecError as error:
        raise request.file.placed(error) from None
    context = request.file.layers.cluster
    changed = changes(request, step)
    if not (step.patches or changed):
        raise Stop(f"{args.file}: nothing to change: {step.note}")
    # The new spec is prepared before anything is printed: if it cannot be written, a patch piped to a shell would be
    # undone by the next render.
    text = changed_text(args, request, changed) if args.write else None
    if args.output:
        write_patches(Path(args.output), step, context)
    if text is not None:
        write(Path(args.file), text)
    if not args.output:
        sys.stdout.write(printed(step, context, args.only))
    if args.write:
        say(f"{args.file}: changed; {step.note}.")
    else:
        shown = {key: None if value is REMOVED else value for key, value in changed.items()}
        say(f"{step.note}. Change {args.file} accordingly (--write does it):")
        say(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True).rstrip())
    return OK


def printed(step: Step, context: str | None, only: str | None) -> str:
    lines = []
    for patch in step.patches:
        if only is None:
            lines.append(f"# {patch.kind} {patch.name}: {step.note}\n")
        if only != "command":
            lines.append(content_of(patch))
        if only != "patch":
            lines.append(f"{patch.command(context)}\n")
    return "".join(lines)


def content_of(patch: Patch) -> str:
    return json.dumps(patch.content, indent=2, ensure_ascii=False) + "\n"


def write_patches(folder: Path, step: Step, context: str | None) -> None:
    """A file for each patch, and a script that applies them from their folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Stop(f"{folder}: cannot be written: {error.strerror or error}") from None
    lines = ["#!/bin/sh", f"# {step.note}", "set -e", 'cd "$(dirname "$0")"']
    for patch in step.patches:
        name = f"{patch.kind.lower()}-{patch.name}.patch.json"
        write(folder / name, content_of(patch))
        lines.append(patch.command(context, file=name))
    write(folder / "patch.sh", "\n".join(lines) + "\n")
    say(f"{folder}: {len(step.patches)} patch{'es' if len(step.patches) != 1 else ''}; sh {folder / 'patch.sh'}")


def changes(request: ServeRequest, step: Step) -> dict[str, Any]:
    """The fields of the spec that the step changes."""
    before, after = (spec.model_dump(mode="json", exclude_none=True) for spec in (request.spec, step.spec))
    changed = {key: after.get(key, REMOVED) for key in {**before, **after} if before.get(key) != after.get(key)}
    if isinstance(changed.get("canary"), dict) and step.spec.canary:
        changed["canary"] = step.spec.canary.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return dict(sorted(changed.items(), key=lambda each: each[0] == "canary"))


def changed_text(args: argparse.Namespace, request: ServeRequest, changed: Mapping[str, Any]) -> str:
    """The file with the changed fields, which are set in the environment if there is one."""
    text = text_of(args.file)
    layers = request.file.layers
    base = read(text, args.file).data
    for key, value in changed.items():
        place = layers.document.position((key,))
        if place and "overrides" in place.path[:3]:
            raise Stop(f"{args.file}: {key} is an override ({place}): change it there")
        try:
            if not layers.environment:
                text = rewritten(text, (), {key: value})
                continue
            at = ("environments", layers.environment)
            text = rewritten(text, at, {key: value})
            if value is REMOVED and key in base:
                text = rewritten(text, at, {key: None})
        except SpecError as error:
            raise Stop(f"{args.file}: {error}") from None
    return text
