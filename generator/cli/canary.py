"""Sends part of the traffic to another model: prints the steps, writes them as a script, or carries them out."""

from __future__ import annotations

import argparse

from pydantic import ValidationError

from generator.canary_serve import NEXT
from generator.cli.console import Stop
from generator.cli.steps import add_force, add_step_arguments, finish, step_request
from generator.rollout import planner
from generator.rollout.observed import ObservedServe
from generator.rollout.specs import called, with_canary
from generator.rollout.steps import RolloutPlan
from generator.spec import Canary, ServeSpec
from generator.specfile.messages import problems_of

FIELDS = ("model", "percent", "by", "name", "flavor", "image", "replicas")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)
    add_force(parser)
    canary = parser.add_argument_group("The canary", "Defaults are those of the spec's canary, if it has one.")
    canary.add_argument("--model", metavar="URI", help="URI of the model that gets part of the traffic")
    canary.add_argument("--percent", metavar="N", help="percent of the traffic that it gets")
    canary.add_argument("--shadow", metavar="N", help="percent of the requests that are copied to it")
    canary.add_argument("--testers", metavar="HEADER=VALUE", help="header of requests that go to it in any case")
    canary.add_argument("--by", metavar="WAY", help="route or kserve: what splits the traffic (Standard) [route]")
    canary.add_argument(
        "--name", metavar="NAME", help="what is appended to the serve's name (Standard) [next]; with others, a variant"
    )
    canary.add_argument("--flavor", metavar="FLAVOR", help="flavor of the model, which is then not looked up")
    canary.add_argument("--image", metavar="IMAGE", help="image of its predictor")
    canary.add_argument(
        "--replicas", metavar="N", help="number of its pods (Standard) [default: its share of those that run]"
    )


def run(args: argparse.Namespace) -> int:
    request = step_request(args, "canary")
    target = canary_from(args, request.spec)

    def plan(spec: ServeSpec, observed: ObservedServe | None) -> RolloutPlan:
        facts = request.known_of(with_canary(spec, target))
        plan = planner.canary(spec, target, facts, args.type, observed, args.force)
        if observed is None and target in spec.canaries:
            raise Stop(f"{args.file}: nothing to change: {plan.note}")
        return plan

    return finish(args, request, plan, with_canary(request.spec, target))


def canary_from(args: argparse.Namespace, spec: ServeSpec) -> Canary:
    """The canary from the flags and the spec's canary of that name, which counts only for the same model."""
    fields = {name: value for name in FIELDS if (value := getattr(args, name)) is not None}
    if args.shadow is not None:
        fields["shadow"] = {"percent": args.shadow}
    if args.testers is not None:
        header, _, value = args.testers.partition("=")
        fields["testers"] = {"header": header, **({"value": value} if value else {})}
    known = {called(each): each for each in spec.canaries}
    before = known.get(args.name or NEXT, spec.canary if args.name is None and not spec.variants else None)
    if before and fields.get("model", before.model) == before.model:
        fields = before.model_dump(exclude_none=True, exclude_unset=True) | fields
    gets_requests = fields.keys() & {"percent", "shadow", "testers"}
    missing = [
        f"--{name}" for name in ("model", "percent") if name not in fields and not (name != "model" and gets_requests)
    ]
    if missing:
        raise Stop(f"python -m generator canary: expected {' and '.join(missing)}")
    try:
        return Canary.model_validate(fields)
    except ValidationError as error:
        problems = problems_of(error, fields)
        raise Stop("\n".join(f"--{problem.path[0]}: {problem.message}" for problem in problems)) from None
