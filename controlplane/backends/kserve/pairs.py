"""A revision beside the one that serves, and the generator's plans for both: shares, promotion, end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from controlplane.backends.backend import FoundServe, Key
from controlplane.backends.kserve.manifests import ENVIRONMENT, SERVE, own_labels
from controlplane.domain.overlays import merged
from controlplane.domain.problems import FieldProblem
from controlplane.domain.revisions import Content
from generator import (
    Canary,
    ModelFacts,
    ObservedServe,
    RolloutPlan,
    ServeSpec,
    SpecError,
    canary,
    objects_of,
    planned,
    promote,
    undo,
    with_hosts,
)

ANY_HOST = "serve.example.com"
"""Stands in for the host names that only the cluster knows, where they do not matter."""


@dataclass(frozen=True, slots=True)
class RevisionPair:
    """The serve as it was applied, and the revision that is rolled out beside it."""

    baseline: FoundServe
    candidate: FoundServe
    pods: Mapping[str, str] | None = None
    """The labels of the baseline's pods, where they were started for an earlier revision."""

    @property
    def serve(self) -> ServeSpec:
        return labelled_spec(self.baseline, self.pods)

    @property
    def becomes(self) -> ServeSpec:
        return labelled_spec(self.candidate)

    @property
    def facts(self) -> dict[str, ModelFacts]:
        return {**self.baseline.content.facts(), **self.candidate.content.facts()}

    def objects(self) -> list[tuple[str, str]]:
        """What the plans look at, by kind and name. Raises SpecError where nothing can be beside the serve."""
        serve = self.serve
        exposure = serve.exposure.model_copy(update={"hosts": serve.exposure.hosts or [ANY_HOST]})
        known = self.with_canary(serve.model_copy(update={"exposure": exposure}), 0)
        return objects_of(planned(known, self.facts, self.becomes))

    def with_canary(self, spec: ServeSpec, percent: int) -> ServeSpec:
        return spec.model_copy(update={"canary": self.canary(percent)})

    def canary(self, percent: int) -> Canary:
        return Canary(model=self.candidate.content.model_uri, percent=percent)

    def with_hosts(self, observed: ObservedServe) -> tuple[ServeSpec, ServeSpec]:
        """Both specs with the host names that the cluster gives the serve."""
        plan = planned(self.serve, self.facts)
        return with_hosts(self.serve, plan, observed), with_hosts(self.becomes, plan, observed)

    def share(self, observed: ObservedServe, percent: int, before: int | None) -> RolloutPlan:
        """So many percent of the requests for the candidate; `before` is what our route sends it, if there is one."""
        serve, becomes = self.with_hosts(observed)
        spec = serve if before is None else self.with_canary(serve, before)
        return canary(spec, self.canary(percent), self.facts, observed=observed, becomes=becomes)

    def promotion(self, observed: ObservedServe) -> RolloutPlan:
        """The serve becomes the candidate, which answers all requests meanwhile."""
        serve, becomes = self.with_hosts(observed)
        return promote(self.with_canary(serve, 100), self.facts, observed=observed, becomes=becomes)

    def end(self, observed: ObservedServe, before: int | None) -> RolloutPlan:
        """The candidate goes."""
        serve, becomes = self.with_hosts(observed)
        return undo(self.with_canary(serve, before or 0), self.facts, observed=observed, becomes=becomes)


def labelled_spec(found: FoundServe, pods: Mapping[str, str] | None = None) -> ServeSpec:
    """The spec of a revision whose objects and pods say which revision they are."""
    own = own_labels(found.revision, found.content)
    spec = found.content.spec(found.key.serve)
    spec["labels"] = {**spec.get("labels", {}), ENVIRONMENT: found.key.env, SERVE: found.key.serve, **own}
    spec["patch"] = merged(spec.get("patch", {}), {"spec": {"predictor": {"labels": dict(pods or own)}}})
    return ServeSpec.model_validate(spec)


def pair_problems(serve: str, content: Content) -> Iterator[FieldProblem]:
    """Why a revision of this content could not be beside another."""
    if content.environment.mode != "Standard":
        yield FieldProblem(
            "deployment_strategy",
            f"{content.deployment.deployment_strategy}: its steps need mode Standard, and the environment has "
            f"{content.environment.mode}",
            "rolling",
        )
        return
    first = FoundServe(Key("any", serve), 1, content)
    try:
        RevisionPair(first, replace(first, revision=2)).objects()
    except SpecError as error:
        for problem in error.problems:
            yield FieldProblem("deployment_strategy", f"steps: {problem.where} {problem.message}", "rolling")
