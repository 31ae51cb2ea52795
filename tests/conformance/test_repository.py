"""The model repository extension."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from .conftest import ServerUnderTest, option
from .payloads import ConformancePayloads, Json, json_body
from .replies import HttpReply, excerpt, json_object, refusal, same_numbers, strict_json


def index(http: httpx.Client, **members: bool) -> list[Json]:
    response = http.post("/v2/repository/index", json=members)
    assert response.status_code == 200, excerpt(response)
    entries = strict_json(response.content)
    assert isinstance(entries, list), excerpt(response)
    assert all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries), entries
    return entries


def states(http: httpx.Client, model: str) -> set[str | None]:
    return {entry.get("state") for entry in index(http) if entry["name"] == model}


def test_index_lists_the_model(http: httpx.Client, target: ServerUnderTest) -> None:
    assert "READY" in states(http, target.model)


def test_index_of_what_is_ready_lists_the_model(http: httpx.Client, target: ServerUnderTest) -> None:
    entries = index(http, ready=True)
    assert target.model in [entry["name"] for entry in entries]
    assert {entry.get("state") for entry in entries} == {"READY"}


def test_index_takes_an_empty_body(http: httpx.Client, target: ServerUnderTest) -> None:
    response = http.post("/v2/repository/index")
    assert response.status_code == 200, excerpt(response)
    assert target.model in [entry["name"] for entry in strict_json(response.content)]


@pytest.fixture
def destructive(pytestconfig: pytest.Config) -> None:
    if not option(pytestconfig, "--destructive"):
        pytest.skip("needs --destructive")


@pytest.mark.usefixtures("destructive")
def test_unload_and_load(
    http: httpx.Client,
    target: ServerUnderTest,
    payloads: ConformancePayloads,
    infer: Callable[..., HttpReply],
    expected: HttpReply,
) -> None:
    path = target.path.replace("/v2/models/", "/v2/repository/models/")
    body = json_body(payloads.rows(1))
    try:
        unloaded = http.post(f"{path}/unload", json={})
        assert unloaded.status_code == 200, excerpt(unloaded)
        assert "READY" not in states(http, target.model)
        assert http.get(f"{target.path}/ready").status_code != 200
        refusal(http.post(f"{target.path}/infer", json=body), 400, 404, 503)
    finally:
        loaded = http.post(f"{path}/load", json={})
    assert loaded.status_code == 200, excerpt(loaded)
    assert json_object(http.get(f"{target.path}/ready")).get("ready") is True
    same_numbers(infer(body).outputs, expected.outputs)


@pytest.mark.usefixtures("destructive")
def test_an_unknown_model_is_not_loaded(http: httpx.Client) -> None:
    refusal(http.post("/v2/repository/models/no-such-model/load", json={}), 400, 404)
