"""Sends calls to a control plane, and blocks until the reply."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import time
import urllib.request
import uuid
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit

from mlflow_kserve.client.calls import ApiCall
from mlflow_kserve.client.errors import ApiUnreachable, error_of
from mlflow_kserve.client.flows import Steps
from mlflow_kserve.client.login import Login, UnusableLogin

T = TypeVar("T")
PREFIX = "/api/v1"
TIMEOUT_SECONDS = 30.0
RETRY_SECONDS = (0.2, 1.0)
"""Before each repetition of a request whose connection broke."""
TEXTS = ("text/plain", "application/yaml")
BROKEN = (ConnectionResetError, BrokenPipeError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    timeout: float


class CallSender:
    """What both clients share: how a call becomes a request, and a reply its result."""

    def __init__(self, login: Login, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.url, self.token, self.timeout = login.url.rstrip("/"), login.token, timeout
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnusableLogin(
                f"{self.url!r} is not the URL of a control plane: expected such as http://127.0.0.1:8007"
            )
        self.trusts_proxies = not is_loopback(parts.hostname)

    def request(self, call: ApiCall[Any]) -> HttpRequest:
        headers = {"accept": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        content = None
        if call.body is not None:
            content, headers["content-type"] = json.dumps(call.body).encode(), "application/json"
        if call.method != "GET" and call.repeatable:
            headers["idempotency-key"] = uuid.uuid4().hex
        query = {name: value for name, value in call.query.items() if value is not None}
        url = f"{self.url}{PREFIX}{call.path}{'?' + urlencode(query) if query else ''}"
        return HttpRequest(call.method, url, headers, content, self.timeout + float(query.get("wait", 0)))

    def unreachable(self, reason: object) -> ApiUnreachable:
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return ApiUnreachable(f"the control plane at {self.url} does not answer: {text}")


def result(status: int, content_type: str, content: bytes) -> Any:
    """What the reply holds; raises ApiError."""
    if not 200 <= status < 300:
        raise error_of(status, content)
    if status == HTTPStatus.NO_CONTENT:
        return None
    if not content_type.startswith("application/json"):
        if content_type.startswith(TEXTS):
            return content.decode(errors="replace")
        raise error_of(status, content)
    return json.loads(content)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token is for one address alone."""

    def redirect_request(self, *args: Any, **options: Any) -> None:
        return None


class ApiClient(CallSender):
    """Sends calls and blocks until the reply; it is made of the standard library, so that commands start at once."""

    @cached_property
    def opener(self) -> urllib.request.OpenerDirector:
        proxies = [] if self.trusts_proxies else [urllib.request.ProxyHandler({})]
        return urllib.request.build_opener(NoRedirects, *proxies)

    def send(self, call: ApiCall[T]) -> T:
        """Raises ApiError."""
        request = self.request(call)
        for pause in (*RETRY_SECONDS, None):
            try:
                reply: T = result(*self.exchange(request))
                return reply
            except BROKEN as error:
                if pause is None or not call.repeatable:
                    raise self.unreachable(error) from None
            time.sleep(pause)
        raise AssertionError("the last try ends in a reply or an error")

    def exchange(self, request: HttpRequest) -> tuple[int, str, bytes]:
        prepared = urllib.request.Request(  # noqa: S310 - the constructor allows http and https alone
            request.url, request.content, request.headers, method=request.method
        )
        try:
            with self.opener.open(prepared, timeout=request.timeout) as response:
                return response.status, response.headers.get("content-type", ""), response.read()
        except HTTPError as error:
            with error:
                return error.code, error.headers.get("content-type", ""), error.read()
        except URLError as error:
            if isinstance(error.reason, BROKEN):
                raise error.reason from None
            raise self.unreachable(error.reason) from None
        except (TimeoutError, socket.gaierror, ssl.SSLError, ConnectionRefusedError) as error:
            raise self.unreachable(error) from None

    def follow(self, steps: Steps[T]) -> T:
        """Sends one call after the other; raises ApiError."""
        try:
            call = next(steps)
            while True:
                try:
                    reply = self.send(call)
                except Exception as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(reply)
        except StopIteration as end:
            value: T = end.value
            return value
