"""What the API server knows from the start.

Each CRD that it learns costs it half a second of a core, those that etcd has cost next to nothing. So etcd begins with a copy
of what it had when the CRDs of the same parts were applied once: `python -m tests.cluster.parts.kinds PART…`, inside.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.parts.api import apply
from tests.cluster.parts.control_plane import ETCD, etcd, kubernetes
from tests.cluster.parts.places import KINDS, STATE
from tests.cluster.parts.processes import stop
from tests.cluster.parts.programs import fingerprint
from tests.cluster.parts.table import PARTS

KNOWN = STATE / "known"
"""Names the parts whose kinds etcd began with."""


def saved(parts: Sequence[str]) -> Path:
    """Where the kinds of parts are kept, as these versions and this code have them."""
    modules = sorted({module for part in parts for module in PARTS[part].modules})
    code = (Path(file).read_bytes() for file in sorted({inspect.getfile(PARTS[part].kinds) for part in parts}))
    made_of = [*(fingerprint(one).encode() for one in modules), *code, " ".join(parts).encode()]
    return KINDS / hashlib.sha256(b"".join(made_of)).hexdigest()[:16]


def begin_with(parts: Sequence[str]) -> None:
    """Gives etcd, which has not started yet, the kinds of parts."""
    shutil.copytree(saved(parts), ETCD)
    KNOWN.write_text(" ".join(parts))


def keep(parts: Sequence[str]) -> None:
    """Keeps what etcd, which has ended, has."""
    shutil.rmtree(KINDS, ignore_errors=True)
    KINDS.mkdir()
    shutil.move(ETCD, saved(parts))


def are_there(part: str) -> bool:
    return KNOWN.exists() and part in KNOWN.read_text().split()


def main(parts: Sequence[str]) -> None:
    etcd()
    kubernetes()
    by_name = {one["metadata"]["name"]: one for part in parts for one in PARTS[part].kinds()}
    apply(by_name.values())  # of two parts with a kind of the same name, the later one's counts
    stop("kube-apiserver")
    stop("etcd")


if __name__ == "__main__":
    main(sys.argv[1:])
