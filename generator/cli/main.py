"""`python -m generator`: which command, and how it ends."""

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
    "validate": "everything that is wrong with spec files, with lines",
    "explain": "every value, and why it is what it is",
    "diff": "what would change, in words",
    "canary": "part of the traffic for another model, as a patch",
    "promote": "all of the traffic for the canary, as a patch",
    "rollback": "none of the traffic for the canary, as a patch",
    "init": "a commented spec file for a model",
    "platform": "what a platform team applies once: runtimes, storage container, cache",
    "schema": "the JSON Schema of spec files, for editors",
}


class CommandParser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise Stop(f"{self.prog}: {message}\nTry {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the status tells how it went."""
    given = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # the same bytes in every locale
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        status = run(given)
        sys.stdout.flush()
        return status
    except Stop as stop:
        say(str(stop))
        return stop.status
    except SpecError as error:
        return say_problems(error.problems)
    except BrokenPipeError:
        forget_stdout()  # whoever reads has seen enough
        return OK
    except OSError as error:
        forget_stdout()
        what = f"{error.filename}: cannot be used" if error.filename else "stdout: cannot be written"
        say(f"{what}: {error.strerror or error}")
        return USAGE
    except KeyboardInterrupt:
        return 130


def forget_stdout() -> None:
    """Leaves nothing to be flushed into nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(argv: list[str]) -> int:
    first = argv[0] if argv else "--help"
    if first in ("--help", "-h"):
        print(overview())
        return OK if argv else USAGE
    if first == "--version":
        print(f"mlflow-kserve {release()}")
        return OK
    if first.startswith("-"):  # flags alone make a serve
        first, argv = "render", ["render", *argv]
    if first not in COMMANDS:
        close = difflib.get_close_matches(first, COMMANDS, n=1)
        guess = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}"
        raise Stop(f"{PROG}: there is no command {first!r}: {guess}")
    command = import_module(f"generator.cli.{first}")
    parser = CommandParser(
        prog=f"{PROG} {first}",
        description=(command.__doc__ or "").strip(),
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=110),
    )
    command.add_arguments(parser)
    status: int = command.run(parser.parse_args(argv[1:]))
    return status


def overview() -> str:
    listed = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    return f"""From a model to everything that KServe needs to serve it.

  {PROG} --model models:/fraud@champion --name fraud --namespace ml | kubectl apply -f -
  {PROG} render serve.yaml --env prod -o manifests/

Commands ({PROG} COMMAND --help tells more):
{listed}

Ends with 0, or 1 for problems in the spec (diff: for differences), {USAGE} for flags and files that cannot be used,
{UNREACHABLE} for a model that cannot be read."""


def release() -> str:
    try:
        return version("mlflow-kserve")
    except PackageNotFoundError:
        return "from source"
