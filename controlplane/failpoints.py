"""Points at which the process can be ended, so that tests see what a crash leaves behind."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Literal, get_args

VARIABLE = "MLFLOW_KSERVE_FAILPOINT"
"""A name, and which time it is reached: `after_spawn:2`."""
Failpoint = Literal[
    "before_commit",
    "after_commit",
    "before_apply",
    "before_spawn",
    "after_spawn",
    "after_record",
    "after_first_object",
    "after_last_object",
    "before_split",
    "after_route",
    "before_plan_action",
    "after_plan_action",
    "before_step",
    "after_step",
    "before_note",
    "after_note",
    "before_discard",
    "after_discard",
    "after_send",
]
FAILPOINTS: tuple[Failpoint, ...] = get_args(Failpoint)

reached: Counter[str] = Counter()


def failpoint(name: Failpoint) -> None:
    """Ends the process if the environment names this point."""
    wanted, _, time = os.environ.get(VARIABLE, "").partition(":")
    if wanted == name:
        reached[name] += 1
        if reached[name] == int(time or 1):
            os.kill(os.getpid(), signal.SIGKILL)
