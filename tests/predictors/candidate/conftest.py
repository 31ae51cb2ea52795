"""A registry and a server that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.predictors.candidate.versions import PUT, Versions, versions
from tests.registry import MLFLOW_VARIABLES
from tests.serving import Running, in_thread


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Versions 1 to 3; nobody moves `one`."""
    made = versions(tmp_path_factory.mktemp("versions"), 1, 2, 3)
    made.alias("one", 1)
    return made


@pytest.fixture(scope="module")
def shared_server(registered: Versions) -> Iterator[Running]:
    with in_thread("models:/m/1", tracking_uri=registered.uri, load_trial=False) as server:
        yield server


@pytest.fixture
def server(shared_server: Running) -> Running:
    """It serves version 1, without a candidate."""
    shared_server.client.request("DELETE", PUT)
    return shared_server
