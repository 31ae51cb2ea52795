"""A candidate that answers a share of the requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.predictors.candidate.versions import PUT, ask, split
from tests.serving import Running


def put(server: Running, **spec: Any) -> dict[str, Any]:
    reply = server.client.put(PUT, json={"uri": "models:/m/2", **spec})
    assert reply.status_code == 200, reply.text
    report: dict[str, Any] = reply.json()
    return report


def test_a_share_of_the_requests_is_the_candidates(server: Running) -> None:
    report = put(server, share=0.25)
    assert (report["version"], report["model_version"], report["state"]) == ("2", "1", "ready")
    counted = split(server)
    assert 60 <= counted["2"] <= 140, counted
    assert sum(counted.values()) == 400
    after = server.get(PUT).json()["counts"]
    assert after["candidate"]["requests"] >= counted["2"]
    assert after["model"]["requests"] >= counted["1"]
    put(server, share="0%")
    assert set(split(server, 50)) == {"1"}
    put(server, share=1)
    assert set(split(server, 50)) == {"2"}
    reply = server.client.request("DELETE", PUT)
    assert (reply.status_code, reply.json()["candidate"]) == (200, None)
    assert set(split(server, 50)) == {"1"}
    assert server.get(PUT).status_code == 404


@pytest.mark.parametrize("key", ["header:X-User", "column:a"])
def test_the_same_caller_gets_the_same_version(server: Running, key: str) -> None:
    def versions() -> dict[int, str]:
        return {
            user: ask(server, float(user), headers={"x-user": str(user)} if key.startswith("header") else {})[0]
            for user in range(100)
        }

    put(server, share=0.1, key=key)
    few = versions()
    assert few == versions()
    put(server, share=0.5, key=key)
    many = versions()
    assert many == versions()
    assert 30 < list(many.values()).count("2") < 70
    assert {user for user, version in few.items() if version == "2"} <= {
        user for user, version in many.items() if version == "2"
    }, "a larger share takes nobody away"
    if key.startswith("header"):
        assert {ask(server)[0] for _ in range(30)} == {"1"}, "a request without the key is the model's"
