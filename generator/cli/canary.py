"""Part of the traffic goes to another model: prints the patches, and the kubectl lines that apply them."""

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
    canary = parser.add_argument_group("The canary", "What is not said stays as in the spec's canary, if it has one.")
    canary.add_argument("--model", metavar="URI", help="the model that gets part of the traffic")
    canary.add_argument("--percent", metavar="N", help="how much of it")
    canary.add_argument(
        "--name", metavar="NAME", help="name of its predictor (Standard); from the version when left out"
    )
    canary.add_argument("--flavor", metavar="FLAVOR", help="do not look at the model, serve it with this flavor")
    canary.add_argument("--image", metavar="IMAGE", help="image of its predictor")
    canary.add_argument("--replicas", metavar="N", help="its pods (Standard); its share of replicas.min when left out")


def run(args: argparse.Namespace) -> int:
    request = step_request(args, "canary")
    wanted = wanted_by(args, request.spec.canary)

    def plan_step() -> Step:
        facts = request.known_of(request.spec.model_copy(update={"canary": wanted}))
        step = rollout.canary(request.spec, wanted, facts, args.type)
        if not step.patches:
            raise Stop(f"{args.file}: says so already: {step.note}")
        return step

    return finish(args, request, plan_step)


def wanted_by(args: argparse.Namespace, before: Canary | None) -> Canary:
    """What the flags say over what the spec's canary says; another model begins anew."""
    said = {name: value for name in FIELDS if (value := getattr(args, name)) is not None}
    if before and said.get("model", before.model) == before.model:
        said = before.model_dump(exclude_none=True) | said
    missing = [f"--{name}" for name in ("model", "percent") if name not in said]
    if missing:
        raise Stop(f"python -m generator canary: expected {' and '.join(missing)}")
    try:
        return Canary.model_validate(said)
    except ValidationError as error:
        problems = problems_of(error, said)
        raise Stop("\n".join(f"--{problem.path[0]}: {problem.message}" for problem in problems)) from None
