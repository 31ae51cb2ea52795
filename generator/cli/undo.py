"""Ends a rollout with the model before it: the canary goes, or the last promotion is taken back."""

from __future__ import annotations

import argparse

from generator.cli.steps import add_step_arguments, finish, step_request
from generator.rollout import planner
from generator.rollout.observed import ObservedServe
from generator.rollout.specs import undone
from generator.rollout.steps import RolloutPlan
from generator.spec import ServeSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)


def run(args: argparse.Namespace) -> int:
    request = step_request(args, "undo")

    def plan(spec: ServeSpec, observed: ObservedServe | None) -> RolloutPlan:
        facts = request.facts if spec.previous is None else request.facts | request.known_of(undone(spec))
        return planner.undo(spec, facts, args.type, observed)

    return finish(args, request, plan, request.spec)
