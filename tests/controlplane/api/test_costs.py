"""What requests cost does not grow with what there is: they ask the store as often for many serves as for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event

from tests.controlplane.plane import HEALTHY, Plane


def statements(plane: Plane, ask: Callable[[], Any]) -> int:
    """How many a request sends to the database."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(plane.store.engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(plane.store.engine, "before_cursor_execute", note)
    return len(sent)


def test_lists_and_deployments(plane: Plane) -> None:
    plane.patch("/environment/local", {"quotas": {"serves": 100, "cores": 1000}})

    def deploy(serve: str) -> Callable[[], Any]:
        return lambda: plane.post("/serve/deploy-model", {"serve_name": serve, "model_uri": HEALTHY, "env": "local"})

    plane.deploy(serve="first")
    listed = statements(plane, lambda: plane.get("/serve"))
    deployed = statements(plane, deploy("second"))
    for number in range(5):
        plane.deploy(serve=f"other-{number}")
    assert statements(plane, lambda: plane.get("/serve")) == listed < 8
    assert statements(plane, deploy("last")) == deployed
    assert [each["environments"] for each in plane.get("/serve")["items"]] == [["local"]] * 8
