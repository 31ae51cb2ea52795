"""One gRPC server for the tests of a file, and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.predictors.grpc.serving import SECONDS, Http2Wire, serving
from tests.predictors.grpc.wire import Http2Peer
from tests.serving import wait_for


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Http2Wire]:
    with serving() as running:
        yield running


@pytest.fixture
def wire(shared_wire: Http2Wire) -> Iterator[Http2Wire]:
    """One server for all tests, which leave nothing behind in it."""
    shared_wire.service.started.clear()
    shared_wire.service.cancelled = 0
    shared_wire.run(shared_wire.service.release.clear)
    yield shared_wire
    shared_wire.run(shared_wire.service.release.set)
    wait_for(lambda: not shared_wire.server.connections and not shared_wire.server.tasks, seconds=SECONDS)


@pytest.fixture
def peer(wire: Http2Wire) -> Iterator[Http2Peer]:
    with Http2Peer(wire.address) as connected:
        yield connected
