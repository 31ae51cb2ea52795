"""Tokens of the store: made, rotated and withdrawn. A token is shown once; only its digest is kept."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import Connection

from controlplane.access.callers import EVERYWHERE, Role
from controlplane.domain.bodies import Body, read
from controlplane.domain.problems import conflict, wrong_field
from controlplane.store import tokens
from controlplane.store.tokens import StoredToken

DAY = 86400.0
Place = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z]([-a-z0-9]*[a-z0-9])?)$")]


class NewToken(Body):
    """The body that makes a token."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=63)]
    roles: Annotated[dict[Place, Role], Field(min_length=1)]
    """a role by the name of an environment; * stands for all"""
    days: Annotated[float, Field(gt=0, le=3650)] = 90
    """until it expires"""


def issue(tx: Connection, now: float, author: str, body: Any, closes: bool) -> tuple[StoredToken, str]:
    """A new token, and its text, which is not kept. `closes` if from now on every caller needs one."""
    said = read(body, NewToken)
    if closes and said.roles.get(EVERYWHERE) != "admin":
        raise wrong_field(
            "roles", "lets nobody make another token, and every caller needs one from now on", '{"*": "admin"} first'
        )  # fmt: skip
    if tokens.find(tx, said.name) is not None:
        raise conflict(f"there is a token '{said.name}' already", "choose another name, or rotate it")
    text, sha256 = new_text()
    return tokens.add(tx, now, said.name, sha256, said.roles, author, now + said.days * DAY), text


def rotate(tx: Connection, now: float, old: StoredToken) -> tuple[StoredToken, str]:
    """The token with a new text, valid for as long as the old one was; the old text is valid no more."""
    text, sha256 = new_text()
    tokens.replace_digest(tx, old.name, sha256, now + (old.expires_at - old.created_at))
    return tokens.get(tx, old.name), text


def new_text() -> tuple[str, str]:
    text = f"mk_{secrets.token_urlsafe(32)}"
    return text, hashlib.sha256(text.encode()).hexdigest()
