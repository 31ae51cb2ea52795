"""Memory that is free goes back to the system, instead of waiting in the C library for what may come."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MAX_KEPT = 4 * 1024**2  # bytes of a free block, or at the end of what a thread has


def give_back_large_blocks() -> None:
    """Of its own accord, glibc keeps the more the larger the blocks were: up to 64 MiB in each thread."""
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(M_MMAP_THRESHOLD, MAX_KEPT)
        option(M_TRIM_THRESHOLD, MAX_KEPT)
