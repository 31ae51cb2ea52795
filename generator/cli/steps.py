"""Shared parts of the rollout commands: a plan is printed, written as a script, or carried out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from generator.cli.arguments import add_environment, add_lookup
from generator.cli.asking import Asked, asked
from generator.cli.console import OK, WRONG, Stop, say
from generator.cli.files import write
from generator.cli.live import LiveProgress
from generator.cli.request import ServeRequest, requested, text_of
from generator.output import stream
from generator.problems import SpecError
from generator.rollout.actions import Action, ApplyDocuments, Patch
from generator.rollout.drive import WAIT_SECONDS, RolloutStopped, drive, has_begun
from generator.rollout.observed import ObservedServe
from generator.rollout.script import SCRIPT, script
from generator.rollout.steps import RolloutPlan
from generator.spec import ServeSpec
from generator.specfile.rewriting import REMOVED, rewritten
from generator.specfile.yaml_text import read

Planner = Callable[[ServeSpec, ObservedServe | None], RolloutPlan]


def add_step_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="serve.yaml", help="spec file, as applied to the cluster")
    add_environment(parser)
    add_lookup(parser)
    parser.add_argument(
        "--type", choices=["merge", "json"], default="merge", help="kind of the patches where KServe splits [merge]"
    )
    parser.add_argument(
        "--only", choices=["patch", "command"], help="print only the patches, or only the kubectl lines"
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for a script, and what it patches and applies")
    parser.add_argument("--apply", action="store_true", help="carry the plan out, with kubectl")
    parser.add_argument("--resume", action="store_true", help="with --apply: go on with a run that was interrupted")
    parser.add_argument("--ask", action="store_true", help="ask the cluster what it has, without changing it")
    parser.add_argument("--wait", type=float, default=WAIT_SECONDS, metavar="SECONDS",
                        help="with --apply: time for the pods of a step [%(default)g]")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="change the spec file as well")


def add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="even if the canary is not ready, or has too few pods")


def step_request(args: argparse.Namespace, command: str) -> ServeRequest:
    if args.write and args.file == "-":
        raise Stop(f"python -m generator {command}: --write needs a file to change, not stdin")
    if args.apply and args.output:
        raise Stop(f"python -m generator {command}: expected one of --apply and --output")
    if args.resume and not args.apply:
        raise Stop(f"python -m generator {command}: --resume goes with --apply")
    return requested(args, command)


def finish(args: argparse.Namespace, request: ServeRequest, planner: Planner, target: ServeSpec) -> int:
    """Prints, writes or carries out the plan, and shows or writes the change of the spec."""
    answer: Asked | None = None
    try:
        if args.apply or args.ask:
            answer = asked(request, target)
        plan = planner(answer.spec if answer else request.spec, answer.observed if answer else None)
    except SpecError as error:
        raise request.file.placed(error) from None
    context = request.file.layers.cluster
    changed = changes(request.spec, plan.spec)
    if not (plan.steps or changed):
        raise Stop(f"{args.file}: nothing to change: {plan.note}")
    # The new spec is prepared before anything is printed: if it cannot be written, a patch piped to a shell would be
    # undone by the next render.
    text = changed_text(args, request, changed) if args.write and changed else None
    if args.apply and answer:
        if status := carry_out(args, plan, answer):
            return status
    elif args.output:
        write_script(Path(args.output), plan, request.spec.namespace, context)
    if text is not None:
        write(Path(args.file), text)
    if not (args.output or args.apply):
        sys.stdout.write(printed(plan, context, args.only))
    if args.write:
        say(f"{args.file}: changed; {plan.note}.")
    elif changed:
        shown = {key: None if value is REMOVED else value for key, value in changed.items()}
        say(f"{plan.note}. Change {args.file} accordingly (--write does it):")
        say(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True).rstrip())
    return OK


def carry_out(args: argparse.Namespace, plan: RolloutPlan, answer: Asked) -> int:
    """The exit code: 1 if the rollout has stopped on the way."""
    if has_begun(plan, answer.observed) and not args.resume:
        raise Stop(
            f"{args.file}: parts of this are done already, by a run that was interrupted or by somebody else: "
            "--resume goes on from there",
            WRONG,
        )
    progress = LiveProgress()
    try:
        drive(plan, answer.cluster, progress.tell, args.wait)
    except RolloutStopped as stopped:
        progress.end()
        say(f"Stopped at {stopped}.")
        say("Nothing more was changed. --resume goes on when it holds; the way back:")
        for action in way_back(plan, stopped.number):
            say(f"  {action.command(answer.cluster.context)}")
        return WRONG
    progress.end()
    return OK


def way_back(plan: RolloutPlan, number: int) -> list[Action]:
    """The actions that take back the steps up to one, the last first."""
    return [
        action
        for step in reversed(plan.steps[:number])
        for action in step.back
        if not isinstance(action, ApplyDocuments)
    ]


def printed(plan: RolloutPlan, context: str | None, only: str | None) -> str:
    blocks = []
    for number, step in enumerate(plan.steps, 1):
        title = step.text if len(plan.steps) == 1 else f"{number}/{len(plan.steps)} {step.text}"
        lines = [] if only else [f"# {title}\n"]
        lines += [part for action in step.actions for part in shown(action, context, only)]
        if only is None and len(plan.steps) > 1:
            lines += [f"# wait until {each}\n" for each in step.waits]
        blocks.append("".join(lines))
    return ("\n" if only is None else "").join(blocks)


def shown(action: Action, context: str | None, only: str | None) -> list[str]:
    """The content of an action, and its command."""
    if isinstance(action, ApplyDocuments):
        # A shell needs the documents; they are the content as well.
        text = stream(action.documents)
        if only == "patch":
            return [text]
        return [f"{action.command(context)} <<'END'\n{text}END\n"]
    if isinstance(action, Patch):
        content, command = [content_of(action)], [f"{action.command(context)}\n"]
        return {"patch": content, "command": command}.get(only or "", content + command)
    return [] if only == "patch" else [f"{action.command(context)}\n"]


def content_of(patch: Patch) -> str:
    return json.dumps(patch.content, indent=2, ensure_ascii=False) + "\n"


def write_script(folder: Path, plan: RolloutPlan, namespace: str, context: str | None) -> None:
    """A file for each patch and document, and a script that works from their folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Stop(f"{folder}: cannot be written: {error.strerror or error}") from None
    for name, text in script(plan, namespace, context).items():
        write(folder / name, text)
    say(f"{folder}: {len(plan.steps)} step{'s' if len(plan.steps) != 1 else ''}; sh {folder / SCRIPT}")


def changes(before: ServeSpec, after: ServeSpec) -> dict[str, Any]:
    """The fields of the spec that the plan changes."""
    old, new = (spec.model_dump(mode="json", exclude_none=True) for spec in (before, after))
    changed = {key: new.get(key, REMOVED) for key in {**old, **new} if old.get(key) != new.get(key)}
    plain = after.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    for key in changed.keys() & {"canary", "exposure", "previous"}:
        if key in plain:
            changed[key] = plain[key] | ({"percent": after.canary.percent} if key == "canary" and after.canary else {})
    if "variants" in changed:
        changed["variants"] = plain.get("variants", REMOVED)
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
