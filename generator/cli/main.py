"""`python -m generator`: runs a command, and returns its exit code."""

from __future__ import annotations

import argparse
import difflib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from generator.cli.console import OK, UNREACHABLE, USAGE, Stop, say, say_problems
from generator.problems import SpecError

PROG = "python -m generator"
COMMANDS = {
    "render": "the manifests of a serve, from a spec file or from flags alone",
    "validate": "all problems of spec files, with lines",
    "explain": "every value, with its source and the reason",
    "diff": "the changes between specs or manifests",
    "canary": "sends part of the traffic to another model, step by step",
    "promote": "makes the canary the stable model",
    "rollback": "takes all traffic from the canary",
    "undo": "ends a rollout with the model before it",
    "init": "a commented spec file for a model",
    "platform": "resources that a platform team applies once: runtimes, storage container, cache",
    "schema": "the JSON Schema of spec files, for editors",
}


class CommandParser(argparse.ArgumentParser):
    """Reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        raise Stop(f"{self.prog}: {message}\nTry {self.prog} --help.")


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs a command, and returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # the same bytes in every locale
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        status = run(arguments, prog)
        sys.stdout.flush()
        return status
    except Stop as stop:
        say(str(stop))
        return stop.status
    except SpecError as error:
        return say_problems(error.problems)
    except BrokenPipeError:
        forget_stdout()  # the reader has closed the pipe
        return OK
    except OSError as error:
        forget_stdout()
        what = f"{error.filename}: cannot be used" if error.filename else "stdout: cannot be written"
        say(f"{what}: {error.strerror or error}")
        return USAGE
    except KeyboardInterrupt:
        return 130


def forget_stdout() -> None:
    """Redirects stdout to /dev/null, so that nothing fails when it is flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(argv: list[str], prog: str) -> int:
    first = argv[0] if argv else "--help"
    if first in ("--help", "-h"):
        print(overview(prog))
        return OK if argv else USAGE
    if first == "--version":
        print(f"mlflow-kserve {release()}")
        return OK
    if first.startswith("-"):  # flags alone describe a serve
        first, argv = "render", ["render", *argv]
    if first not in COMMANDS:
        close = difflib.get_close_matches(first, COMMANDS, n=1)
        guess = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}"
        raise Stop(f"{prog}: there is no command {first!r}: {guess}")
    command = import_module(f"generator.cli.{first}")
    parser = CommandParser(
        prog=f"{prog} {first}",
        description=(command.__doc__ or "").strip(),
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=110),
    )
    command.add_arguments(parser)
    status: int = command.run(parser.parse_args(argv[1:]))
    return status


def overview(prog: str) -> str:
    listed = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    return f"""Renders everything that KServe needs to serve a model.

  {prog} --model models:/fraud@champion --name fraud --namespace ml | kubectl apply -f -
  {prog} render serve.yaml --env prod -o manifests/

Commands ({prog} COMMAND --help for details):
{listed}

Exit codes: 0, or 1 for problems in the spec (diff: for differences), {USAGE} for unusable flags or files, and
{UNREACHABLE} for a model that cannot be looked up."""


def release() -> str:
    try:
        return version("mlflow-kserve")
    except PackageNotFoundError:
        return "from source"
