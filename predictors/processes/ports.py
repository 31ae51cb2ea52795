"""The ports, bound before anything else is done: one that cannot be bound ends the start."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from predictors.processes.handover import receive_handover
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
        for listening in (self.http, self.grpc):
            if listening is not None:
                listening.close()


def bound(host: str, port: int, flag: str, *, listens: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        if listens:
            listening.listen(2048)
    except OSError as error:
        listening.close()
        raise StartError(f"{flag} {port} on {host}: {error.strerror}") from error
    listening.set_inheritable(True)
    return listening


def reserved(host: str, port: int, flag: str) -> socket.socket:
    """A socket that keeps a port, for servers that bind it themselves, each process once."""
    free = bound(host, port, flag, listens=False)
    number = free.getsockname()[1]
    reserving = socket.socket(free.family, socket.SOCK_STREAM)
    free.close()
    reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        reserving.bind((host, number))
    except OSError as error:
        reserving.close()
        raise StartError(f"{flag} {port} on {host}: {error.strerror}") from error
    reserving.set_inheritable(True)
    return reserving


def bound_ports(settings: ServerSettings) -> Ports:
    """The sockets that all workers share; with a launcher, the ones that it hands over."""
    handover = receive_handover()
    if handover is not None:
        http, *grpc = handover.sockets
        return Ports(http, grpc[0] if grpc else None)
    http = bound(settings.host, settings.http_port, "--http-port")
    if not settings.enable_grpc:
        return Ports(http, None)
    try:
        bind = reserved if settings.grpc_server == "grpcio" else bound
        return Ports(http, bind(settings.host, settings.grpc_port, "--grpc-port"))
    except StartError:
        http.close()
        raise
