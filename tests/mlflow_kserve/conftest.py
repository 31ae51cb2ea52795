"""A control plane to speak to, and nothing of this machine's own login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mlflow_kserve.served_plane import ServedPlane, served_plane

VARIABLES = ("URL", "TOKEN", "TOKEN_FILE", "ENV")


@pytest.fixture(autouse=True)
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in VARIABLES:
        monkeypatch.delenv(f"MLFLOW_KSERVE_API_{name}", raising=False)
    monkeypatch.delenv("ENV", raising=False)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlane]:
    with served_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running
