"""Sends part of the traffic to another model: prints the patches, and the kubectl commands that apply them."""

from __future__ import annotations

import argparse

from pydantic import ValidationError

from generator import rollout
from generator.cli.console import Stop
from generator.cli.steps import add_step_arguments, finish, step_request
from generator.rollout import Step
from generator.spec import Canary
from generator.specfile.messages import problems_of

FIELDS = ("model", "percent", "name", "flavor", "image", "replicas")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)
    canary = parser.add_argument_group("The canary", "Defaults are those of the spec's canary, if it has one.")
    canary.add_argument("--model", metavar="URI", help="URI of the model that gets part of the traffic")
    canary.add_argument("--percent", metavar="N", help="percent of the traffic that it gets")
    canary.add_argument("--name", metavar="NAME", help="name of its predictor (Standard) [default: from the version]")
    canary.add_argument("--flavor", metavar="FLAVOR", help="flavor of the model, which is then not looked up")
    canary.add_argument("--image", metavar="IMAGE", help="image of its predictor")
    canary.add_argument(
        "--replicas", metavar="N", help="number of its pods (Standard) [default: its share of replicas.min]"
    )


def run(args: argparse.Namespace) -> int:
    request = step_request(args, "canary")
    target = canary_from(args, request.spec.canary)

    def plan_step() -> Step:
        facts = request.known_of(request.spec.model_copy(update={"canary": target}))
        step = rollout.canary(request.spec, target, facts, args.type)
        if not step.patches:
            raise Stop(f"{args.file}: nothing to change: {step.note}")
        return step

    return finish(args, request, plan_step)


def canary_from(args: argparse.Namespace, before: Canary | None) -> Canary:
    """The canary from the flags and the spec's canary, which counts only for the same model."""
    fields = {name: value for name in FIELDS if (value := getattr(args, name)) is not None}
    if before and fields.get("model", before.model) == before.model:
        fields = before.model_dump(exclude_none=True) | fields
    missing = [f"--{name}" for name in ("model", "percent") if name not in fields]
    if missing:
        raise Stop(f"python -m generator canary: expected {' and '.join(missing)}")
    try:
        return Canary.model_validate(fields)
    except ValidationError as error:
        problems = problems_of(error, fields)
        raise Stop("\n".join(f"--{problem.path[0]}: {problem.message}" for problem in problems)) from None
