"""No task of the server ends unseen, and nothing that one connection does reaches another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop

from predictors.pipeline.settings import Settings
from predictors.processes.ports import bound_ports
from predictors.processes.shared_state import SharedState
from predictors.reload.leader import Leader
from predictors.reload.reloader import Reloader
from predictors.rest.connection import HttpConnection
from predictors.rest.server import WebServer
from predictors.server import Server
from tests.serving import Running, in_thread, wait_for

STALLED = b"POST /v1/models/model:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
ROW = {"temperature": 91.5, "vibration": 1.05, "months_since_service": 41, "load": 0.9}


def stalled_client(server: Running) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), 30)
    client.sendall(STALLED)
    return client


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ("owner", "method"),
    [(WebServer, "on_tick"), (Leader, "run"), (Reloader, "run")],
    ids=["HTTP", "leading", "following"],
)
def test_a_task_that_breaks_ends_the_process_with_an_error(
    owner: type, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    works, here = getattr(owner, method), threading.get_ident()

    async def breaks(*arguments: object) -> Any:
        if threading.get_ident() != here:  # a server that other tests share
            return await works(*arguments)
        await asyncio.sleep(0.1)
        raise Broken("a task of the server broke")

    monkeypatch.setattr(owner, method, breaks)
    settings = Settings(host="127.0.0.1", http_port=0, grpc_port=0, grace_period=1)
    ports, shared = bound_ports(settings), SharedState(1)

    async def serve() -> int:
        return await asyncio.wait_for(Server(settings).serve(ports, asyncio.Event(), shared), 60)

    with contextlib.closing(ports), contextlib.closing(shared), caplog.at_level(logging.INFO):
        code = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve())
    assert code == 1
    logged = [one for one in caplog.records if one.exc_info and isinstance(one.exc_info[1], Broken)]
    assert len(logged) == 1


def test_a_body_that_never_comes_ends_its_connection_only() -> None:
    with in_thread(None, read_timeout=0.5) as server, stalled_client(server) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")
        with contextlib.suppress(OSError):
            while client.recv(1000):  # the server looks at its connections several times until it ends this one
                pass
        assert server.predict({"instances": [ROW]}).status_code == 200


def test_a_connection_that_cannot_be_checked_is_ended_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: object) -> None:
        raise Broken("this connection broke")

    with in_thread(None, read_timeout=0.5) as server, stalled_client(server) as client:
        monkeypatch.setattr(HttpConnection, "close_if_slow", breaks)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
        monkeypatch.undo()
        wait_for(lambda: "could not be checked" in caplog.text)
        assert server.predict({"instances": [ROW]}).status_code == 200
