"""JSON Web Tokens: checked against the keys of one issuer, once each."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from predictors.access.refusals import invalid_token
from predictors.access.reloading_file import ReloadingFile, UnusableFile
from predictors.protocol.errors import NotReady

log = logging.getLogger("predictors")

ALGORITHMS = {  # by type of key and curve; only such as need no secret here
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
LEEWAY = 30  # seconds that clocks may differ
MAX_KNOWN = 4096  # tokens that are known to be good
FETCH_TIMEOUT = 5.0  # seconds
FETCH_EVERY = 300.0
FETCH_AT_MOST_EVERY = 10.0  # a key that nobody knows is looked for once, however often it is named
ADMIN_CLAIMS = ("scope", "scp", "roles")


@dataclass(frozen=True, slots=True)
class Holder:
    name: str
    admin: bool
    until: float
    """Seconds since 1970."""


class KeysWanted(NotReady):
    """The keys are being fetched; afterwards the request may be looked at again."""

    def __init__(self, fetched: Future[None]) -> None:
        super().__init__("the keys of the token's issuer are being fetched; try again")
        self.fetched = fetched


class Keys:
    """A JSON Web Key Set."""

    def __init__(self, document: Any) -> None:
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise UnusableFile("expected a JSON Web Key Set: an object with 'keys'")
        self.document = document
        self.entries = [
            {name: value for name, value in one.items() if name != "d"}  # should it hold private keys
            for one in listed
            if isinstance(one, dict) and algorithms_of(one) and one.get("use", "sig") == "sig"
        ]
        if not self.entries:
            raise UnusableFile("there is no RSA, EC or Ed25519 key for signatures in it")
        self.made: dict[tuple[str | None, str], Any] = {}

    def key(self, kid: str | None, algorithm: str) -> Any:
        """The one key that a token can mean, or None."""
        known = self.made.get((kid, algorithm))
        if known is not None:
            return known
        fitting = [
            one
            for one in self.entries
            if (kid is None or one.get("kid") == kid)
            and algorithm in algorithms_of(one)
            and one.get("alg", algorithm) == algorithm
        ]
        if len(fitting) != 1:
            return None
        from jwt import PyJWK, PyJWTError

        try:
            made = self.made[kid, algorithm] = PyJWK(fitting[0], algorithm)
        except PyJWTError as error:
            log.warning("a key of the issuer cannot be used: %s", type(error).__name__)
            return None
        return made


def algorithms_of(key: dict[str, Any]) -> tuple[str, ...]:
    kind, curve = key.get("kty"), key.get("crv")
    return ALGORITHMS.get((str(kind), None if kind == "RSA" else str(curve)), ())


class FetchedKeys:
    """The keys at a URL, fetched by a thread: at the start, now and then, and for a key that is not known yet."""

    def __init__(self, url: str, setting: str) -> None:
        self.url, self.setting = url, setting
        self.keys: Keys | None = None
        self.fetching: Future[None] | None = None
        self.begun = -math.inf
        self.fetch()

    def current(self) -> Keys | None:
        if time.monotonic() - self.begun > FETCH_EVERY:
            self.fetch()
        return self.keys

    def again(self) -> Future[None] | None:
        """A fetch that is under way or begins; None if the last one was just now."""
        if time.monotonic() - self.begun > FETCH_AT_MOST_EVERY:
            self.fetch()
        return self.fetching

    def fetch(self) -> None:
        if self.fetching is None:
            self.fetching, self.begun = Future(), time.monotonic()
            Thread(target=self.run, args=(self.fetching,), name="keys", daemon=True).start()

    def run(self, done: Future[None]) -> None:
        from jwt import PyJWKClient, PyJWTError

        try:
            found = PyJWKClient(self.url, cache_jwk_set=False, timeout=FETCH_TIMEOUT).fetch_data()
            if self.keys is None or self.keys.document != found:
                self.keys = Keys(found)
        except (PyJWTError, UnusableFile, OSError, ValueError) as error:
            log.warning("%s: the keys cannot be fetched: %s", self.setting, error)
        finally:
            self.fetching = None
            done.set_result(None)


class FileKeys:
    """The keys in a file, which may change."""

    def __init__(self, path: str, setting: str) -> None:
        def read() -> Keys:
            try:
                return Keys(json.loads(Path(path).read_bytes()))
            except ValueError:
                raise UnusableFile("expected a JSON Web Key Set: it is not JSON") from None

        self.current = ReloadingFile([path], setting, read).current

    def again(self) -> None:
        return None


class Verifier:
    """Which tokens are good, and for whom they speak."""

    def __init__(self, source: FileKeys | FetchedKeys, issuer: str, audience: frozenset[str], admin_scope: str | None):
        self.source, self.issuer, self.audience, self.admin_scope = source, issuer, audience, admin_scope
        self.keys: Keys | None = None
        self.known: OrderedDict[bytes, Holder] = OrderedDict()
        """Good tokens by their digests, the least recently used first."""

    def holder(self, token: bytes, digest: bytes) -> Holder:
        """Raises Unauthorized, or KeysWanted if it cannot say yet."""
        keys = self.source.current()
        if keys is not self.keys:  # a key may have been withdrawn
            self.keys = keys
            self.known.clear()
        known = self.known.get(digest)
        if known is not None and known.until > time.time():
            self.known.move_to_end(digest)
            return known
        holder = self.verified(token, keys)
        if len(self.known) >= MAX_KNOWN:
            self.known.popitem(last=False)
        self.known[digest] = holder
        return holder

    def verified(self, token: bytes, keys: Keys | None) -> Holder:
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            kid, algorithm = header.get("kid"), header.get("alg")
        except Exception:  # also what is nested too deeply
            raise invalid_token("the token is malformed") from None
        if not any(algorithm in allowed for allowed in ALGORITHMS.values()):
            raise invalid_token("the token is not signed with a key pair: expected RS, PS or ES, 256 to 512, or EdDSA")
        key = None if keys is None else keys.key(kid, str(algorithm))
        if key is None:
            self.want_keys()
            raise invalid_token("the token names no key of its issuer that fits")
        try:
            claims = jwt.decode(
                token, key, algorithms=[str(algorithm)], issuer=self.issuer, audience=self.audience, leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )  # fmt: skip
        except Exception as error:  # also numbers that no clock has
            raise invalid_token(words_of(error)) from None
        subject = claims.get("sub") or claims.get("client_id") or claims.get("azp") or ""
        return Holder(f"subject {subject}", self.is_admin(claims), float(claims["exp"]) + LEEWAY)

    def want_keys(self) -> None:
        """Raises KeysWanted if it is worth while to ask the issuer."""
        fetching = self.source.again()
        if fetching is not None:
            raise KeysWanted(fetching)
        if self.source.current() is None:
            raise NotReady("the keys of the token's issuer cannot be fetched")

    def is_admin(self, claims: dict[str, Any]) -> bool:
        if self.admin_scope is None:
            return False
        for name in ADMIN_CLAIMS:
            value = claims.get(name)
            listed = value.split() if isinstance(value, str) else value if isinstance(value, list) else ()
            if self.admin_scope in listed:
                return True
        return False


def words_of(error: Exception) -> str:
    """Of our own: the library's may hold what is in the token."""
    import jwt

    words: dict[Callable[..., Exception], str] = {
        jwt.ExpiredSignatureError: "the token has expired",
        jwt.ImmatureSignatureError: "the token is not valid yet",
        jwt.InvalidIssuedAtError: "the token is not valid yet",
        jwt.InvalidIssuerError: "the token has another issuer",
        jwt.InvalidAudienceError: "the token is for another audience",
        jwt.InvalidSignatureError: "the token's signature is wrong",
    }
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no '{error.claim}'"
    return words.get(type(error), "the token is malformed")


def verifier(source: str, issuer: str, audience: frozenset[str], admin_scope: str | None) -> Verifier:
    setting = "--jwt-jwks"
    keys = FetchedKeys(source, setting) if is_url(source) else FileKeys(source, setting)
    return Verifier(keys, issuer, audience, admin_scope)


def is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))
