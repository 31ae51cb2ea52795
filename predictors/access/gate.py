"""The gate that every request passes where access is limited: who it is, what they may, and how often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from predictors.access import refusals
from predictors.access.addresses import Addresses
from predictors.access.jwts import KeysWanted, Verifier, verifier
from predictors.access.limits import Limiter
from predictors.access.reloading_file import ReloadingFile
from predictors.access.tokens import LONGEST, Tokens, digest_of, token_file
from predictors.protocol.errors import RequestError

if TYPE_CHECKING:
    from predictors.access.settings import AccessSettings

log = logging.getLogger("predictors.gate")

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""
Files: TypeAlias = tuple[ReloadingFile[Tokens], ...]

REPORT_EVERY = 60.0  # seconds
CLOSED = "this is for operators: --admin-token-file or --jwt-admin-scope opens it, and neither is set"


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """What opens the routes of one kind."""

    files: Files
    """Whose tokens do."""
    callers: bool
    """Whether every good JWT does, or only an operator's."""
    closed: str = ""
    """Why nothing does."""


class Gate:
    def __init__(self, settings: AccessSettings, rates: Path | None = None) -> None:
        """Workers that give the same file for `rates` limit their clients together; raises UnusableFile."""
        callers = files(settings.token_file, "--token-file")
        admins = files(settings.admin_token_file, "--admin-token-file")
        probers = files(settings.probe_token_file, "--probe-token-file")
        self.files = callers + admins + probers
        self.verifier = verifier_of(settings)
        self.admin_scope = settings.jwt_admin_scope
        known = bool(callers) or self.verifier is not None
        caller = RoutePolicy(callers + admins, True) if known else None
        prober = RoutePolicy(probers + admins, False) if probers else caller or RoutePolicy(admins, False)
        admin = RoutePolicy(admins, False, "" if admins or settings.jwt_admin_scope else CLOSED)
        self.doors: dict[str, RoutePolicy | None] = {
            "predict": caller,
            "page": caller,
            "probe": prober if "health" in settings.protect else None,
            "metrics": prober if "metrics" in settings.protect else None,
            "hook": None,  # it knows its senders by their signatures
            "open": None,
        }
        """By kind of route; none where everybody comes in."""
        self.admin = admin if self.files or self.verifier else None
        self.limiter: Limiter | None = None
        if settings.rate_limit is not None:
            self.limiter = Limiter(settings.rate_limit, settings.rate_burst or settings.rate_limit.count, rates)
        self.addresses = Addresses(settings.trusted_proxies, settings.forwarded_header)
        self.refused, self.report_at = 0, 0.0

    @property
    def asks_for_tokens(self) -> bool:
        return self.admin is not None

    def admit(self, kind: str, headers: Headers, peer: str) -> None:
        """Raises what is to be answered to a request that may not come in; KeysWanted if it cannot be said yet."""
        try:
            door = self.doors.get(kind, self.admin)  # what is of no known kind is for operators
            name = "" if door is None else self.visitor(door, headers)
            if kind == "predict" and self.limiter is not None:
                charge = self.limiter.charge(name or self.addresses.client(peer, headers))
                if charge.wait:
                    raise refusals.too_many(self.limiter, charge)
        except KeysWanted:
            raise
        except RequestError as error:
            self.note(kind, error, peer)
            raise

    async def let_in(self, kind: str, headers: Headers, peer: str) -> None:
        """The same, for those who can wait."""
        try:
            self.admit(kind, headers, peer)
        except KeysWanted as wanted:
            await asyncio.wait([asyncio.wrap_future(wanted.fetched)])
            self.admit(kind, headers, peer)

    async def knows(self, headers: Headers, peer: str) -> bool:
        """Whether the sender of a request may read pages; nobody has to say who they are."""
        if self.doors["page"] is None:
            return True
        if not any(name == b"authorization" for name, _ in headers):
            return False
        try:
            await self.let_in("page", headers, peer)
        except RequestError:
            return False
        return True

    def visitor(self, door: RoutePolicy, headers: Headers) -> str:
        """The name of a token that opens the door."""
        if door.closed:
            raise refusals.closed(door.closed)
        token = bearer(headers)
        digest = digest_of(token)
        for file in door.files:
            name = file.current().get(digest)
            if name is not None:
                return name
        if any(digest in file.current() for file in self.files):
            raise refusals.not_enough(self.admin_scope)
        if self.verifier is None or token.count(b".") != 2:
            raise refusals.invalid_token("the token is not known")
        holder = self.verifier.holder(token, digest)
        if not (door.callers or holder.admin):
            raise refusals.not_enough(self.admin_scope)
        return holder.name

    def note(self, kind: str, error: RequestError, peer: str) -> None:
        """In the log, but not once for each of a flood."""
        log.debug("refused a request (%s) from %s: %d %s", kind, peer, error.status, error)
        self.refused += 1
        now = time.monotonic()
        if now >= self.report_at:
            log.info("refused %d requests; the last one (%s) from %s: %s", self.refused, kind, peer, error)
            self.refused, self.report_at = 0, now + REPORT_EVERY


def bearer(headers: Headers) -> bytes:
    found = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise refusals.two_tokens()
            found = value
    if found is None or found[:7].lower() != b"bearer ":
        raise refusals.no_token()
    if len(found) > LONGEST:
        raise refusals.invalid_token(f"the token is longer than {LONGEST} bytes")
    return found[7:].strip()


def files(path: str | None, setting: str) -> Files:
    return (token_file(path, setting),) if path else ()


def verifier_of(settings: AccessSettings) -> Verifier | None:
    if settings.jwt_jwks is None:
        return None
    return verifier(settings.jwt_jwks, settings.jwt_issuer or "", settings.jwt_audience, settings.jwt_admin_scope)


def gate_of(settings: AccessSettings, rates: Path | None = None) -> Gate | None:
    """The gate that the settings ask for; None where everybody may do everything."""
    asked = (
        settings.token_file, settings.admin_token_file, settings.probe_token_file, settings.jwt_jwks,
        settings.rate_limit,
    )  # fmt: skip
    return Gate(settings, rates) if any(asked) else None
