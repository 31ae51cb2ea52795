"""`python -m predictors.healthcheck`: whether the server of this container is ready. For the images' HEALTHCHECK."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

from predictors.pipeline.settings import Settings
from predictors.serving.startup import read_settings

TIMEOUT = 4.0  # seconds
ALL_INTERFACES = ("0.0.0.0", "::")  # noqa: S104 - the server listens there, not we
FIRST_PROCESS = Path("/proc/1/cmdline")


def main() -> None:
    """Ends the process with 0 if the server is ready, else with 1."""
    settings = read_settings(server_arguments(), prog="python -m predictors.healthcheck")
    try:
        problem = problem_of(settings)
    except OSError as error:
        problem = str(error)
    if problem:
        raise SystemExit(f"not ready: {problem}")


def server_arguments() -> list[str]:
    """The flags of the container's first process, the server; its environment is the same as ours."""
    try:
        words = FIRST_PROCESS.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []
    start = next((index for index, word in enumerate(words) if word.startswith("predictors.")), len(words))
    return words[start + 1 :]


def problem_of(settings: Settings) -> str | None:
    """Why the server is not ready; None if it is."""
    host = "localhost" if settings.host in ALL_INTERFACES else settings.host
    if settings.ssl_ca_certs:  # the server answers only clients with a certificate
        socket.create_connection((host, settings.http_port), TIMEOUT).close()
        return None
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=TIMEOUT)
    if settings.ssl_certfile:
        # The connection does not leave this container, so there is no identity to verify.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(host, settings.http_port, timeout=TIMEOUT, context=context)
    connection.request("GET", "/v2/health/ready")
    status = connection.getresponse().status
    return None if status == http.client.OK else f"status {status}"


if __name__ == "__main__":
    main()
