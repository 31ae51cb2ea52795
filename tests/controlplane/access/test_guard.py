"""Who is let in, and what they may do."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from controlplane.access.guard import CallerGuard
from controlplane.access.issuing import issue
from controlplane.access.settings import ControlAccessSettings
from controlplane.domain.problems import ApiProblem
from controlplane.store import tokens
from tests.controlplane.plane import HEALTHY, Plane, opened
from tests.mlflow_kserve.served_plane import served_plane

ADMIN = "an-admin-token-of-this-test"
BODY = {"serve_name": "fraud", "model_uri": HEALTHY, "env": "local"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("host", ["localhost", "localhost:8007", "127.0.0.1:1", "[::1]:8007"])
def test_open_to_this_machine(plane: Plane, host: str) -> None:
    assert plane.send("GET", "/serve", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8007", ""])
def test_a_page_with_a_name_of_its_own_is_not_let_in(plane: Plane, host: str) -> None:
    response = plane.send("POST", "/serve", {"name": "fraud"}, headers={"host": host})
    assert response.status_code == 421
    assert plane.get("/serve")["total"] == 0


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_a_page_of_another_site_changes_nothing(plane: Plane, origin: str) -> None:
    """It can send a form here, but not without saying where it comes from."""
    response = plane.send("POST", "/serve/fraud/undeploy/local", headers={"origin": origin})
    assert response.status_code == 403
    assert plane.send("GET", "/serve", headers={"origin": "http://localhost:8007"}).status_code == 200


def test_the_first_token_closes_the_door(plane: Plane) -> None:
    token = plane.post("/token", {"name": "ops", "roles": {"*": "admin"}}, 201)["token"]
    assert plane.send("GET", "/serve").status_code == 401
    assert plane.send("GET", "/serve", headers=bearer("x" * 40)).status_code == 401
    assert plane.send("GET", "/serve", headers=bearer(token)).status_code == 200
    assert plane.send("GET", "/serve", headers={**bearer(token), "host": "plane.example"}).status_code == 200
    listed = plane.get("/token", headers=bearer(token))["items"]
    assert [each["name"] for each in listed] == ["ops"]
    assert token not in json.dumps(listed)


def test_tokens_expire_and_are_rotated_and_withdrawn(plane: Plane) -> None:
    ops = bearer(plane.post("/token", {"name": "ops", "roles": {"*": "admin"}, "days": 400}, 201)["token"])
    first = plane.post("/token", {"name": "ci", "roles": {"*": "viewer"}, "days": 1}, 201, headers=ops)["token"]
    assert plane.send("GET", "/serve", headers=bearer(first)).status_code == 200
    second = plane.post("/token/ci/rotate", None, 200, headers=ops)["token"]
    assert plane.send("GET", "/serve", headers=bearer(first)).status_code == 401
    assert plane.send("GET", "/serve", headers=bearer(second)).status_code == 200
    plane.clock.time += 86401
    expired = plane.send("GET", "/serve", headers=bearer(second))
    assert (expired.status_code, "expired" in expired.json()["detail"]) == (401, True)
    third = plane.post("/token/ci/rotate", None, 200, headers=ops)["token"]
    assert plane.send("DELETE", "/token/ci", headers=ops).status_code == 204
    assert plane.send("GET", "/serve", headers=bearer(third)).status_code == 401
    plane.post("/token", {"name": "x", "roles": {"*": "admin"}}, 400, headers={**ops, "idempotency-key": "a"})


def test_the_first_token_is_that_of_an_administrator(plane: Plane) -> None:
    """With another one, nobody could make a second."""
    problem = plane.post("/token", {"name": "ci", "roles": {"local": "admin", "*": "approver"}}, 422)
    assert (problem["errors"][0]["field"], '{"*": "admin"}' in problem["errors"][0]["expected"]) == ("roles", True)
    plane.post("/token", {"name": "ops", "roles": {"*": "admin"}}, 201)


def test_other_machines_are_not_let_in_when_the_last_token_goes(plane: Plane) -> None:
    """They can send any Host header."""
    guard = CallerGuard(ControlAccessSettings(), plane.store, may_be_open=False)
    with plane.store.writing() as tx:
        row, text = issue(tx, plane.clock(), "ops", {"name": "ops", "roles": {"*": "admin"}}, closes=True)
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {text}".encode())]
    assert guard.caller(headers).name == "token ops"
    with plane.store.writing() as tx:
        tokens.remove(tx, row.name)
    with pytest.raises(ApiProblem) as refusal:
        guard.caller(headers[:1])
    assert refusal.value.status == 401


def test_a_head_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    """Nobody has been asked for a token yet."""
    with served_plane(tmp_path) as plane, socket.create_connection(plane.socket.getsockname()) as stranger:
        stranger.settimeout(30)
        stranger.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * (1 << 17))
        assert stranger.recv(100).startswith(b"HTTP/1.1 400 ")


def test_an_administrator_of_one_environment_does_not_move_it(plane: Plane) -> None:
    """It could be moved to the namespace of another, or onto the machine of the control plane."""
    ops = bearer(plane.post("/token", {"name": "ops", "roles": {"*": "admin"}}, 201)["token"])
    plane.post("/environment", {"name": "mine"}, 201, headers=ops)
    roles = {"name": "who", "roles": {"mine": "admin"}}
    who = bearer(plane.post("/token", roles, 201, headers=ops)["token"])
    plane.patch("/environment/mine", {"quotas": {"serves": 3}}, headers=who)
    for place in ({"backend": "kserve", "namespace": "prod"}, {"kube_context": "prod"}):
        plane.patch("/environment/mine", place, 403, headers=who)
        plane.patch("/environment/mine", place, headers=ops)


ROLES: list[tuple[dict[str, str], dict[str, int]]] = [
    ({"*": "viewer"}, {"read": 200, "deploy": 403, "elsewhere": 403, "environment": 403, "token": 403}),
    ({"*": "deployer"}, {"read": 200, "deploy": 202, "elsewhere": 202, "environment": 403, "token": 403}),
    ({"local": "deployer"}, {"read": 200, "deploy": 202, "elsewhere": 403, "environment": 403, "token": 403}),
    ({"local": "admin"}, {"read": 200, "deploy": 202, "elsewhere": 403, "environment": 403, "token": 403}),
    ({"prod": "viewer"}, {"read": 403, "deploy": 403, "elsewhere": 403, "environment": 403, "token": 403}),
    ({"*": "admin"}, {"read": 200, "deploy": 202, "elsewhere": 202, "environment": 201, "token": 201}),
]


@pytest.mark.parametrize(("roles", "expected"), ROLES, ids=lambda value: str(value)[:30])
def test_roles(plane: Plane, roles: dict[str, str], expected: dict[str, int]) -> None:
    plane.post("/environment", {"name": "prod"}, 201)
    plane.deploy(serve="there")
    ops = bearer(plane.post("/token", {"name": "ops", "roles": {"*": "admin"}}, 201)["token"])
    who = bearer(plane.post("/token", {"name": "who", "roles": roles}, 201, headers=ops)["token"])
    got = {
        "read": plane.send("GET", "/serve/there/status/local", headers=who),
        "deploy": plane.send("POST", "/serve/deploy-model", BODY, headers=who),
        "elsewhere": plane.send("POST", "/serve/deploy-model", {**BODY, "env": "prod"}, headers=who),
        "environment": plane.send("POST", "/environment", {"name": "mine"}, headers=who),
        "token": plane.send("POST", "/token", {"name": "mine", "roles": {"*": "admin"}}, headers=who),
    }
    assert {name: response.status_code for name, response in got.items()} == expected
    for response in got.values():
        if response.status_code == 403:
            assert "ask an administrator" in response.json()["way_out"]


def test_lists_show_what_the_caller_may_see(plane: Plane) -> None:
    plane.post("/environment", {"name": "prod"}, 201)
    ops = bearer(plane.post("/token", {"name": "ops", "roles": {"*": "admin"}}, 201)["token"])
    who = bearer(plane.post("/token", {"name": "who", "roles": {"prod": "viewer"}}, 201, headers=ops)["token"])
    assert [each["name"] for each in plane.get("/environment", headers=who)["items"]] == ["prod"]
    assert plane.send("GET", "/event", headers=who).status_code == 403
    assert plane.send("GET", "/event?env=prod", headers=who).status_code == 200


def test_a_token_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"ops:{ADMIN}\n")
    with opened(tmp_path, ControlAccessSettings(admin_token_file=str(file))) as plane:
        assert plane.send("GET", "/serve").status_code == 401
        plane.post("/environment", {"name": "prod"}, 201, headers=bearer(ADMIN))
        event = plane.get("/event?env=prod", headers=bearer(ADMIN))["items"][0]
        assert event["actor"] == "token ops"


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed(scope: str, **claims: Any) -> str:
    payload = {
        "iss": "https://issuer",
        "aud": "plane",
        "exp": time.time() + 600,
        "sub": "ana",
        "scope": scope,
        **claims,
    }
    return jwt.encode(payload, KEY, "RS256", {"kid": "one"})


def test_jwts(tmp_path: Path) -> None:
    keys = {"keys": [{**json.loads(RSAAlgorithm.to_jwk(KEY.public_key())), "kid": "one"}]}
    (tmp_path / "jwks").write_text(json.dumps(keys))
    access = ControlAccessSettings(
        jwt_jwks=str(tmp_path / "jwks"), jwt_issuer="https://issuer", jwt_audience=frozenset({"plane"}),
        jwt_deployer_scope="serve:deploy", jwt_admin_scope="serve:admin",
    )  # fmt: skip
    with opened(tmp_path, access) as plane:
        statuses = {}
        for scope in ("", "serve:deploy", "serve:admin"):
            who = bearer(signed(scope))
            statuses[scope] = (
                plane.send("GET", "/serve", headers=who).status_code,
                plane.send("POST", "/serve", {"name": f"s{len(scope)}"}, headers=who).status_code,
                plane.send("POST", "/environment", {"name": f"e{len(scope)}"}, headers=who).status_code,
            )
        assert statuses == {"": (200, 403, 403), "serve:deploy": (200, 201, 403), "serve:admin": (200, 201, 201)}
        assert plane.get("/event", headers=bearer(signed("serve:admin")))["items"][0]["actor"] == "subject ana"
        for wrong in (signed("serve:admin", exp=1), signed("serve:admin", aud="other"), signed("")[:-6] + "abcdef"):
            assert plane.send("GET", "/serve", headers=bearer(wrong)).status_code == 401
