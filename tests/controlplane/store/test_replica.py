"""A read replica: lists come from it, and everything else from the database itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from controlplane.store.database import Store
from tests.controlplane.plane import HEALTHY, Plane


def test_lists_come_from_the_replica(plane: Plane, tmp_path: Path) -> None:
    """The copy is of yesterday, so that one can tell which was read."""
    plane.deploy(serve="old")
    copy = tmp_path / "copy.db"
    plane.store.close()  # what is in its log is in its file then
    shutil.copy(tmp_path / "plane.db", copy)
    plane.store.replica = Store(f"sqlite:///{copy}").engine
    plane.deploy(serve="new")
    names = {each["name"] for each in plane.get("/serve")["items"]}
    assert names == {"old"}
    assert plane.get("/operation")["total"] == 1
    assert {each["serve"] for each in plane.get("/event?limit=200")["items"]} == {"old"}
    assert plane.get("/serve/new")["name"] == "new"
    assert plane.status("new")["status"] == "READY"
    plane.post("/serve/deploy-model", {"serve_name": "new", "model_uri": HEALTHY, "env": "local"})
    plane.store.replica.dispose()
    plane.store.replica = Store(f"sqlite:///{tmp_path / 'none' / 'copy.db'}").engine
    assert {each["name"] for each in plane.get("/serve")["items"]} == {"old", "new"}
