"""`python -m predictors.healthcheck`: whether the server of this container is ready. For the images' HEALTHCHECK."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

from predictors.pipeline.settings import Settings
from predictors.serving.startup import read_settings

SECONDS = 4.0
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what the server listens on
FIRST_PROCESS = Path("/proc/1/cmdline")


def main() -> None:
    """Ends the process with 0 if the server is ready, else with 1."""
    settings = read_settings(server_arguments(), prog="python -m predictors.healthcheck")
    try:
        problem = asked(settings)
    except OSError as error:
        problem = str(error)
    if problem:
        raise SystemExit(f"not ready: {problem}")


def server_arguments() -> list[str]:
    """The flags that the container's first process was started with; the environment is ours, too."""
    try:
        words = FIRST_PROCESS.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []
    start = next((index for index, word in enumerate(words) if word.startswith("predictors.")), len(words))
    return words[start + 1 :]


def asked(settings: Settings) -> str | None:
    """What is wrong, if anything is."""
    host = "localhost" if settings.host in EVERYWHERE else settings.host
    if settings.ssl_ca_certs:  # it answers those alone who show a certificate
        socket.create_connection((host, settings.http_port), SECONDS).close()
        return None
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=SECONDS)
    if settings.ssl_certfile:
        # It is this very container: there is nobody to be mistaken for.
        trusting = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(host, settings.http_port, timeout=SECONDS, context=trusting)
    connection.request("GET", "/v2/health/ready")
    status = connection.getresponse().status
    return None if status == http.client.OK else f"status {status}"


if __name__ == "__main__":
    main()
