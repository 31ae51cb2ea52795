"""Where KServe splits the traffic: the patches of a plan lead to what a fresh render of the new spec gives."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator import Canary, ModelFacts, Patch, RolloutPlan, ServeSpec, SpecError, canary, promote, render, rollback
from generator.patches import json_patch, merge_patch
from tests.generator import kubectl

FACTS = {
    "models:/fraud/7": ModelFacts("sklearn", 40_000),
    "models:/fraud/8": ModelFacts("xgboost", 900_000_000),
    "models:/fraud/9": ModelFacts("sklearn", 50_000),
}
MODES: dict[str, dict[str, Any]] = {
    "knative": {"mode": "Knative"},
    "standard-runtime": {"predictor": "runtime"},
    "standard-container": {"storage": {"strategy": "container"}},
    "standard-service": {"predictor": "runtime", "exposure": {"service": "fraud-stable"}},
    "standard-named": {"predictor": "runtime", "revision": "v7", "replicas": {"min": 4}},
}
BY = {mode: "route" if mode == "knative" else "kserve" for mode in MODES}
modes = pytest.mark.parametrize("mode", MODES)
types = pytest.mark.parametrize("type", ["merge", "json"])


def spec(mode: str, **more: Any) -> ServeSpec:
    return ServeSpec.model_validate(
        {"name": "fraud", "namespace": "ml", "model": "models:/fraud/7", **MODES[mode], **more}
    )


def eight(mode: str, **more: Any) -> Canary:
    return Canary.model_validate({"model": "models:/fraud/8", "percent": 10, "by": BY[mode], **more})


def rfc_7386(target: Any, patch: Any) -> Any:
    """The pseudocode of the RFC."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = rfc_7386(result.get(key), value)
    return result


def applied(resources: list[dict[str, Any]], patches: list[Patch]) -> list[dict[str, Any]]:
    patched = copy.deepcopy(resources)
    for patch in patches:
        place = next(
            index
            for index, resource in enumerate(patched)
            if (resource["kind"], resource["metadata"]["name"], resource["metadata"]["namespace"])
            == (patch.kind, patch.name, patch.namespace)
        )
        if patch.type == "merge":
            patched[place] = rfc_7386(patched[place], patch.content)
        else:
            patched[place] = jsonpatch.apply_patch(patched[place], patch.content)
    return patched


def service(one: ServeSpec) -> dict[str, Any]:
    return next(document for document in render(one, FACTS) if document["kind"] == "InferenceService")


def leads_there(before: ServeSpec, step: RolloutPlan) -> None:
    assert step.patches
    assert applied(render(before, FACTS), step.patches) == render(step.spec, FACTS)


@modes
@types
def test_each_step_leads_to_a_fresh_render(mode: str, type: Any) -> None:
    stable = spec(mode)
    tenth = canary(stable, eight(mode), FACTS, type)
    leads_there(stable, tenth)
    half = canary(tenth.spec, eight(mode, percent=50), FACTS, type)
    leads_there(tenth.spec, half)
    promoted = promote(half.spec, FACTS, type)
    leads_there(half.spec, promoted)
    assert promoted.spec.model == "models:/fraud/8"
    assert promoted.spec.canary is None
    back = rollback(half.spec, FACTS, type)
    leads_there(half.spec, back)
    assert back.spec.model == "models:/fraud/7"
    other = canary(back.spec, eight(mode, model="models:/fraud/9", percent=5), FACTS, type)
    leads_there(back.spec, other)
    again = canary(promoted.spec, eight(mode, model="models:/fraud/9", percent=5), FACTS, type)
    leads_there(promoted.spec, again)


