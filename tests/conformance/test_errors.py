"""The caller's mistakes: the right status, a reason in JSON, and a connection that lives on."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from .conftest import TIMEOUT, ServerUnderTest
from .mistakes import ALL, JSON_TYPE, Mistake, MistakenCall
from .payloads import ConformancePayloads, json_body
from .replies import excerpt, refusal

ALLOWED = {"infer": "POST", "ready": "GET", "": "GET"}
every_mistake = pytest.mark.parametrize("mistake", ALL, ids=[mistake.label for mistake in ALL])


def url_path(call: MistakenCall, target: ServerUnderTest) -> str:
    return call.path if call.path.startswith("/") else f"{target.path}/{call.path}".rstrip("/")


@every_mistake
def test_mistake_is_refused(
    http: httpx.Client, target: ServerUnderTest, payloads: ConformancePayloads, mistake: Mistake
) -> None:
    if mistake.needs_names and not payloads.named:
        pytest.skip("the model has no name for its input")
    call = mistake.make(payloads.rows(1))
    response = http.request(call.method, url_path(call, target), content=call.content, headers=call.headers)
    refusal(response, *mistake.statuses)
    if 405 in mistake.statuses:
        allow = response.headers.get("allow", "")
        assert ALLOWED[call.path] in allow, f"Allow is {allow!r}: {excerpt(response)}"


@every_mistake
def test_connection_lives_on_after(target: ServerUnderTest, payloads: ConformancePayloads, mistake: Mistake) -> None:
    """The next request on the very same connection is answered; its bytes are not taken for leftovers."""
    address = urlsplit(target.url)
    secure = address.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(address.netloc, timeout=TIMEOUT)
    connection.connect()
    # Without this, a closed connection would silently be opened again.
    connection.auto_open = 0
    wrong = mistake.make(payloads.rows(1))
    right = MistakenCall(json.dumps(json_body(payloads.rows(1))).encode(), dict(JSON_TYPE))
    try:
        for call in (wrong, right):
            path = f"{address.path}{url_path(call, target)}"
            connection.request(call.method, path, call.content, call.headers)
            reply = connection.getresponse()
            content = reply.read()
    except (http.client.HTTPException, OSError) as error:
        pytest.fail(f"the server closed the connection after a mistake: {error!r}")
    finally:
        connection.close()
    assert reply.status == 200, content[:300]


def test_a_missing_input_is_refused(post: Callable[..., httpx.Response], payloads: ConformancePayloads) -> None:
    """Any one may be optional to the server, not all of them."""
    tensors = payloads.rows(1)
    if len(tensors) < 2:
        pytest.skip("the model has one input")
    replies = [post(json_body([other for other in tensors if other is not left_out])) for left_out in tensors]
    for reply in replies:
        assert reply.status_code == 200 or refusal(reply, 400)
    assert any(reply.status_code == 400 for reply in replies), "no input seems to be needed"
