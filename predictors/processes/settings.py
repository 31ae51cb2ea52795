"""Where the server listens, how many processes it has, and how they end."""

from __future__ import annotations

from dataclasses import dataclass

from predictors.settings.declare import SettingError, setting
from predictors.settings.values import between, choice, port, seconds, size, truth


@dataclass(frozen=True)
class ServerSettings:
    host: str = setting("0.0.0.0", "address to listen on")  # noqa: S104 - a container is reached from outside
    http_port: int = setting(8080, "HTTP port; 0 picks a free one", port, flags=("--port",))
    grpc_port: int = setting(8081, "gRPC port; 0 picks a free one", port)
    enable_grpc: bool = setting(True, "serve gRPC", truth)
    grpc_server: str = setting(
        "own",
        "gRPC server: the fast one of this project, or grpcio's, which is slower and more widely tested",
        choice("own", "grpcio"),
    )
    workers: int = setting(1, "number of server processes", between(1, 256))
    max_threads: int = setting(
        0, "threads that run predictions in each process", between(0), shown="the number of CPUs, at least 4"
    )
    max_body: int = setting(64 * 1024**2, "maximum size of a request body", size, shown="64MiB")
    keep_alive: int = setting(
        65, "seconds for which an idle connection is kept open", between(1), flags=("--timeout-keep-alive",)
    )
    drain_delay: float | None = setting(
        None,
        "seconds for which the server still accepts connections after SIGTERM, though it reports itself unready",
        seconds,
        shown="10 in a Kubernetes pod, else 0",
    )
    grace_period: int = setting(30, "seconds for requests in flight to finish after that", between(0))
    worker_timeout: float = setting(
        60.0, "seconds without a heartbeat after which one of several workers is replaced; 0 for never", seconds
    )


def check(settings: ServerSettings) -> None:
    if settings.enable_grpc and settings.grpc_port == settings.http_port != 0:
        raise SettingError(f"--grpc-port and --http-port are both {settings.http_port}: expected different ports")
