"""Starts parts, each as soon as those that it needs run; runs inside the sandbox: `python -m tests.cluster.parts.inside PART…`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from tests.cluster.parts.api import apply
from tests.cluster.parts.kinds import are_there
from tests.cluster.parts.places import STATE
from tests.cluster.parts.processes import PartFailed
from tests.cluster.parts.table import PARTS

STARTED = STATE / "started"


def started() -> list[str]:
    return STARTED.read_text().split() if STARTED.exists() else []


def start(name: str, needs: Mapping[str, Future[None]]) -> None:
    part = PARTS[name]
    part.prepare()
    for need in part.needs:
        if need in needs:
            needs[need].result()
    began = time.monotonic()
    if not are_there(name):
        apply(part.kinds())
    part.start()
    with STARTED.open("a") as file:
        file.write(f"{name}\n")
    print(f"  {name:12} {time.monotonic() - began:5.1f} s", flush=True)


def main(names: list[str]) -> int:
    missing = [name for name in names if name not in started()]
    starting: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(len(PARTS)) as threads:
        for name in missing:
            starting[name] = threads.submit(start, name, starting)
    failures = {str(error): name for name, one in reversed(starting.items()) if (error := failure(one))}
    for text, name in failures.items():  # whatever needs a part that failed, failed for the same reason
        print(f"{name}: {text}", file=sys.stderr)
    return 1 if failures else 0


def failure(ended: Future[None]) -> PartFailed | None:
    try:
        ended.result()
    except PartFailed as error:
        return error
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
