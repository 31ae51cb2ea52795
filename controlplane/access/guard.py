"""Recognizes callers. The checks themselves are the predictor's: `predictors.access`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from controlplane.access.callers import ANYBODY, EVERYWHERE, ApiCaller, Role
from controlplane.access.settings import ControlAccessSettings
from controlplane.domain.problems import ApiProblem
from controlplane.store import tokens
from controlplane.store.database import Store
from predictors.access.gate import bearer
from predictors.access.jwts import FetchedKeys, FileKeys, KeysWanted, Verifier, is_url
from predictors.access.refusals import RequestError, invalid_token
from predictors.access.reloading_file import SettingError
from predictors.access.tokens import digest_of, token_file

KEYS_SECONDS = 5.0
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class UnusableAccess(Exception):
    """A file of tokens or keys that cannot be used; the message names its setting."""


class CallerGuard:
    """Names the caller of each request. Without any token or issuer, the API is open on this machine alone."""

    def __init__(self, settings: ControlAccessSettings, store: Store, may_be_open: bool = True) -> None:
        """`may_be_open` unless other machines reach the API. Raises UnusableAccess."""
        self.store, self.may_be_open = store, may_be_open
        admins = settings.admin_token_file
        try:
            self.admins = token_file(admins, "--admin-token-file") if admins else None
            self.verifiers = verifiers_of(settings)
        except SettingError as error:
            raise UnusableAccess(str(error)) from None

    def is_open(self) -> bool:
        """Whether nobody needs a token, because none is known."""
        return self.may_be_open and not self.knows_callers()

    def knows_callers(self) -> bool:
        if self.admins is not None or self.verifiers:
            return True
        with self.store.reading() as tx:
            return bool(tokens.everything(tx))

    def caller(self, headers: Sequence[tuple[bytes, bytes]]) -> ApiCaller:
        """Raises ApiProblem: 401 without a token that is known."""
        if self.is_open():
            refuse_other_hosts(headers)
            return ANYBODY
        try:
            token = bearer(headers)
            return self.holder(token)
        except KeysWanted as wanted:
            wanted.fetched.result(KEYS_SECONDS)
            return self.retried(lambda: self.holder(token))
        except RequestError as error:
            raise refused(error) from None

    def retried(self, check: Callable[[], ApiCaller]) -> ApiCaller:
        try:
            return check()
        except RequestError as error:
            raise refused(error) from None

    def holder(self, token: bytes) -> ApiCaller:
        digest = digest_of(token)
        name = self.admins.current().get(digest) if self.admins else None
        if name is not None:
            return ApiCaller(name, {EVERYWHERE: "admin"})
        with self.store.reading() as tx:
            known = tokens.by_digest(tx, digest.hex())
        if known is not None:
            if known.expires_at <= self.store.now():
                raise invalid_token("the token has expired")
            return ApiCaller(f"token {known.name}", known.roles)
        if not self.verifiers or token.count(b".") != 2:
            raise invalid_token("the token is not known")
        for role, verifier in self.verifiers:
            holder = verifier.holder(token, digest)
            if role == "viewer" or holder.admin:
                return ApiCaller(holder.name, {EVERYWHERE: role})
        raise AssertionError("the last verifier lets every valid token view")


def verifiers_of(settings: ControlAccessSettings) -> list[tuple[Role, Verifier]]:
    """One for each role that a scope gives, the highest first; any valid token may view."""
    if settings.jwt_jwks is None:
        return []
    setting = "--jwt-jwks"
    keys = (
        FetchedKeys(settings.jwt_jwks, setting) if is_url(settings.jwt_jwks) else FileKeys(settings.jwt_jwks, setting)
    )
    scopes: list[tuple[Role, str | None]] = [
        ("admin", settings.jwt_admin_scope),
        ("approver", settings.jwt_approver_scope),
        ("deployer", settings.jwt_deployer_scope),
        ("viewer", None),
    ]
    return [
        (role, Verifier(keys, settings.jwt_issuer or "", settings.jwt_audience, scope))
        for role, scope in scopes
        if scope is not None or role == "viewer"
    ]


def refused(error: RequestError) -> ApiProblem:
    way_out = "send a token that is valid: 'Authorization: Bearer …'"
    return ApiProblem(error.status, str(error), way_out=way_out, headers=error.headers)


def refuse_other_hosts(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """A page in a browser of this machine could otherwise reach an open API under a name of its own."""
    host = next((value.decode("latin-1") for name, value in headers if name == b"host"), "")
    origin = next((value.decode("latin-1") for name, value in headers if name == b"origin"), None)
    if origin is not None and not is_local_name(origin.partition("://")[2]):
        raise ApiProblem(
            403, f"the API is open to this machine alone, and the request comes from a page of {origin[:100]!r}",
            way_out="start the control plane with tokens",
        )  # fmt: skip
    if not is_local_name(host):
        raise ApiProblem(
            421, f"the API is open to this machine alone, and {host[:100]!r} is not a name of it",
            way_out="ask http://localhost, or start the control plane with tokens",
        )  # fmt: skip


def is_local_name(host: str) -> bool:
    """Whether a host, with or without a port, is a name of this machine."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name.lower() in LOCAL_NAMES


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
