"""Points at which the process can be ended, so that tests see what a crash leaves behind."""

from __future__ import annotations

import os
import signal
from typing import Literal

VARIABLE = "MLFLOW_KSERVE_FAILPOINT"
Failpoint = Literal[
    "before_commit",
    "after_commit",
    "before_apply",
    "before_spawn",
    "after_spawn",
    "after_record",
    "before_promote",
    "after_route",
    "before_note",
    "after_note",
    "before_remove",
    "after_remove",
]


def failpoint(name: Failpoint) -> None:
    """Ends the process without any clean-up if the environment names this point."""
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
