"""File descriptors: every connection takes one, and when none is left, new connections are closed unanswered."""

from __future__ import annotations

import errno
import logging
import os
import resource

from predictors.runtime.log_throttle import LogThrottle

log = logging.getLogger("predictors")

MAX_WANTED = 65_536  # more is of no use to one process


def raise_limit() -> None:
    """Allows as many as the system lets this process have: shells and service managers give 1024 at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_WANTED if hard == resource.RLIM_INFINITY else min(hard, MAX_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class DescriptorWatch:
    """Looks whether there is one left, and says so if not."""

    def __init__(self) -> None:
        self.refused = LogThrottle()

    def check(self) -> None:
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self.refused.due():
                self.report(error.errno)

    def report(self, code: int) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        whose = f"this process may open {limit} files" if code == errno.EMFILE else "the system's limit is reached"
        log.error(
            "no file descriptors are left (%s): new connections are closed unanswered until others end; "
            "raise the limit (ulimit -n, LimitNOFILE=), use more workers, or limit connections in front of the server",
            whose,
        )
