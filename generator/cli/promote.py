"""Makes the canary the stable model, with all of the traffic: prints the steps, writes a script, or does them."""

from __future__ import annotations

import argparse

from generator.cli.steps import add_force, add_step_arguments, finish, step_request
from generator.rollout import planner
from generator.rollout.observed import ObservedServe
from generator.rollout.steps import RolloutPlan
from generator.spec import ServeSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)
    add_force(parser)
    parser.add_argument("--name", metavar="NAME", help="name of the canary, if there are several")


def run(args: argparse.Namespace) -> int:
    request = step_request(args, "promote")

    def plan(spec: ServeSpec, observed: ObservedServe | None) -> RolloutPlan:
        return planner.promote(spec, request.facts, args.type, observed, args.force, args.name)

    return finish(args, request, plan, request.spec)
