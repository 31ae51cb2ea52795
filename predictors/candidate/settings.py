"""The settings of the candidate that a server begins with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from predictors.settings.declare import SettingError, setting
from predictors.settings.values import choice, share
from predictors.uris import ModelURI

MODES = ("split", "shadow")
DEFAULT_SHARE = 0.1
KEY_KINDS = ("header", "column", "entity")
MAX_KEY = 256  # characters
HEADER_NAME = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")


def key(text: str) -> str:
    """The text of a request's key, which `request_key` reads."""
    kind, _, name = text.partition(":")
    if kind not in KEY_KINDS or not name.strip() or len(text) > MAX_KEY:
        raise ValueError("expected header:NAME, column:NAME or entity:NAME")
    if kind == "header" and not HEADER_NAME.fullmatch(name.strip()):
        raise ValueError("expected the name of a header after header:")
    return text


@dataclass(frozen=True)
class CandidateSettings:
    candidate: str | None = setting(
        None,
        "URI of a second model beside the first, for example models:/fraud@challenger",
        group="Candidate",
        metavar="URI",
    )
    candidate_mode: str = setting(
        "split",
        "what the candidate is for: 'split' has it answer a share of the requests, 'shadow' asks it afterwards and "
        "compares its answers with the model's",
        choice(*MODES),
        group="Candidate",
    )
    candidate_share: float | None = setting(
        None,
        "share of the requests that the candidate gets, such as 10% or 0.1",
        share,
        group="Candidate",
        shown="the version's tag candidate_share, else 10%",
        metavar="SHARE",
    )
    candidate_key: str | None = setting(
        None,
        "header:NAME, column:NAME or entity:NAME: requests with the same value there are always treated alike",
        key,
        group="Candidate",
        metavar="KEY",
    )


def check(settings: CandidateSettings) -> None:
    if settings.candidate is not None and ModelURI.parse(settings.candidate).is_unversioned:
        raise SettingError(
            f"--candidate: {settings.candidate} names no version; expected models:/NAME/VERSION or models:/NAME@ALIAS"
        )
