"""Takes all traffic from the canary, which stays: prints the steps, writes a script, or carries them out."""

from __future__ import annotations

import argparse

from generator.cli.steps import add_step_arguments, finish, step_request
from generator.rollout import planner
from generator.rollout.observed import ObservedServe
from generator.rollout.steps import RolloutPlan
from generator.spec import ServeSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)
    parser.add_argument("--name", metavar="NAME", help="name of the canary, if only one of several shall get none")


def run(args: argparse.Namespace) -> int:
    request = step_request(args, "rollback")

    def plan(spec: ServeSpec, observed: ObservedServe | None) -> RolloutPlan:
        return planner.rollback(spec, request.facts, args.type, observed, args.name)

    return finish(args, request, plan, request.spec)
