"""A small HTTP client for readiness, checks and warm-up."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from loadtest.peers.payloads import PeerPayload
from loadtest.peers.process import BenchmarkFailed


def status(port: int, path: str) -> int | None:
    """The status of a GET, or None while nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class PeerClient:
    """One kept-alive connection that posts a payload."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, payload: PeerPayload) -> tuple[bytes, Mapping[str, str]]:
        self._connection.request("POST", payload.path, payload.body, payload.headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise BenchmarkFailed(f"{payload.path} answered {response.status}: {body[:500].decode(errors='replace')}")
        return body, {name.lower(): value for name, value in response.getheaders()}

    def close(self) -> None:
        self._connection.close()
