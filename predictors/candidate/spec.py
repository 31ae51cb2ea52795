"""What is wanted of a candidate, as settings or a request say it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from predictors.candidate.settings import MODES, CandidateSettings, key
from predictors.processes.files import write
from predictors.protocol.casting import json_type
from predictors.protocol.errors import InvalidInput
from predictors.settings.values import share
from predictors.uris import ModelURI

MAX_URI = 2048  # characters
MAX_NAME = 100  # characters of an unknown key in a message


@dataclass(frozen=True, slots=True)
class CandidateSpec:
    uri: str
    mode: str = "split"
    share: float | None = None
    """None: the version's tag decides."""
    key: str | None = None


def spec_of_settings(settings: CandidateSettings) -> CandidateSpec | None:
    if settings.candidate is None:
        return None
    return CandidateSpec(
        settings.candidate, settings.candidate_mode, settings.candidate_share, settings.candidate_key
    )  # fmt: skip


def spec_of_request(body: Mapping[str, Any]) -> CandidateSpec:
    """The object that a request puts; raises `InvalidInput`."""
    known = [*CandidateSpec.__dataclass_fields__]
    if unknown := [name for name in body if name not in known]:
        raise InvalidInput(f"unknown key '{unknown[0][:MAX_NAME]}'; expected {', '.join(known)}")
    uri, mode = body.get("uri"), body.get("mode", "split")
    if not isinstance(uri, str) or not uri or len(uri) > MAX_URI:
        raise InvalidInput("'uri' must be the URI of a model, such as models:/fraud/3 or models:/fraud@challenger")
    if ModelURI.parse(uri).is_unversioned:
        raise InvalidInput("'uri' names no version: expected models:/NAME/VERSION or models:/NAME@ALIAS")
    if mode not in MODES:
        raise InvalidInput(f"'mode' must be {' or '.join(MODES)}")
    return CandidateSpec(uri, mode, share_of(body.get("share")), key_of(body.get("key")))


def share_of(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InvalidInput(f"'share' must be a number from 0 to 1 or a text like 10%, got {json_type(value)}")
    try:
        return share(str(value))
    except ValueError as error:
        raise InvalidInput(f"'share': {error}") from None


def key_of(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return key(value if isinstance(value, str) else "")
    except ValueError as error:
        raise InvalidInput(f"'key': {error}") from None


class WantedCandidate:
    """The candidate that is wanted, in a file that all workers read and the leader writes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "candidate"

    def get(self) -> CandidateSpec | None:
        if not self.file.exists():
            return None
        fields = json.loads(self.file.read_bytes())
        return None if fields is None else CandidateSpec(**fields)

    def set(self, spec: CandidateSpec | None) -> None:
        write(self.file, json.dumps(None if spec is None else asdict(spec)).encode())

    def begin(self, spec: CandidateSpec | None) -> None:
        """What the settings name, unless the server has gone on from there."""
        if not self.file.exists():
            self.set(spec)
