"""A control plane with its page, a model that answers, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from controlplane.page.site import site
from tests.browser import Browser, opened_browser
from tests.controlplane.plane import Plane
from tests.mlflow_kserve.served_plane import ServedPlane, served_plane
from tests.serving import Running, in_thread


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened_browser(tmp_path_factory.mktemp("browser") / "profile") as tab:
        yield tab


@pytest.fixture(autouse=True)
def no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Neither the policy nor a script has failed in the browser; a page that says no is none of that."""
    yield
    if "browser" in request.fixturenames:
        tab: Browser = request.getfixturevalue("browser")
        heard, tab.complaints[:] = list(tab.complaints), []
        assert [each for each in heard if "Failed to load resource" not in each] == []


@pytest.fixture(scope="session")
def model() -> Iterator[Running]:
    with in_thread(None, model_name="machines") as running:
        yield running


@pytest.fixture
def up(tmp_path: Path, model: Running) -> Iterator[ServedPlane]:
    """Its loops are real, its back end is in memory, and all its serves are one model that answers."""
    with served_plane(tmp_path) as plane:
        plane.backend.address = model.url
        yield plane


class Pages:
    """The page of a control plane, without a browser."""

    def __init__(self, plane: Plane) -> None:
        self.client = TestClient(site(plane.control), base_url="http://localhost", follow_redirects=False)

    def get(self, path: str, /, **headers: str) -> httpx2.Response:
        return self.client.get(f"/ui{path}", headers=headers)

    def post(self, path: str, origin: str | None = "http://localhost", /, **fields: str) -> httpx2.Response:
        headers = {} if origin is None else {"origin": origin}
        return self.client.post(f"/ui{path}", data=fields, headers=headers)


@pytest.fixture
def pages(plane: Plane) -> Pages:
    return Pages(plane)
