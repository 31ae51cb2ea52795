"""What a back end does: it shows what is there, and carries out what was decided. All of it can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from controlplane.decide import Observed
from controlplane.domain.problems import FieldProblem
from controlplane.domain.revisions import Content
from controlplane.domain.rollouts import SmokeRequest
from monitoring.verdict import CounterSource


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A serve in an environment."""

    env: str
    serve: str

    def __str__(self) -> str:
        return f"{self.env}/{self.serve}"


class BackendAway(Exception):
    """The back end does not answer: nothing is known, and nothing is decided."""

    retry_seconds = 1.0


class StillUnderWay(Exception):
    """What was asked for takes time, and goes on when it is asked for again; the message says what is waited for."""


class ApplyRefused(Exception):
    """The back end refuses a revision, and would refuse it again; the message is one line."""


class RequestUnanswered(Exception):
    """A revision has given no answer; the message is one line."""


@dataclass(frozen=True, slots=True)
class SmokeAnswer:
    status: int
    text: str
    """The beginning of the body."""


@dataclass(frozen=True, slots=True)
class FoundServe:
    """A serve that the back end has, with all that is needed to know it again."""

    key: Key
    revision: int
    content: Content


class Backend(Protocol):
    """Raises BackendAway from any of its functions, and StillUnderWay from those that change something."""

    def problems(self, serve: str, content: Content) -> list[FieldProblem]:
        """Why it could not run the content; checked before anything is stored."""
        ...

    def observe(
        self, key: Key, wanted: int | None = None, content: Content | None = None, closely: bool = False
    ) -> Observed:
        """What is there now, compared with the content of the wanted revision; changes nothing.

        `closely` shows what people want to know and no decision needs, too.
        """
        ...

    def apply(self, key: Key, revision: int, content: Content, take_over: bool = False, by_steps: bool = False) -> None:
        """Brings a revision up beside what serves, or up again. Raises ApplyRefused.

        Fields that others have set are overwritten only with `take_over`. `by_steps`: it is to share the requests
        with what serves, which must not change.
        """
        ...

    def dry_run(self, key: Key, revision: int, content: Content) -> Mapping[str, Any] | None:
        """What the back end says to a revision, without it being applied; None if it has nothing to say."""
        ...

    def deployed(self, env: str) -> list[FoundServe]:
        """What it has of an environment, for a store that has lost it."""
        ...

    def split(self, key: Key, weights: Mapping[int, int]) -> None:
        """Sends each revision its percent of the requests, and none to others."""
        ...

    def counters(self, key: Key, revision: int) -> CounterSource:
        """What a revision counts, in one or more pods."""
        ...

    def ask(self, key: Key, revision: int, request: SmokeRequest) -> SmokeAnswer:
        """The answer of a revision, whether others send it requests or not. Raises RequestUnanswered."""
        ...

    def discard(self, key: Key, revision: int) -> None:
        """Ends a revision; one that is stopping already is ended at once."""
        ...

    def forget(self, key: Key) -> None:
        """Lets go of what is kept of a serve that was deleted, such as logs; nothing of it runs any more."""

    def logs(self, key: Key, revision: int, lines: int) -> str:
        """The last lines that a revision has written."""
        ...

    def keys(self) -> list[Key]:
        """Everything that it has and is this control plane's alone, wanted or not."""
        ...

    def owns(self, key: Key) -> bool:
        """Whether what it has of a key is this control plane's alone, so that it is ended if nobody wants it."""
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
