"""Starts parts one after the other; runs inside the sandbox: `python -m tests.cluster.parts.inside PART…`."""

from __future__ import annotations

import sys
import time

from tests.cluster.parts.places import STATE
from tests.cluster.parts.processes import PartFailed
from tests.cluster.parts.table import PARTS

STARTED = STATE / "started"


def started() -> list[str]:
    return STARTED.read_text().split() if STARTED.exists() else []


def main(names: list[str]) -> int:
    for name in names:
        if name in started():
            continue
        began = time.monotonic()
        try:
            PARTS[name].start()
        except PartFailed as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        with STARTED.open("a") as file:
            file.write(f"{name}\n")
        print(f"  {name:12} {time.monotonic() - began:5.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
