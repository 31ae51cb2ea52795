"""What a back end does: it shows what is there, and carries out what was decided. All of it can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from controlplane.decide import Observed
from controlplane.domain.problems import FieldProblem
from controlplane.domain.revisions import Content


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A serve in an environment."""

    env: str
    serve: str

    def __str__(self) -> str:
        return f"{self.env}/{self.serve}"


class BackendAway(Exception):
    """The back end does not answer: nothing is known, and nothing is decided."""


class Backend(Protocol):
    """Raises BackendAway from any of its functions."""

    def problems(self, serve: str, content: Content) -> list[FieldProblem]:
        """Why it could not run the content; checked before anything is stored."""
        ...

    def observe(self, key: Key) -> Observed:
        """What is there now; changes nothing."""
        ...

    def apply(self, key: Key, revision: int, content: Content) -> None:
        """Brings a revision up beside what serves, or up again."""
        ...

    def promote(self, key: Key, revision: int) -> None:
        """Sends all requests to a revision."""
        ...

    def discard(self, key: Key, revision: int) -> None:
        """Ends a revision; one that is stopping already is ended at once."""
        ...

    def logs(self, key: Key, revision: int, lines: int) -> str:
        """The last lines that a revision has written."""
        ...

    def keys(self) -> list[Key]:
        """Everything that it has, wanted or not."""
        ...

    def tend(self) -> None:
        """Keeps up what all serves share."""
        ...

    def watch(self, changed: Callable[[Key | None], None]) -> None:
        """Calls back with a key that may have changed; None stands for what all share."""
        ...

    def close(self) -> None:
        """Lets go of it; what serves goes on serving."""
        ...
