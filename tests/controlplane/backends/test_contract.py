"""The contract of back ends, on this machine; tests/cluster holds that of clusters to the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.backends.local import backend as local
from controlplane.backends.local.backend import LocalBackend
from controlplane.backends.local.ports import PortRange
from controlplane.domain.environments import EnvironmentConfig
from loadtest.peers.ports import free_port
from tests.controlplane.contract import DeploymentContract
from tests.controlplane.crashing import quick_command
from tests.controlplane.live_plane import LivePlane
from tests.controlplane.up import cleaned


class TestLocal(DeploymentContract):
    @pytest.fixture
    def live(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LivePlane]:
        monkeypatch.setattr(local, "command", quick_command)
        first = free_port()
        with cleaned(tmp_path):
            backend = LocalBackend(tmp_path, PortRange(first, first + 200))
            plane = LivePlane(f"sqlite:///{tmp_path / 'plane.db'}", backend, "local", EnvironmentConfig())
            yield plane
            plane.store.close()
