"""The server under test: whether it is ready, and requests that it accepts."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtest.payloads import GRPC_METHOD, NoSample, Payload, Payloads, Vary

TIMEOUT_SECONDS = 10.0
GRPC_PORT = 8081


class UnusableTarget(Exception):
    """A reason why the test cannot run, in one line."""


@dataclass(frozen=True, slots=True)
class Target:
    """The server's addresses, and what every request to it carries."""

    url: str
    grpc: str = ""
    """host:port; if empty, port 8081 of the URL's host."""
    headers: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False
    """Whether any certificate is accepted."""
    ca: Path | None = None
    """Certificates of the trusted authorities; None for the system's."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            _ = parts.port  # raises
        except ValueError as error:
            raise UnusableTarget(f"{self.url!r} is not a URL: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnusableTarget(f"{self.url!r} is not a URL: expected something like http://localhost:8080")
        if parts.username or parts.password:
            raise UnusableTarget("the URL holds a user or password: expected --token-file or --header instead")
        try:
            _ = self.tls  # reads
        except (OSError, ssl.SSLError) as error:
            raise UnusableTarget(f"--ca: {self.ca} holds no certificates: {error.strerror or error}") from None
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        object.__setattr__(self, "url", self.url.rstrip("/"))
        object.__setattr__(self, "grpc", self.grpc or f"{host}:{GRPC_PORT}")

    @property
    def tls(self) -> ssl.SSLContext | None:
        """None without TLS."""
        return context(self.insecure, self.ca) if self.is_secure else None

    @property
    def is_secure(self) -> bool:
        """Whether HTTP and gRPC use TLS."""
        return self.url.startswith("https:")

    def channel(self, library: Any) -> Any:
        """A channel to the gRPC server, of `grpc` or `grpc.aio`."""
        import grpc

        if not self.is_secure:
            return library.insecure_channel(self.grpc)
        if self.insecure:
            raise UnusableTarget(
                "--insecure: gRPC always checks certificates: expected --ca with the authority of this one"
            )
        trusted = None if self.ca is None else self.ca.read_bytes()
        return library.secure_channel(self.grpc, grpc.ssl_channel_credentials(trusted))

    def schema(self) -> dict[str, Any]:
        """The response of GET /schema, once the model is ready."""
        status, text = self.ask("/v2/health/ready")
        if status != 200:
            raise UnusableTarget(f"the model at {self.url} is not ready: {status} {excerpt(text)}")
        status, text = self.ask("/schema")
        try:
            schema = json.loads(text) if status == 200 else None
        except ValueError:
            schema = None
        if not isinstance(schema, dict) or "model_name" not in schema:
            raise UnusableTarget(f"{self.url}/schema answers {status} without a schema: {excerpt(text)}")
        return schema

    def payloads(self, protocol: str, rows: int, seed: int, count: int) -> tuple[list[Payload], Vary]:
        """`count` requests that the model accepts, with as many values varied as possible."""
        schema = self.schema()
        response = (0, "")
        try:
            for vary in Vary:
                maker = Payloads(schema, rows, seed, vary)
                payloads = [maker.make(protocol, number) for number in range(1 if vary is Vary.NOTHING else count)]
                for payload in payloads:
                    response = self.send(protocol, payload)
                    if response[0] != 200:
                        break
                else:
                    return payloads, vary
        except NoSample as error:
            raise UnusableTarget(str(error)) from None
        raise UnusableTarget(f"the server refuses its own sample over {protocol}: {response[0]} {excerpt(response[1])}")

    def send(self, protocol: str, payload: Payload) -> tuple[int, str]:
        if protocol == "grpc":
            return self._call(payload)
        return self.ask(payload.path, payload.body, payload.headers)

    def ask(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Status and text; raises `UnusableTarget` if the server cannot be reached."""
        request = urllib.request.Request(self.url + path, body, {**(headers or {}), **self.headers})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self.tls) as reply:  # noqa: S310
                return reply.status, reply.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except urllib.error.URLError as error:
            raise UnusableTarget(f"{self.url} cannot be reached: {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            raise UnusableTarget(f"{self.url} cannot be reached: {error or type(error).__name__}") from None

    def _call(self, payload: Payload) -> tuple[int, str]:
        import grpc

        with self.channel(grpc) as channel:
            try:
                channel.unary_unary(GRPC_METHOD)(payload.body, timeout=TIMEOUT_SECONDS, metadata=self.metadata)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    raise UnusableTarget(
                        f"{self.grpc} cannot be reached over gRPC: {excerpt(error.details())}"
                    ) from None
                return error.code().value[0], f"{error.code().name} {error.details()}"
        return 200, ""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple((name.lower(), value) for name, value in self.headers.items() if name.lower() != "host")


@cache
def context(insecure: bool, ca: Path | None) -> ssl.SSLContext:
    tls_context = ssl.create_default_context(cafile=ca)
    if insecure:
        tls_context.check_hostname, tls_context.verify_mode = False, ssl.CERT_NONE
    return tls_context


def excerpt(text: str) -> str:
    """The beginning of a response, in one line."""
    return " ".join(text.split())[:200]
