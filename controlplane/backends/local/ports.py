"""Ports of this machine: those of a serve are kept, those of its processes are whatever is free."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.backends.backend import BackendAway

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class PortRange:
    """The ports that the back end may use; the default lies below those that systems give to outgoing connections."""

    first: int = 20000
    last: int = 29999

    def free(self, count: int, used_ports: Iterable[int]) -> list[int]:
        """The first free ports that are not among the taken ones."""
        used = set(used_ports)
        ports = []
        for port in range(self.first, self.last + 1):
            if port not in used and is_free(port):
                ports.append(port)
                if len(ports) == count:
                    return ports
        raise BackendAway(
            f"no {count} ports are free between {self.first} and {self.last}: give others (--serve-ports)"
        )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
