"""Makes the canary the stable model, with all of the traffic: prints the patches and the kubectl commands."""

from __future__ import annotations

import argparse

from generator import rollout
from generator.cli.steps import add_step_arguments, finish, step_request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_step_arguments(parser)


def run(args: argparse.Namespace) -> int:
    request = step_request(args, "promote")
    return finish(args, request, lambda: rollout.promote(request.spec, request.facts, args.type))
