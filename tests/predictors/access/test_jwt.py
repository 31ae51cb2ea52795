"""JWTs: what makes one good, and keys from a file or a URL that change while the server runs."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.access import jwts
from tests.http_server import QuietHandler
from tests.predictors.access.test_access import PREDICT, ROW, bearing, code, ended, written
from tests.predictors.grpc.test_grpc import request
from tests.serving import Running, in_thread, wait_for

ISSUER, AUDIENCE = "https://issuer.example", "fraud"
HOUR = 3600
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
CURVE, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
SECRET = "a secret that both sides would have to know"


def public(key: Any, kid: str | None, algorithm: str, **more: Any) -> dict[str, Any]:
    entry: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**entry, **({"kid": kid} if kid else {}), **more}


KEYS = [
    public(RSA, "rsa", "RS256"),
    public(CURVE, "curve", "ES256", use="sig", alg="ES256"),
    public(ED, "ed", "EdDSA"),
    {"kty": "oct", "kid": "secret", "k": "YSBzZWNyZXQ"},
    {"kty": "RSA", "kid": "broken", "n": "AQ"},
]


def token(key: Any = RSA, kid: str | None = "rsa", algorithm: str = "RS256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + HOUR, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else {})


def settings(source: str, **more: Any) -> dict[str, Any]:
    return {"jwt_jwks": source, "jwt_issuer": ISSUER, "jwt_audience": frozenset({AUDIENCE, "other"}), **more}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    file = written(tmp_path_factory.mktemp("jwks") / "jwks.json", json.dumps({"keys": KEYS}))
    with in_thread(None, **settings(file, jwt_admin_scope="model.admin")) as server:
        yield server


def asked(server: Running, bearer: str, path: str = PREDICT[0]) -> httpx.Response:
    return server.post(path, ROW, headers=bearing(bearer))


@pytest.mark.parametrize("path", PREDICT)
@pytest.mark.parametrize(
    ("key", "kid", "algorithm"),
    [
        *((RSA, "rsa", name) for name in ("RS256", "RS384", "RS512", "PS256", "PS512")),
        (CURVE, "curve", "ES256"),
        (CURVE, None, "ES256"),  # the only one that fits
        (ED, "ed", "EdDSA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_good_tokens(guarded: Running, key: Any, kid: str | None, algorithm: str, path: str) -> None:
    signed = token(key, kid, algorithm)
    assert [asked(guarded, signed, path).status_code for _ in range(2)] == [200, 200]


NOW = int(time.time())
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": NOW - HOUR}, "the token has expired"),
    "no end": ({"exp": None}, "the token has no 'exp'"),
    "later": ({"nbf": NOW + HOUR}, "the token is not valid yet"),
    "issued later": ({"iat": NOW + HOUR}, "the token is not valid yet"),
    "issuer": ({"iss": "https://evil.example"}, "the token has another issuer"),
    "no issuer": ({"iss": None}, "the token has no 'iss'"),
    "audience": ({"aud": "others"}, "the token is for another audience"),
    "no audience": ({"aud": None}, "the token has no 'aud'"),
    "end of no clock": ({"exp": 1e400}, "the token is malformed"),
    "signature": ({"key": OTHER_RSA}, "the token's signature is wrong"),
    "unknown key": ({"kid": "nobody's"}, "the token names no suitable key of its issuer"),
    "another kind of key": ({"kid": "curve"}, "the token names no suitable key of its issuer"),
    "a broken key": ({"kid": "broken"}, "the token names no suitable key of its issuer"),
    "shared secret": ({"key": SECRET, "algorithm": "HS256", "kid": "secret"}, "not signed with a key pair"),
    "unsigned": ({"key": None, "algorithm": "none"}, "not signed with a key pair"),
    "long": ({"more": "x" * 9000}, "the token is longer than 8192 bytes"),
}


@pytest.mark.parametrize("path", PREDICT)
@pytest.mark.parametrize("case", BAD)
def test_bad_tokens(guarded: Running, case: str, path: str) -> None:
    changes, words = BAD[case]
    refused = asked(guarded, token(**changes), path)
    assert (refused.status_code, words in refused.json()["error"]) == (401, True), refused.text
    assert 'error="invalid_token", error_description="' in refused.headers["www-authenticate"]


@pytest.mark.parametrize(
    "text", ["..", "a.b.c", "e30.e30.", "eyJhbGciOiJSUzI1NiJ9..", "W" * 6000 + ".e30.x", "x"], ids=range(6)
)
def test_what_is_no_token_at_all(guarded: Running, text: str) -> None:
    nested = jwt.utils.base64url_encode(b'{"alg": ' + b"[" * 5000).decode()
    for malformed in (text, f"{nested}.e30.x"):
        assert asked(guarded, malformed).status_code == 401
        assert guarded.get("/health").status_code == 200


def test_clocks_may_differ_a_little(guarded: Running) -> None:
    assert asked(guarded, token(exp=int(time.time()) - 5)).status_code == 200
    assert asked(guarded, token(nbf=int(time.time()) + 5)).status_code == 200


def test_one_of_several_audiences(guarded: Running) -> None:
    assert asked(guarded, token(aud=["another", "other"])).status_code == 200


def test_a_token_that_is_known_expires_all_the_same(guarded: Running) -> None:
    short_lived = token(exp=int(time.time()) - jwts.LEEWAY + 2)
    assert asked(guarded, short_lived).status_code == 200
    wait_for(lambda: asked(guarded, short_lived).status_code == 401, seconds=30)


@pytest.mark.parametrize(
    "claims",
    [{"scope": "openid model.admin"}, {"scp": ["model.admin"]}, {"scp": "model.admin"}, {"roles": ["model.admin"]}],
)
def test_operators_by_scope(guarded: Running, claims: dict[str, Any]) -> None:
    path = "/v2/repository/models/model/load"
    assert guarded.post(path, headers=bearing(token(**claims))).status_code == 200
    assert asked(guarded, token(**claims)).status_code == 200
    for other in ({}, {"scope": "model.administrator"}, {"scope": ["x"]}, {"roles": 7}):
        refused = guarded.post(path, headers=bearing(token(**other)))
        assert refused.status_code == 403
        assert 'error="insufficient_scope", scope="model.admin"' in refused.headers["www-authenticate"]


def test_grpc(guarded: Running) -> None:
    with grpc.insecure_channel(guarded.grpc) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        assert code(stub.ModelInfer, request(), token())[0] == "OK"
        assert code(stub.ModelInfer, request(), token(exp=1)) == ("UNAUTHENTICATED", "the token has expired")
        load = pb.RepositoryModelLoadRequest(model_name="model")
        assert code(stub.RepositoryModelLoad, load, token())[0] == "PERMISSION_DENIED"
        assert code(stub.RepositoryModelLoad, load, token(scope="model.admin"))[0] == "OK"


def test_jwts_beside_tokens_from_a_file(tmp_path: Path) -> None:
    file = written(tmp_path / "jwks.json", json.dumps({"keys": KEYS}))
    static = written(tmp_path / "tokens", "alice.of.old-0123456789")
    with in_thread(None, **settings(file, token_file=static)) as server:
        assert asked(server, "alice.of.old-0123456789").status_code == asked(server, token()).status_code == 200
        assert asked(server, "bob.of.old-0123456789").status_code == 401


def test_a_file_of_keys_is_rotated(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    written(file, json.dumps({"keys": KEYS}))
    with in_thread(None, **settings(str(file))) as server:
        old, new = token(), token(OTHER_RSA, "next")
        assert (asked(server, old).status_code, asked(server, new).status_code) == (200, 401)
        written(file, json.dumps({"keys": [public(OTHER_RSA, "next", "RS256")]}))
        wait_for(lambda: asked(server, new).status_code == 200, seconds=30)
        assert asked(server, old).status_code == 401  # although it was known to be good


class Issuer:
    """A server of keys."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] | None = KEYS
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        issuer = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                issuer.gate.wait(20)
                body = json.dumps({"keys": issuer.keys}).encode()
                self.reply(500 if issuer.keys is None else 200, body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.close()


def test_keys_from_a_url(issuer: Issuer) -> None:
    with in_thread(None, **settings(issuer.url)) as server:
        assert {asked(server, token()).status_code for _ in range(20)} == {200}
        assert issuer.asked == 1


def test_who_comes_before_the_keys_waits_for_them_and_nobody_else(issuer: Issuer) -> None:
    issuer.gate.clear()
    with in_thread(None, **settings(issuer.url)) as server, grpc.insecure_channel(server.grpc) as channel:
        call = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(
            request(), metadata=[("authorization", f"Bearer {token()}")]
        )
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(asked(server, token()).status_code)) for _ in "abc"]
        for thread in threads:
            thread.start()
        wait_for(lambda: issuer.asked == 1)
        assert server.get("/health").status_code == 200
        assert server.post(PREDICT[0], ROW).status_code == 401
        assert (statuses, call.done()) == ([], False)
        issuer.gate.set()
        for thread in threads:
            thread.join(20)
        assert (statuses, call.result(20).model_name) == ([200] * 3, "model")


