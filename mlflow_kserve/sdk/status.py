"""What is known of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

State = Literal["CREATED", "PENDING", "RUNNING", "STOPPED", "ERROR"]


class ServiceAddress(TypedDict):
    """Where a run answers."""

    url: str


@dataclass(frozen=True, slots=True)
class RunStatus:
    state: State
    service: ServiceAddress | None = None
    """Where it answers, once it does."""
    message: str = ""
    """Why it does not, as far as that is known."""

    @property
    def has_settled(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in ("RUNNING", "STOPPED", "ERROR")


class UnusableFunction(ValueError):
    """A function or a run that cannot be made as it is said; the message names what is wrong."""


class NotServing(Exception):
    """A run that does not answer; the message has its state, and the reason where one is known."""
