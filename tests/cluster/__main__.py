"""A real Kubernetes with KServe on this machine: `make cluster`, `make cluster-down`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.parts import envoy, images, kinds, programs, sandbox
from tests.cluster.parts.gateway import MOUNTED
from tests.cluster.parts.inside import started
from tests.cluster.parts.places import KUBECONFIG, PROGRAMS, ROOT, STATE
from tests.cluster.parts.table import DEBIAN, PARTS, USUAL, with_needs

IMAGES = ("sklearn", "storage")


class PrerequisiteMissing(Exception):
    """The machine lacks what the cluster needs."""


def check(parts: Sequence[str]) -> None:
    """Says at once all that is missing."""
    lacking = []
    if os.geteuid():
        lacking.append("root: the cluster makes namespaces and mounts")
    if (go := programs.go_version()) < programs.OLDEST_GO:
        there = f"Go {'.'.join(map(str, go))}" if go else "none"
        lacking.append(
            f"Go {'.'.join(map(str, programs.OLDEST_GO))} or newer, on the path or in /usr/local/go/bin: there is {there}"
        )
    for name in ("unshare", "nsenter", "ip"):
        if not shutil.which(name):
            lacking.append(f"{name}: apt-get install util-linux iproute2")
    if "node" in parts:
        packages = [package for name, package in DEBIAN.items() if not (shutil.which(name) or Path(name).is_file())]
        if packages:
            lacking.append(f"programs that pods need: apt-get install {' '.join(packages)}")
    if not lacking and (refused := sandbox.refusal()):
        lacking.append(f"namespaces for network, mounts and processes, which the kernel refuses: {refused}")
    if lacking:
        raise PrerequisiteMissing(
            "\n".join(["the cluster cannot run here. Missing:", *(f"  - {one}" for one in lacking)])
        )


def modules_of(parts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(module for part in parts for module in PARTS[part].modules))


def build(parts: Sequence[str]) -> None:
    modules = programs.unbuilt(modules_of(parts))
    if modules:
        minutes = sum(programs.MINUTES.get(one, 0) for one in modules)
        say(f"building {', '.join(modules)} from Go modules into .cache/: about {minutes:.0f} min on two cores")
    programs.build(modules, say)
    if "gateway" in parts:
        envoy.install()
    if "node" in parts:
        images.build(IMAGES, say)
    if not kinds.saved(parts).exists() and sandbox.init() is None:
        say("saving what the API server knows from the start")
        begin()
        command = sandbox.entering(sys.executable, "-m", "tests.cluster.parts.kinds", *parts)
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise programs.BuildFailed(done.stderr[-2000:])
        kinds.keep(parts)
        down()


def begin() -> None:
    """Makes the namespaces, with nothing in them."""
    shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir(parents=True)
    sandbox.create()


def up(names: Sequence[str], with_build: bool = True) -> None:
    parts = with_needs(names or USUAL)
    check(parts)
    if with_build:
        build(parts)
    began = time.monotonic()
    if sandbox.init() is None:
        begin()
        if kinds.saved(parts).exists():
            kinds.begin_with(parts)
    command = sandbox.entering(sys.executable, "-m", "tests.cluster.parts.inside", *parts)
    if subprocess.run(command).returncode:
        raise SystemExit(1)
    if "node" in parts:
        images.hand_over(IMAGES, say)
    say(f"up after {time.monotonic() - began:.0f} s: {', '.join(started())}")
    tell()


def tell() -> None:
    print(f"export KUBECONFIG={KUBECONFIG} PATH={PROGRAMS / 'kubernetes'}:$PATH")
    if "gateway" in started():
        print(f"gateway   http://{sandbox.address('gateway')}   (with the serve's host in the header Host)")
    if "mlflow" in started():
        print(f"MLflow    http://{sandbox.address('mlflow')}   (in pods: http://mlflow.mlflow.svc:5000)")


def down() -> None:
    sandbox.destroy()
    shutil.rmtree(STATE, ignore_errors=True)
    KUBECONFIG.unlink(missing_ok=True)
    if MOUNTED.is_dir() and not any(MOUNTED.iterdir()):
        MOUNTED.rmdir()


def say(text: str) -> None:
    print(text, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("check", "say what is missing here"),
        ("build", "build what parts need"),
        ("up", "build and start parts, and leave them running"),
    ):
        made = commands.add_parser(name, help=text)
        made.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}, with what they need [{', '.join(USUAL)}]")
    commands.choices["up"].add_argument("--no-build", action="store_true", help="start what was built before")
    commands.add_parser("status", help="say what runs, and where")
    commands.add_parser("down", help="end the cluster; what was built stays")
    inside = commands.add_parser("inside", help="run a command in the cluster's namespaces")
    inside.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    os.chdir(ROOT)
    if options.command == "up":
        up(options.parts, not options.no_build)
    elif options.command in ("check", "build"):
        parts = with_needs(options.parts or USUAL)
        check(parts)
        if options.command == "build":
            build(parts)
    elif options.command == "status":
        sandbox.entering()
        tell()
    elif options.command == "down":
        down()
    else:
        command = sandbox.entering(*options.words)
        os.execvp(command[0], command)


if __name__ == "__main__":
    try:
        main()
    except (PrerequisiteMissing, programs.BuildFailed, sandbox.SandboxError, ValueError) as error:
        raise SystemExit(f"cluster: {error}") from None
