"""Revisions never change, and show it by their sha256."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from controlplane.store import tables, targets
from tests.controlplane.plane import HEALTHY, Plane


def test_the_database_refuses_to_change_one(plane: Plane) -> None:
    plane.deploy()
    with pytest.raises(DBAPIError, match="a revision never changes"), plane.store.writing() as tx:
        tx.execute(update(tables.revision).values(content={}))
    with pytest.raises(DBAPIError, match="events are only added"), plane.store.writing() as tx:
        tx.execute(update(tables.event).values(actor="nobody"))


def test_the_sha256_is_that_of_the_content(plane: Plane) -> None:
    plane.deploy(environment_variables={"A": "1"})
    plane.deploy(environment_variables={"A": "2"})
    plane.deploy(environment_variables={"A": "1"})
    listed = plane.get("/serve/fraud/revisions?env=local")["items"]
    assert [each["revision"] for each in listed] == [3, 2, 1]
    third, second, first = (each["sha256"] for each in listed)
    assert first == third != second
    with plane.store.reading() as tx:
        row = targets.revision(tx, "fraud", "local", 1)
    assert row.content.sha256 == row.sha256 == first
    assert row.content.model_uri == HEALTHY


def test_an_environment_that_changes_does_not_change_what_is_deployed(plane: Plane) -> None:
    plane.deploy()
    before = plane.get("/serve/fraud/revisions/local/1")
    plane.patch("/environment/local", {"workflow_url": "http://workflow:8080"})
    plane.settle()
    assert plane.get("/serve/fraud/revisions/local/1") == before
    plane.deploy()
    assert plane.get("/serve/fraud/revisions/local/2")["spec"]["env"] == {"WORKFLOW_URL": "http://workflow:8080"}
