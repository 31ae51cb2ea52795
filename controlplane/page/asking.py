"""Asks a model what a person has filled in, and tells how others can ask it."""

from __future__ import annotations

import asyncio
import json
import pprint
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from controlplane.page.inputs import ModelDescription, read
from controlplane.page.rendering import segment

ANSWER_SECONDS = 30.0
DESCRIPTION_SECONDS = 5.0
MAX_ANSWER = 1 << 20  # bytes
MAX_SHOWN = 12_000  # characters: two answers fit into a small page


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came back; `problem` says why nothing did."""

    status: int | None
    seconds: float
    body: Any = None
    """the reply, if it is JSON"""
    text: str = ""
    left_out: int = 0
    problem: str = ""

    @property
    def is_good(self) -> bool:
        return self.status is not None and self.status < 400


async def answer(url: str, path: str, body: str, token: str = "") -> ModelAnswer:
    headers = {"content-type": "application/json", **bearer(token)}
    began = time.monotonic()
    try:
        status, content = await fetched("POST", url + path, ANSWER_SECONDS, headers, body.encode())
    except httpx.HTTPError as error:
        said = str(error) or type(error).__name__
        return ModelAnswer(None, time.monotonic() - began, problem=f"{url} does not answer: {said}")
    except OverflowError:
        return ModelAnswer(None, time.monotonic() - began, problem=f"the answer has more than {MAX_ANSWER} bytes")
    seconds = time.monotonic() - began
    text, value = content.decode(errors="replace"), None
    try:
        value = json.loads(text)
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    return ModelAnswer(status, seconds, value, text[:MAX_SHOWN], max(len(text) - MAX_SHOWN, 0))


async def description(url: str, serve: str, token: str = "") -> ModelDescription:
    """The model's own schema, or what V2 tells of any model; empty if it says neither."""
    for path in ("/schema", f"/v2/models/{segment(serve)}"):
        try:
            status, content = await fetched("GET", url + path, DESCRIPTION_SECONDS, bearer(token))
            said = read(json.loads(content))
        except (httpx.HTTPError, ValueError, OverflowError, RecursionError):
            continue
        if status == 200 and said is not None:
            return said
    return ModelDescription()


async def fetched(
    method: str, url: str, seconds: float, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, bytes]:
    """Raises httpx.HTTPError, and OverflowError for a reply that is too large; it is not unpacked."""
    headers = {**headers, "accept-encoding": "identity"}
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(timeout=seconds, trust_env=False) as client,
            client.stream(method, url, headers=headers, content=body) as response,
        ):
            content = bytearray()
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > MAX_ANSWER:
                    raise OverflowError
            return response.status_code, bytes(content)
    except TimeoutError:
        raise httpx.ReadTimeout(f"not all of it came within {seconds:g} s") from None


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def as_curl(url: str, body: str, with_token: bool) -> str:
    token = ' \\\n  -H "authorization: Bearer $TOKEN"' if with_token else ""
    return f"curl {shlex.quote(url)} -H 'content-type: application/json'{token} \\\n  -d {shlex.quote(body)}"


def as_python(url: str, body: str, with_token: bool) -> str:
    token = ', headers={"authorization": f"Bearer {token}"}' if with_token else ""
    try:
        payload, name = pprint.pformat(json.loads(body), width=100, sort_dicts=False), "json"
    except (ValueError, RecursionError):
        payload, name = repr(body), "data"
    asked = f"reply = requests.post({url!r}, {name}=payload{token}, timeout=30)"
    return f"import requests\n\npayload = {payload}\n{asked}\nprint(reply.json())"