def test_an_unknown_key_is_looked_for_once(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_thread(None, **settings(issuer.url)) as server:
        new = token(OTHER_RSA, "next")
        assert [asked(server, new).status_code for _ in range(5)] == [401] * 5
        assert issuer.asked == 1  # it was just now
        issuer.keys = [public(OTHER_RSA, "next", "RS256")]
        monkeypatch.setattr(jwts, "MIN_FETCH_INTERVAL", 0.0)
        assert asked(server, new).status_code == 200
        assert issuer.asked == 2
        monkeypatch.setattr(jwts, "MIN_FETCH_INTERVAL", HOUR)
        assert [asked(server, token(kid=f"storm {number}")).status_code for number in range(20)] == [401] * 20
        assert asked(server, token()).status_code == 401  # withdrawn
        assert issuer.asked == 2


def test_keys_are_fetched_now_and_then_and_kept_if_they_cannot_be(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_thread(None, **settings(issuer.url)) as server:
        assert asked(server, token()).status_code == 200
        issuer.keys = None
        monkeypatch.setattr(jwts, "FETCH_INTERVAL", 0.0)
        wait_for(lambda: asked(server, token()).status_code == 200 and issuer.asked > 2)
        assert asked(server, token()).status_code == 200
        issuer.keys = [public(OTHER_RSA, "next", "RS256")]
        wait_for(lambda: asked(server, token()).status_code == 401)
        assert asked(server, token(OTHER_RSA, "next")).status_code == 200


def test_an_issuer_that_is_away_is_no_fault_of_the_caller(issuer: Issuer) -> None:
    issuer.keys = None
    with in_thread(None, **settings(issuer.url)) as server:
        reply = asked(server, token())
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert reply.json() == {"error": "the keys of the token's issuer cannot be fetched"}
        with grpc.insecure_channel(server.grpc) as channel:
            assert code(pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer, request(), token())[0] == "UNAVAILABLE"
        assert asked(server, "no token").status_code == 401


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not JSON", "this is not JSON"),
        ("[]", "expected a JSON Web Key Set: an object with 'keys'"),
        ('{"keys": []}', "expected an RSA, EC or Ed25519 key"),
        ('{"keys": [{"kty": "oct", "k": "AQ"}]}', "expected an RSA, EC or Ed25519 key"),
        (None, "No such file or directory"),
    ],
)
def test_bad_keys_end_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: str
) -> None:
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_text(content)
    said = ended(capsys, "--jwt-jwks", str(file), "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE)
    assert "--jwt-jwks" in said
    assert words in said


def test_a_url_holds_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """It would show in the log each time that the keys cannot be fetched."""
    url = "https://operator:top-secret@issuer.example/keys"
    said = ended(capsys, "--jwt-jwks", url, "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE)
    assert "--jwt-jwks" in said
    assert "user or password" in said
    assert "top-secret" not in said
