"""The ports, taken before anything else is done: what cannot be listened on ends the start."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from predictors.processes.handover import launched
from predictors.processes.settings import ServerSettings


class StartError(Exception):
    """The server cannot start; the message is one line for the operator."""


@dataclass(frozen=True)
class Ports:
    http: socket.socket
    grpc: socket.socket | None

    @property
    def http_port(self) -> int:
        return int(self.http.getsockname()[1])

    @property
    def grpc_port(self) -> int:
        """0 where there is no gRPC."""
        return int(self.grpc.getsockname()[1]) if self.grpc else 0

    def close(self) -> None:
        for one in (self.http, self.grpc):
            if one is not None:
                one.close()


def bound(host: str, port: int, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(2048)
    except OSError as error:
        made.close()
        raise StartError(f"{flag} {port} on {host}: {error.strerror}") from error
    made.set_inheritable(True)
    return made


def bound_ports(settings: ServerSettings) -> Ports:
    """The sockets of all workers, which share them; a launcher's where there is one."""
    given = launched()
    if given is not None:
        http, *grpc = given.sockets
        return Ports(http, grpc[0] if grpc else None)
    http = bound(settings.host, settings.http_port, "--http-port")
    if not settings.enable_grpc:
        return Ports(http, None)
    try:
        return Ports(http, bound(settings.host, settings.grpc_port, "--grpc-port"))
    except StartError:
        http.close()
        raise
