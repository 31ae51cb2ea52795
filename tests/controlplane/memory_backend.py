"""A back end in memory, for tests: its revisions start, answer and fail when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from controlplane.backends.backend import (
    ApplyRefused,
    Backend,
    BackendAway,
    FoundServe,
    Key,
    RequestUnanswered,
    SmokeAnswer,
)
from controlplane.decide import Instance, Observed, Phase
from controlplane.domain.problems import FieldProblem
from controlplane.domain.revisions import Content
from controlplane.domain.rollouts import SmokeRequest
from monitoring.verdict import CounterSource
from monitoring.verdict.sources import CounterSample

BACKOFF = 1.0


class CountedRequests(CounterSource):
    """The metrics of a revision whose requests a test counts."""

    def __init__(self) -> None:
        self.requests = self.errors = self.slow = 0

    def add(self, requests: int, errors: int = 0, slow: int = 0) -> None:
        """Requests that fail, those that take between 0.1 and 0.25 s, and others of a millisecond."""
        self.requests, self.errors, self.slow = self.requests + requests, self.errors + errors, self.slow + slow

    def read(self) -> dict[str, list[CounterSample]]:
        answered = self.requests - self.errors
        return {"pod": [
            CounterSample("model_loaded", {}, 1),
            CounterSample("model_predictions_total", {}, self.requests),
            CounterSample("model_prediction_errors_total", {"error_type": "model_error"}, self.errors),
            *(
                CounterSample("model_prediction_latency_seconds_bucket", {"le": edge}, count)
                for edge, count in (("0.001", answered - self.slow), ("0.1", answered - self.slow), ("0.25", answered),
                                    ("+Inf", answered))
            ),
        ]}  # fmt: skip


class MemoryBackend(Backend):
    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.instances: dict[Key, dict[int, Instance]] = {}
        self.weights: dict[Key, dict[int, int]] = {}
        self.contents: dict[tuple[Key, int], Content] = {}
        self.calls: list[tuple[str, Key, int]] = []
        self.forgotten: list[Key] = []
        self.broken: set[str] = set()
        """URIs of models that never start."""
        self.slow: set[str] = set()
        """URIs of models that start and are never ready."""
        self.refused: set[str] = set()
        """URIs of models that it does not take."""
        self.counted: dict[tuple[Key, int], CountedRequests] = {}
        self.answers: dict[str, SmokeAnswer] = {}
        self.away = False
        self.before_apply: Callable[[Key, int], None] = lambda key, revision: None

    def answer(self) -> None:
        if self.away:
            raise BackendAway("the back end is away")

    def problems(self, serve: str, content: Content) -> list[FieldProblem]:
        return []

    def observe(
        self, key: Key, wanted: int | None = None, content: Content | None = None, closely: bool = False
    ) -> Observed:
        self.answer()
        listed = tuple(self.instances.get(key, {}).values())
        weights = self.weights.get(key, {})
        return Observed(listed, weights, f"http://{key.serve}.{key.env}" if weights else None)

    @property
    def serving(self) -> dict[Key, int]:
        """The revision that most requests go to."""
        observed = {key: Observed(weights=weights) for key, weights in self.weights.items()}
        return {key: one.serving for key, one in observed.items() if one.serving is not None}

    def apply(self, key: Key, revision: int, content: Content, take_over: bool = False, by_steps: bool = False) -> None:
        self.answer()
        if content.model_uri in self.refused:
            raise ApplyRefused("not that one")
        self.before_apply(key, revision)
        self.calls.append(("apply", key, revision))
        self.contents[key, revision] = content
        old = self.instances.setdefault(key, {}).get(revision)
        starts = old.starts + 1 if old else 1
        now = self.now()
        phase: Phase = (
            "failed" if content.model_uri in self.broken else "starting" if content.model_uri in self.slow else "ready"
        )
        self.instances[key][revision] = Instance(
            revision, phase, now, starts, now + BACKOFF, "it is broken" if phase == "failed" else ""
        )

    def split(self, key: Key, weights: Mapping[int, int]) -> None:
        self.answer()
        assert all(revision in self.instances[key] for revision in weights)
        assert sum(weights.values()) == 100
        self.calls.extend(("split", key, revision) for revision in weights)
        self.weights[key] = dict(weights)

    def counters(self, key: Key, revision: int) -> CountedRequests:
        return self.counted.setdefault((key, revision), CountedRequests())

    def ask(self, key: Key, revision: int, request: SmokeRequest) -> SmokeAnswer:
        self.answer()
        self.calls.append(("ask", key, revision))
        if request.path not in self.answers:
            raise RequestUnanswered("no answer")
        return self.answers[request.path]

    def discard(self, key: Key, revision: int) -> None:
        self.answer()
        self.calls.append(("discard", key, revision))
        del self.instances[key][revision]
        self.weights.get(key, {}).pop(revision, None)

    def crash(self, key: Key, revision: int) -> None:
        """The process of a revision ends by itself."""
        old = self.instances[key][revision]
        self.instances[key][revision] = replace(old, phase="failed", starts=1, due_at=self.now() + BACKOFF)

    def dry_run(self, key: Key, revision: int, content: Content) -> Mapping[str, Any] | None:
        return None

    def deployed(self, env: str) -> list[FoundServe]:
        return []

    def logs(self, key: Key, revision: int, lines: int) -> str:
        return "a line\n" * lines

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)

    def keys(self) -> list[Key]:
        self.answer()
        return [key for key, listed in self.instances.items() if listed]

    def owns(self, key: Key) -> bool:
        return True

    def tend(self) -> None:
        self.answer()

    def watch(self, changed: Callable[[Key | None], None]) -> None:
        pass

    def close(self) -> None:
        pass
