"""Pairings: a model, the candidate beside it, and which requests the candidate gets."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from predictors.processes.files import write


@dataclass(frozen=True, slots=True)
class Pairing:
    """It has a number of its own, like a model: all workers switch to it as they switch to a model."""

    model: int
    candidate: int
    mode: str
    share: float
    key: str | None


class Pairings:
    """By number, in files that all workers read and the leader writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, number: int, pairing: Pairing) -> None:
        write(self.file(number), json.dumps(asdict(pairing)).encode())

    def get(self, number: int) -> Pairing | None:
        """None if the number is a model's."""
        try:
            return Pairing(**json.loads(self.file(number).read_bytes()))
        except FileNotFoundError:
            return None

    def model_of(self, number: int) -> int:
        """The number of the model itself."""
        pairing = self.get(number)
        return number if pairing is None else pairing.model

    def members(self, number: int) -> tuple[int, ...]:
        """The numbers of the models that answer under this number."""
        pairing = self.get(number)
        return (number,) if pairing is None else (pairing.model, pairing.candidate)

    def drop_all_but(self, kept: Collection[int]) -> None:
        for file in self.folder.glob("pairing-*"):
            if int(file.name.partition("-")[2]) not in kept:
                file.unlink(missing_ok=True)

    def file(self, number: int) -> Path:
        return self.folder / f"pairing-{number}"
