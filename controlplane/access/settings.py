"""Who is let in: the tokens of a file and of the store, and the JWTs of an issuer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ControlAccessSettings:
    admin_token_file: str | None = None
    jwt_jwks: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: frozenset[str] = frozenset()
    jwt_deployer_scope: str | None = None
    jwt_approver_scope: str | None = None
    jwt_admin_scope: str | None = None
