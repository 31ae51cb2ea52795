"""Rollouts in a simulated cluster: whatever happens in between, they end where they should, and callers get answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator import Canary, ModelFacts, ObservedServe, RolloutPlan, ServeSpec, canary, promote, render, rollback, undo
from generator.rollout.drive import RolloutStopped, drive
from tests.generator.rollout.simulated import DriverEnded, KnativeCluster, SimulatedCluster, StandardCluster

FACTS = {f"models:/fraud/{version}": ModelFacts("sklearn", 40_000) for version in range(6, 10)}
WAIT = 300  # seconds of the simulated clock
BAD = "models:/fraud/9"
seeds = st.integers(0, 2**32 - 1)
percents = st.sampled_from([1, 10, 50, 99, 100])


def spec(mode: str = "Standard", **more: Any) -> ServeSpec:
    base = {"name": "fraud", "namespace": "ml", "model": "models:/fraud/7", "replicas": {"min": 2, "max": 6}}
    exposure = {"exposure": {"domain_suffix": "example.com"}} if mode == "Standard" else {}
    return ServeSpec.model_validate({**base, **exposure, "mode": mode, **more})


def cluster_of(mode: str, seed: int) -> SimulatedCluster:
    """A cluster with nothing in it but a model that never gets ready."""
    kind = StandardCluster if mode == "Standard" else KnativeCluster
    return kind(random.Random(seed), frozenset({BAD}))


def deployed(serve: ServeSpec, seed: int) -> SimulatedCluster:
    cluster = cluster_of(serve.mode, seed)
    for document in render(serve, FACTS):
        cluster.store(document)
    cluster.settle()
    return cluster


def models(cluster: SimulatedCluster) -> dict[str, int]:
    assert isinstance(cluster, StandardCluster | KnativeCluster)
    return cluster.models()


Planner = Callable[[ObservedServe | None], RolloutPlan]


def carried_out(cluster: SimulatedCluster, planner: Planner, interruptions: list[int] | None = None) -> ServeSpec:
    """Carries a plan out with interruptions; after each, the plan is made again of what is there, or done again."""
    first = planner(cluster.observe())
    for number, actions in enumerate(interruptions or []):
        cluster.actions_left = actions
        again = planner(cluster.observe()) if number % 2 else first
        try:
            drive(again, cluster, lambda progress: None, WAIT)
        except DriverEnded:
            for _ in range(cluster.chance.randrange(40)):
                cluster.pause()
        finally:
            cluster.actions_left = None
    last = first if len(interruptions or []) % 2 else planner(cluster.observe())
    drive(last, cluster, lambda progress: None, WAIT)
    cluster.settle()
    cluster.check()
    return last.spec


@contextmanager
def never_back(cluster: SimulatedCluster, model: str) -> Iterator[None]:
    """Once a model has all of the traffic, no other gets any."""
    check, alone = cluster.check, False

    def checked() -> None:
        nonlocal alone
        check()
        alone = alone or set(models(cluster)) == {model}
        assert not alone or set(models(cluster)) == {model}

    with patch.object(cluster, "check", checked):
        yield


def is_as_rendered(cluster: SimulatedCluster, serve: ServeSpec) -> None:
    """What is there of InferenceServices and our routes is what a fresh render says."""
    documents = {(each["kind"], each["metadata"]["name"]): each for each in render(serve, FACTS)}
    kinds = {"InferenceService", "PodDisruptionBudget", "HTTPRoute"}
    made_by_kserve = {("HTTPRoute", name) for name in ("fraud", "fraud-predictor")}
    there = {key for key in cluster.objects if key[0] in kinds} - made_by_kserve
    assert there == {key for key in documents if key[0] in kinds}
    for key in there:
        stored, wanted = cluster.objects[key], documents[key]
        assert stored["metadata"]["labels"] == wanted["metadata"]["labels"], key
        assert without_pods(stored["spec"]) == without_pods(wanted["spec"]), key


def without_pods(content: Any) -> Any:
    """Numbers of pods follow what runs, and a weight that stands alone is any."""
    if isinstance(content, list):
        return [without_pods(each) for each in content]
    if not isinstance(content, dict):
        return content
    alone = len(content.get("backendRefs", [])) == 1
    dropped = {"minReplicas", "maxReplicas"}
    result = {key: without_pods(value) for key, value in content.items() if key not in dropped}
    if alone:
        result["backendRefs"] = [{key: value for key, value in content["backendRefs"][0].items() if key != "weight"}]
    return result


few = settings(max_examples=15)
interrupted = st.lists(st.integers(1, 12), max_size=4)
modes = pytest.mark.parametrize("mode", ["Standard", "Knative"])


@modes
@few
@given(seed=seeds, percent=percents, more=percents, breaks=st.lists(interrupted, min_size=4, max_size=4))
def test_a_rollout_from_begin_to_end(mode: str, seed: int, percent: int, more: int, breaks: list[list[int]]) -> None:
    stable = spec(mode)
    cluster = deployed(stable, seed)
    eight = Canary(model="models:/fraud/8", percent=percent)
    one = carried_out(cluster, lambda seen: canary(stable, eight, FACTS, observed=seen), breaks[0])
    assert models(cluster).get("models:/fraud/8") == percent
    is_as_rendered(cluster, one)
    changed = eight.model_copy(update={"percent": more})
    two = carried_out(cluster, lambda seen: canary(one, changed, FACTS, observed=seen), breaks[1])
    assert models(cluster).get("models:/fraud/8") == more
    with never_back(cluster, "models:/fraud/8"):
        three = carried_out(cluster, lambda seen: promote(two, FACTS, observed=seen), breaks[2])
    assert models(cluster) == {"models:/fraud/8": 100}
    assert three.model == "models:/fraud/8"
    is_as_rendered(cluster, three)
    four = carried_out(cluster, lambda seen: undo(three, FACTS, observed=seen), breaks[3])
    assert models(cluster) == {"models:/fraud/7": 100}
    assert (four.model, four.previous) == ("models:/fraud/7", None)
    is_as_rendered(cluster, four)


@modes
@few
@given(seed=seeds, percent=percents, breaks=st.lists(interrupted, min_size=4, max_size=4))
def test_a_rollout_that_is_taken_back(mode: str, seed: int, percent: int, breaks: list[list[int]]) -> None:
    stable = spec(mode)
    cluster = deployed(stable, seed)
    eight = Canary(model="models:/fraud/8", percent=percent)
    one = carried_out(cluster, lambda seen: canary(stable, eight, FACTS, observed=seen), breaks[0])
    two = carried_out(cluster, lambda seen: rollback(one, FACTS, observed=seen), breaks[1])
    assert models(cluster) == {"models:/fraud/7": 100}
    is_as_rendered(cluster, two)
    again = carried_out(cluster, lambda seen: canary(two, eight, FACTS, observed=seen), breaks[2])
    assert models(cluster).get("models:/fraud/8") == percent
    three = carried_out(cluster, lambda seen: undo(again, FACTS, observed=seen), breaks[3])
    assert models(cluster) == {"models:/fraud/7": 100}
    is_as_rendered(cluster, three)


@few
@given(seed=seeds, breaks=interrupted)
def test_the_end_of_a_rollback_in_knative_never_serves_the_bad_version(seed: int, breaks: list[int]) -> None:
    stable = spec("Knative")
    cluster = deployed(stable, seed)
    eight = Canary(model="models:/fraud/8", percent=10)
    one = carried_out(cluster, lambda seen: canary(stable, eight, FACTS, observed=seen))
    two = carried_out(cluster, lambda seen: rollback(one, FACTS, observed=seen))
    round_ = cluster.control

    def watched() -> None:
        round_()
        assert models(cluster) == {"models:/fraud/7": 100}

    cluster.control = watched  # type: ignore[method-assign]
    three = carried_out(cluster, lambda seen: undo(two, FACTS, observed=seen), breaks)
    six = three.model_copy(update={"model": "models:/fraud/6"})
    cluster.control = round_  # type: ignore[method-assign]
    for document in render(six, FACTS):
        cluster.store(document)
    cluster.settle()
    assert models(cluster) == {"models:/fraud/6": 100}, "later versions get traffic again"


@modes
@few
@given(seed=seeds, breaks=interrupted)
def test_a_canary_that_never_gets_ready_gets_nothing(mode: str, seed: int, breaks: list[int]) -> None:
    stable = spec(mode)
    cluster = deployed(stable, seed)
    bad = Canary(model=BAD, percent=50)
    with pytest.raises(RolloutStopped, match="ready"):
        carried_out(cluster, lambda seen: canary(stable, bad, FACTS, observed=seen))
    cluster.settle()
    assert models(cluster) == {"models:/fraud/7": 100}
    after = canary(stable, bad, FACTS).spec
    with pytest.raises(RolloutStopped, match="ready"):
        carried_out(cluster, lambda seen: promote(after, FACTS, observed=seen))
    assert models(cluster) == {"models:/fraud/7": 100}
    if mode == "Knative":
        carried_out(cluster, lambda seen: undo(after, FACTS, observed=seen), breaks)
        assert models(cluster) == {"models:/fraud/7": 100}


@few
@given(seed=seeds, breaks=st.lists(interrupted, min_size=3, max_size=3))
def test_several_canaries_and_the_promotion_of_one(seed: int, breaks: list[list[int]]) -> None:
    stable = spec(canary={"model": "models:/fraud/8", "percent": 20})
    cluster = deployed(spec(), seed)
    (first,) = stable.canaries
    one = carried_out(cluster, lambda seen: canary(stable, first, FACTS, observed=seen), breaks[0])
    other = Canary(model="models:/fraud/6", percent=30, name="b")
    two = carried_out(cluster, lambda seen: canary(one, other, FACTS, observed=seen), breaks[1])
    assert models(cluster) == {"models:/fraud/7": 50, "models:/fraud/8": 20, "models:/fraud/6": 30}
    is_as_rendered(cluster, two)
    three = carried_out(cluster, lambda seen: promote(two, FACTS, observed=seen, name="b"), breaks[2])
    assert models(cluster) == {"models:/fraud/6": 80, "models:/fraud/8": 20}
    is_as_rendered(cluster, three)


@modes
@few
@given(seed=seeds, breaks=interrupted)
def test_the_first_deployment_may_have_a_canary(mode: str, seed: int, breaks: list[int]) -> None:
    serve = spec(mode, canary={"model": "models:/fraud/8", "percent": 10})
    cluster = cluster_of(mode, seed)
    carried_out(cluster, lambda seen: canary(serve, serve.canaries[0], FACTS, observed=seen), breaks)
    assert models(cluster) == {"models:/fraud/7": 90, "models:/fraud/8": 10}


@few
@given(seed=seeds, percent=percents, breaks=interrupted)
def test_another_model_for_the_same_canary(seed: int, percent: int, breaks: list[int]) -> None:
    stable = spec()
    cluster = deployed(stable, seed)
    eight = Canary(model="models:/fraud/8", percent=percent)
    one = carried_out(cluster, lambda seen: canary(stable, eight, FACTS, observed=seen))
    six = Canary(model="models:/fraud/6", percent=percent)
    two = carried_out(cluster, lambda seen: canary(one, six, FACTS, observed=seen), breaks)
    assert models(cluster).get("models:/fraud/6") == percent
    is_as_rendered(cluster, two)


def test_pods_do_not_restart_when_the_route_changes_hands() -> None:
    stable = spec()
    cluster = deployed(stable, 1)
    assert isinstance(cluster, StandardCluster)
    before = cluster.objects["Deployment", "fraud-predictor"]["spec"]["template"]
    eight = Canary(model="models:/fraud/8", percent=10)
    one = carried_out(cluster, lambda seen: canary(stable, eight, FACTS, observed=seen))
    assert cluster.objects["Deployment", "fraud-predictor"]["spec"]["template"] == before
    carried_out(cluster, lambda seen: undo(one, FACTS, observed=seen))
    assert cluster.objects["Deployment", "fraud-predictor"]["spec"]["template"] == before
