"""JSON Web Tokens: each is verified once, with the keys of one issuer."""

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
from predictors.access.reloading_file import ReloadingFile, UnusableFile, followed
from predictors.protocol.errors import NotReady

log = logging.getLogger("predictors")

ALGORITHMS = {  # by type of key and curve; none that needs a secret here
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
LEEWAY = 30  # seconds by which clocks may differ
MAX_VERIFIED = 4096  # tokens that are remembered as valid
FETCH_TIMEOUT = 5.0  # seconds
FETCH_INTERVAL = 300.0
MIN_FETCH_INTERVAL = 10.0  # however many tokens name an unknown key
ADMIN_CLAIMS = ("scope", "scp", "roles")


@dataclass(frozen=True, slots=True)
class Holder:
    name: str
    admin: bool
    until: float
    """Seconds since 1970."""


class KeysWanted(NotReady):
    """The keys are being fetched; afterwards the request can be checked again."""

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
            {name: value for name, value in entry.items() if name != "d"}  # the private part, if it is there
            for entry in listed
            if isinstance(entry, dict) and algorithms_of(entry) and entry.get("use", "sig") == "sig"
        ]
        if not self.entries:
            raise UnusableFile("expected an RSA, EC or Ed25519 key for signatures, and there is none")
        self.parsed: dict[tuple[str | None, str], Any] = {}

    def key(self, kid: str | None, algorithm: str) -> Any:
        """The key that a token names, or None unless exactly one fits."""
        known = self.parsed.get((kid, algorithm))
        if known is not None:
            return known
        matches = [
            entry
            for entry in self.entries
            if (kid is None or entry.get("kid") == kid)
            and algorithm in algorithms_of(entry)
            and entry.get("alg", algorithm) == algorithm
        ]
        if len(matches) != 1:
            return None
        from jwt import PyJWK, PyJWTError

        try:
            key = self.parsed[kid, algorithm] = PyJWK(matches[0], algorithm)
        except PyJWTError as error:
            log.warning("a key of the issuer cannot be used: %s", type(error).__name__)
            return None
        return key


def algorithms_of(key: dict[str, Any]) -> tuple[str, ...]:
    kind, curve = key.get("kty"), key.get("crv")
    return ALGORITHMS.get((str(kind), None if kind == "RSA" else str(curve)), ())


class FetchedKeys:
    """The keys at a URL, fetched by a thread at the start, every few minutes, and for a token with an unknown key."""

    def __init__(self, url: str, setting: str) -> None:
        self.url, self.setting = url, setting
        self.keys: Keys | None = None
        self.fetching: Future[None] | None = None
        self.begun = -math.inf
        self.fetch()
        followed.add(self)

    def current(self) -> Keys | None:
        if time.monotonic() - self.begun > FETCH_INTERVAL:
            self.fetch()
        return self.keys

    def refetch(self) -> Future[None] | None:
        """A fetch, begun now if none is running; None if the last one is too recent."""
        if time.monotonic() - self.begun > MIN_FETCH_INTERVAL:
            self.fetch()
        return self.fetching

    def read_again(self) -> None:
        self.fetch()

    def fetch(self) -> None:
        if self.fetching is None:
            self.fetching, self.begun = Future(), time.monotonic()
            Thread(target=self.run, args=(self.fetching,), name="keys", daemon=True).start()

    def run(self, done: Future[None]) -> None:
        from jwt import PyJWKClient, PyJWTError

        try:
            document = PyJWKClient(self.url, cache_jwk_set=False, timeout=FETCH_TIMEOUT).fetch_data()
            if self.keys is None or self.keys.document != document:
                self.keys = Keys(document)
        except (PyJWTError, UnusableFile, OSError, ValueError) as error:
            log.warning("%s: the keys cannot be fetched: %s", self.setting, error)
        finally:
            self.fetching = None
            done.set_result(None)


class FileKeys:
    """The keys in a file, read again when it changes."""

    def __init__(self, path: str, setting: str) -> None:
        def read() -> Keys:
            try:
                return Keys(json.loads(Path(path).read_bytes()))
            except ValueError:
                raise UnusableFile("expected a JSON Web Key Set, and this is not JSON") from None

        self.current = ReloadingFile([path], setting, read).current

    def refetch(self) -> None:
        return None


class Verifier:
    """Verifies tokens and names their holders."""

    def __init__(self, source: FileKeys | FetchedKeys, issuer: str, audience: frozenset[str], admin_scope: str | None):
        self.source, self.issuer, self.audience, self.admin_scope = source, issuer, audience, admin_scope
        self.keys: Keys | None = None
        self.holders: OrderedDict[bytes, Holder] = OrderedDict()
        """Holders by the digest of their valid token, the least recently used first."""

    def holder(self, token: bytes, digest: bytes) -> Holder:
        """Raises Unauthorized, or KeysWanted while the keys are being fetched."""
        keys = self.source.current()
        if keys is not self.keys:  # a key may have been withdrawn
            self.keys = keys
            self.holders.clear()
        known = self.holders.get(digest)
        if known is not None and known.until > time.time():
            self.holders.move_to_end(digest)
            return known
        holder = self.verified(token, keys)
        if len(self.holders) >= MAX_VERIFIED:
            self.holders.popitem(last=False)
        self.holders[digest] = holder
        return holder

    def verified(self, token: bytes, keys: Keys | None) -> Holder:
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            kid, algorithm = header.get("kid"), header.get("alg")
        except Exception:  # not only PyJWT's: JSON may be nested too deeply
            raise invalid_token("the token is malformed") from None
        if not any(algorithm in allowed for allowed in ALGORITHMS.values()):
            raise invalid_token("the token is not signed with a key pair: expected RS, PS or ES, 256 to 512, or EdDSA")
        key = None if keys is None else keys.key(kid, str(algorithm))
        if key is None:
            self.want_keys()
            raise invalid_token("the token names no suitable key of its issuer")
        try:
            claims = jwt.decode(
                token, key, algorithms=[str(algorithm)], issuer=self.issuer, audience=self.audience, leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )  # fmt: skip
        except Exception as error:  # not only PyJWT's: a time may be out of range
            raise invalid_token(reason_of(error)) from None
        subject = claims.get("sub") or claims.get("client_id") or claims.get("azp") or ""
        return Holder(f"subject {subject}", self.is_admin(claims), float(claims["exp"]) + LEEWAY)

    def want_keys(self) -> None:
        """Raises KeysWanted if the issuer may have new keys."""
        fetching = self.source.refetch()
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


def reason_of(error: Exception) -> str:
    """A text of ours: the library's may quote the token."""
    import jwt

    reasons: dict[Callable[..., Exception], str] = {
        jwt.ExpiredSignatureError: "the token has expired",
        jwt.ImmatureSignatureError: "the token is not valid yet",
        jwt.InvalidIssuedAtError: "the token is not valid yet",
        jwt.InvalidIssuerError: "the token has another issuer",
        jwt.InvalidAudienceError: "the token is for another audience",
        jwt.InvalidSignatureError: "the token's signature is wrong",
    }
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no '{error.claim}'"
    return reasons.get(type(error), "the token is malformed")


def verifier(source: str, issuer: str, audience: frozenset[str], admin_scope: str | None) -> Verifier:
    setting = "--jwt-jwks"
    keys = FetchedKeys(source, setting) if is_url(source) else FileKeys(source, setting)
    return Verifier(keys, issuer, audience, admin_scope)


def is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))
