"""Free ports for servers that are started for a test or a benchmark."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterator

# Below the ports that Linux gives to outgoing connections: one of those could take a port between its choice and the
# start of the server that it was chosen for.
PORTS = range(12000, 32000)

# Each process begins somewhere else and goes round, so that those that run side by side do not meet.
_start = random.SystemRandom().randrange(len(PORTS))
_order: Iterator[int] = itertools.cycle((*PORTS[_start:], *PORTS[:_start]))


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, and that is not handed out again soon."""
    for port in itertools.islice(_order, len(PORTS)):
        if _is_free(port):
            return port
    raise OSError("no port of 127.0.0.1 is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
