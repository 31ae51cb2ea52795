"""Tables of HTTP/2 cases: what a client sends, and what must become of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.attack import http2
from tests.attack.attacked import Attacked
from tests.attack.http2 import client, good_call

LAST = 2**31 - 1
SERVED = "status:0"


def connection(*codes: str) -> set[str]:
    return {f"connection:{code}" for code in codes}


def either(*codes: str) -> set[str]:
    """An error of the stream or of the connection."""
    return {f"{scope}:{code}" for scope in ("connection", "stream") for code in codes}


@dataclass(frozen=True)
class Case:
    name: str
    sent: bytes
    expected: set[str]
    """Each of these outcomes is right."""
    stream: int = 1


def case(name: str, sent: bytes, expected: set[str] | str, *, stream: int = 1) -> Any:
    expected = {expected} if isinstance(expected, str) else expected
    return pytest.param(Case(name, sent, expected, stream), id=name)


def check_others(peer: http2.Http2Client) -> None:
    """Other streams of the connection go on."""
    free = 2001
    peer.send(good_call(free))
    assert peer.outcome(free, wait=True) == SERVED


def check(server: Attacked, one: Case, *, begin: bool = True) -> None:
    with client(server.grpc, begin=begin) as peer:
        peer.send(one.sent)
        outcome = peer.outcome(one.stream, wait=any(wanted.startswith(("status", "http")) for wanted in one.expected))
        assert outcome in one.expected
        if outcome.startswith("connection:"):
            while peer.read() is not None:
                pass  # and it is ended
        elif outcome != "closed" and one.stream != LAST:
            check_others(peer)
    server.check_alive()
