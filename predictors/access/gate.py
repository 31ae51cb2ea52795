"""The gate for requests, where access is limited: it knows the caller, their routes and their rate."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from predictors.access import refusals
from predictors.access.addresses import Addresses
from predictors.access.jwts import KeysWanted, Verifier, verifier
from predictors.access.limits import Limiter
from predictors.access.reloading_file import ReloadingFile
from predictors.access.tokens import MAX_TOKEN, Tokens, digest_of, token_file
from predictors.protocol.errors import RequestError
from predictors.runtime.log_throttle import LogThrottle

if TYPE_CHECKING:
    from predictors.access.settings import AccessSettings

log = logging.getLogger("predictors.gate")

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""
Files: TypeAlias = tuple[ReloadingFile[Tokens], ...]

CLOSED_ROUTE = "this route is for operators: --admin-token-file or --jwt-admin-scope opens it, and neither is set"


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """Which tokens open the routes of one kind."""

    files: Files
    """Files whose tokens open them."""
    callers: bool
    """Whether any valid JWT opens them, or only an operator's."""
    closed: str = ""
    """Why no token opens them."""


class Gate:
    def __init__(self, settings: AccessSettings, rates: Path | None = None) -> None:
        """Workers that share the file `rates` limit their clients together; raises UnusableFile."""
        callers = token_files(settings.token_file, "--token-file")
        admins = token_files(settings.admin_token_file, "--admin-token-file")
        probers = token_files(settings.probe_token_file, "--probe-token-file")
        self.files = callers + admins + probers
        self.verifier = verifier_of(settings)
        self.admin_scope = settings.jwt_admin_scope
        needs_token = bool(callers) or self.verifier is not None
        caller = RoutePolicy(callers + admins, True) if needs_token else None
        prober = RoutePolicy(probers + admins, False) if probers else caller or RoutePolicy(admins, False)
        admin = RoutePolicy(admins, False, "" if admins or settings.jwt_admin_scope else CLOSED_ROUTE)
        self.policies: dict[str, RoutePolicy | None] = {
            "predict": caller,
            "page": caller,
            "probe": prober if "health" in settings.protect else None,
            "metrics": prober if "metrics" in settings.protect else None,
            "hook": None,  # webhooks are signed
            "open": None,
        }
        """By kind of route; None where no token is needed."""
        self.admin = admin if self.files or self.verifier else None
        self.limiter: Limiter | None = None
        if settings.rate_limit is not None:
            self.limiter = Limiter(settings.rate_limit, settings.rate_burst or settings.rate_limit.count, rates)
        self.addresses = Addresses(settings.trusted_proxies, settings.forwarded_header)
        self.refused = LogThrottle()

    @property
    def asks_for_tokens(self) -> bool:
        return self.admin is not None

    def admit(self, kind: str, headers: Headers, peer: str) -> None:
        """Raises the answer to a request that is refused, or KeysWanted while the keys are being fetched."""
        try:
            policy = self.policies.get(kind, self.admin)  # routes of an unknown kind are for operators
            name = "" if policy is None else self.caller(policy, headers)
            if kind == "predict" and self.limiter is not None:
                charge = self.limiter.charge(name or self.addresses.client(peer, headers))
                if charge.wait:
                    raise refusals.too_many(self.limiter, charge)
        except KeysWanted:
            raise
        except RequestError as error:
            self.report(kind, error, peer)
            raise

    async def let_in(self, kind: str, headers: Headers, peer: str) -> None:
        """`admit` that waits for the keys if need be."""
        try:
            self.admit(kind, headers, peer)
        except KeysWanted as wanted:
            await asyncio.wait([asyncio.wrap_future(wanted.fetched)])
            self.admit(kind, headers, peer)

    async def knows(self, headers: Headers, peer: str) -> bool:
        """Whether the sender of a request may read pages; a request without a token is not refused."""
        if self.policies["page"] is None:
            return True
        if not any(name == b"authorization" for name, _ in headers):
            return False
        try:
            await self.let_in("page", headers, peer)
        except RequestError:
            return False
        return True

    def caller(self, policy: RoutePolicy, headers: Headers) -> str:
        """The name of the request's token, if the policy accepts it."""
        if policy.closed:
            raise refusals.closed(policy.closed)
        token = bearer(headers)
        digest = digest_of(token)
        for file in policy.files:
            name = file.current().get(digest)
            if name is not None:
                return name
        if any(digest in file.current() for file in self.files):
            raise refusals.not_enough(self.admin_scope)
        if self.verifier is None or token.count(b".") != 2:
            raise refusals.invalid_token("the token is not known")
        holder = self.verifier.holder(token, digest)
        if not (policy.callers or holder.admin):
            raise refusals.not_enough(self.admin_scope)
        return holder.name

    def report(self, kind: str, error: RequestError, peer: str) -> None:
        """Logs a summary of refusals, at most once a minute."""
        log.debug("refused a request (%s) from %s: %d %s", kind, peer, error.status, error)
        if refused := self.refused.due():
            log.info("refused %d requests; the last one (%s) from %s: %s", refused, kind, peer, error)


def bearer(headers: Headers) -> bytes:
    """The token in the Authorization header."""
    credentials = None
    for name, value in headers:
        if name == b"authorization":
            if credentials is not None:
                raise refusals.two_tokens()
            credentials = value
    if credentials is None or credentials[:7].lower() != b"bearer ":
        raise refusals.no_token()
    if len(credentials) > MAX_TOKEN:
        raise refusals.invalid_token(f"the token is longer than {MAX_TOKEN} bytes")
    return credentials[7:].strip()


def token_files(path: str | None, setting: str) -> Files:
    return (token_file(path, setting),) if path else ()


def verifier_of(settings: AccessSettings) -> Verifier | None:
    if settings.jwt_jwks is None:
        return None
    return verifier(settings.jwt_jwks, settings.jwt_issuer or "", settings.jwt_audience, settings.jwt_admin_scope)


def gate_of(settings: AccessSettings, rates: Path | None = None) -> Gate | None:
    """The gate for these settings; None where they limit nothing."""
    limits = (
        settings.token_file, settings.admin_token_file, settings.probe_token_file, settings.jwt_jwks,
        settings.rate_limit,
    )  # fmt: skip
    return Gate(settings, rates) if any(limits) else None
