"""How many CPUs this process may use: libraries do not see the limit of a container."""

from __future__ import annotations

import os
from functools import cache
from math import ceil
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip


@cache
def cpu_limit() -> int:
    """The smaller of the CPU affinity and the quota of the control group; at least 1."""
    quota = quota_of(CGROUP)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed if quota is None else min(allowed, ceil(quota)))


def quota_of(folder: Path) -> float | None:
    """CPUs that a control group grants; None if it sets no limit."""
    try:  # version 2
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else float(quota) / float(period)
    except (OSError, ValueError):
        pass
    try:  # version 1
        quota = (folder / "cpu/cpu.cfs_quota_us").read_text()
        period = (folder / "cpu/cpu.cfs_period_us").read_text()
        return None if float(quota) <= 0 else float(quota) / float(period)
    except (OSError, ValueError):
        return None


def limit_threads(workers: int) -> None:
    """Limits the threads of numeric libraries; call it before they are imported."""
    share = max(1, cpu_limit() // workers)
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(share))