def test_knative_splits_by_canary_traffic_percent() -> None:
    stable = spec("knative")
    step = canary(stable, eight("knative"), FACTS)
    assert [patch.kind for patch in step.patches] == ["InferenceService"]
    assert step.patches[0].content["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert promote(step.spec, FACTS).patches[0].content == {"spec": {"predictor": {"canaryTrafficPercent": None}}}
    assert rollback(step.spec, FACTS).patches[0].content == {"spec": {"predictor": {"canaryTrafficPercent": 0}}}
    assert rollback(step.spec, FACTS, "json").patches[0].content == [
        {"op": "replace", "path": "/spec/predictor/canaryTrafficPercent", "value": 0}
    ]


def test_more_traffic_in_knative_is_a_number_and_no_new_pods() -> None:
    tenth = canary(spec("knative"), eight("knative"), FACTS)
    step = canary(tenth.spec, eight("knative", percent=50), FACTS, "json")
    assert step.patches[0].content == [{"op": "replace", "path": "/spec/predictor/canaryTrafficPercent", "value": 50}]


def test_standard_gives_the_canary_a_predictor_of_its_own() -> None:
    stable = spec("standard-runtime")
    step = canary(stable, eight("standard-runtime"), FACTS)
    (entry,) = step.patches[0].content["spec"]["canary"]
    assert entry["trafficPercent"] == 10
    assert entry["predictor"]["name"] == "v8"
    assert entry["predictor"]["model"]["storageUri"] == "models:/fraud/8"
    assert entry["predictor"]["model"]["runtime"] == "mlflow-kserve-boosting"  # a flavor of its own
    assert set(step.patches[0].content["spec"]) == {"canary"}, "the stable pods are left alone"
    promoted = promote(step.spec, FACTS)
    content = promoted.patches[0].content["spec"]
    assert content["canary"] is None
    assert content["predictor"]["name"] == "v8"
    assert content["predictor"]["model"]["storageUri"] == "models:/fraud/8"
    assert rollback(step.spec, FACTS).patches[0].content == {"spec": {"canary": None}}


@modes
def test_the_promoted_pods_are_those_of_the_canary(mode: str) -> None:
    """Nothing about the container changes when it is promoted, so nothing is started anew."""
    before = canary(spec(mode), eight(mode), FACTS).spec
    after = promote(before, FACTS).spec
    old, new = service(before)["spec"], service(after)["spec"]
    canaries = old["predictor"] if mode == "knative" else old["canary"][0]["predictor"]
    if "model" in canaries:
        assert mode == "knative" or canaries["model"].pop("name") == "kserve-container"
    for part in ("containers", "model", "initContainers"):
        assert canaries.get(part) == new["predictor"].get(part)


@modes
@pytest.mark.parametrize("forced", [{}, {"flavor": "sklearn"}, {"image": "example/own:1"}, {"model_size": "10Mi"}])
@pytest.mark.parametrize("own", [{}, {"flavor": "xgboost"}, {"image": "example/other:2"}])
def test_what_is_said_of_the_canary_stays_with_it(mode: str, forced: dict[str, str], own: dict[str, str]) -> None:
    stable = spec(mode, **forced)
    step = canary(stable, eight(mode, **own), FACTS)
    if mode != "knative":
        assert set(step.patches[0].content["spec"]) == {"canary"}
    leads_there(step.spec, promote(step.spec, FACTS))


def test_the_patches_of_the_seeds_work() -> None:
    """add 10, replace 100, remove: at the place where KServe has the number."""
    patched = service(spec("knative"))
    path = "/spec/predictor/canaryTrafficPercent"
    patched = jsonpatch.apply_patch(patched, [{"op": "add", "path": path, "value": 10}])
    patched = jsonpatch.apply_patch(patched, [{"op": "replace", "path": path, "value": 100}])
    assert jsonpatch.apply_patch(patched, [{"op": "remove", "path": path}]) == service(spec("knative"))


@kubectl.needed
@modes
@types
def test_kubectl_makes_of_them_the_same(mode: str, type: Any) -> None:
    before = canary(spec(mode), eight(mode), FACTS)
    for step, start in ((before, spec(mode)), (promote(before.spec, FACTS, type), before.spec)):
        patch = next(each for each in step.patches if each.kind == "InferenceService")
        assert kubectl.patched(service(start), patch.content, patch.type) == service(step.spec)


def test_the_command_is_what_a_shell_runs() -> None:
    patch = canary(spec("knative", env={"QUOTE": "it's $HOME"}), eight("knative"), FACTS).patches[0]
    words = shlex.split(patch.command())
    assert words[:7] == ["kubectl", "patch", "inferenceservice", "fraud", "--namespace", "ml", "--type"]
    assert "it's $HOME" in words[-1]


@pytest.mark.parametrize("step", [promote, rollback])
def test_without_a_canary_there_is_nothing_to_do(step: Any) -> None:
    with pytest.raises(SpecError, match=r"^canary: is not set"):
        step(spec("knative"), FACTS)


json_objects = st.recursive(
    st.dictionaries(
        st.sampled_from(["a", "b/c", "d~e", "f"]), st.integers() | st.lists(st.integers(), max_size=3), max_size=4
    ),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b/c", "g"]), inner | st.text(max_size=3), max_size=3),
    max_leaves=8,
)


@given(json_objects, json_objects)
def test_any_object_can_be_reached_from_any_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert rfc_7386(old, merge_patch(old, new)) == new
    assert jsonpatch.apply_patch(old, json_patch(old, new)) == new
    assert json_patch(new, copy.deepcopy(new)) == []
    assert merge_patch(new, copy.deepcopy(new)) == {}
