"""Conflicts, additions and losses, from `managedFields`."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.backends.kserve.fields import absent, added_by_others, combined, conflicts, is_ours
from controlplane.backends.kserve.manifests import manifests
from tests.controlplane.backends.kserve.serves import KEY, applied, content, service_of

SERVICE = service_of(manifests(KEY, 1, content()))


def changed(fields: dict[str, Any], **values: Any) -> Any:
    """The InferenceService after somebody has set fields of its predictor."""
    live = applied(SERVICE, kubectl_edit={"f:spec": {"f:predictor": fields}})
    predictor = live["spec"]["predictor"]
    live["spec"]["predictor"] = {**predictor, **values}
    return live


def found(live: Any) -> list[tuple[str, str, Any, Any]]:
    return [(each.field, each.manager, each.theirs, each.ours) for each in conflicts(SERVICE, live)]


def test_what_we_have_applied_is_no_conflict() -> None:
    live = applied(SERVICE)
    assert is_ours(live)
    assert conflicts(SERVICE, live) == []
    assert added_by_others(SERVICE, live) == {}


def test_another_value_is_a_conflict() -> None:
    live = changed({"f:minReplicas": {}}, minReplicas=4)
    assert found(live) == [("spec.predictor.minReplicas", "kubectl-edit", 4, 1)]
    (one,) = conflicts(SERVICE, live)
    assert one.overlay == {"spec": {"predictor": {"minReplicas": 4}}}
    assert str(one) == "InferenceService fraud: spec.predictor.minReplicas is 4, set by kubectl-edit, and not 1"


def test_the_same_value_is_none() -> None:
    assert found(changed({"f:minReplicas": {}}, minReplicas=1)) == []


def test_a_quantity_that_is_written_otherwise_is_none() -> None:
    container = dict(SERVICE["spec"]["predictor"]["containers"][0])
    container["resources"] = {"requests": {"cpu": "1000m"}}
    fields: dict[str, Any] = {"f:resources": {"f:requests": {"f:cpu": {}}}}
    live = changed({"f:containers": {'k:{"name":"kserve-container"}': fields}}, containers=[container])
    assert SERVICE["spec"]["predictor"]["containers"][0]["resources"]["requests"]["cpu"] == "1"
    assert found(live) == []


def test_fields_of_things_with_names() -> None:
    container = {**SERVICE["spec"]["predictor"]["containers"][0], "image": "mine:1"}
    fields: dict[str, Any] = {'k:{"name":"kserve-container"}': {".": {}, "f:image": {}}}
    live = changed({"f:containers": fields}, containers=[container])
    ((field, _, theirs, _),) = found(live)
    assert (field, theirs) == ("spec.predictor.containers[name=kserve-container].image", "mine:1")
    (one,) = conflicts(SERVICE, live)
    assert one.overlay["spec"]["predictor"] == {"containers": [{"name": "kserve-container", "image": "mine:1"}]}


def test_a_map_that_is_set_as_a_whole_is_compared_as_a_whole() -> None:
    rendered = service_of(manifests(KEY, 1, content(infra={"placement": {"node_selector": {"pool": "a"}}})))
    live = applied(rendered, kubectl_edit={"f:spec": {"f:predictor": {"f:nodeSelector": {}}}})
    assert conflicts(rendered, live) == []
    live["spec"]["predictor"]["nodeSelector"] = {"pool": "a", "disk": "fast"}
    assert [each.field for each in conflicts(rendered, live)] == ["spec.predictor.nodeSelector"]


@pytest.mark.parametrize(
    "entry",
    [
        {"manager": "manager", "operation": "Update", "subresource": "status"},
        {"manager": "mlflow-kserve-scale", "operation": "Update"},
    ],
)
def test_controllers_and_schedules_are_not_others(entry: dict[str, str]) -> None:
    live = changed({"f:timeout": {}}, minReplicas=4)
    live["metadata"]["managedFields"].append({**entry, "fieldsV1": {"f:spec": {"f:predictor": {"f:minReplicas": {}}}}})
    assert found(live) == []


def test_fields_that_we_do_not_have_are_shown() -> None:
    live = changed(
        {"f:runtimeClassName": {}, "f:affinity": {"f:nodeAffinity": {}}},
        runtimeClassName="x",
        affinity={"nodeAffinity": {}},
    )
    assert found(live) == []
    assert added_by_others(SERVICE, live) == {
        "kubectl-edit": ["spec.predictor.runtimeClassName", "spec.predictor.affinity.nodeAffinity"]
    }


def test_finalizers_are_nobodys_business() -> None:
    live = applied(SERVICE, manager={"f:metadata": {"f:finalizers": {".": {}, 'v:"x"': {}}}})
    live["metadata"]["finalizers"] = ["x"]
    assert added_by_others(SERVICE, live) == {}


def test_what_somebody_has_taken_away_is_absent() -> None:
    live = applied(SERVICE)
    assert list(absent(SERVICE, live)) == []
    del live["spec"]["predictor"]["timeout"]
    live["spec"]["predictor"]["containers"][0]["env"].pop()
    name = SERVICE["spec"]["predictor"]["containers"][0]["env"][-1]["name"]
    assert set(absent(SERVICE, live)) == {
        "spec.predictor.timeout", f"spec.predictor.containers[kserve-container].env[{name}]",
    }  # fmt: skip


def test_an_empty_object_is_as_good_as_none() -> None:
    assert list(absent({"a": {}, "b": [], "c": None, "d": 0}, {})) == ["d"]


def test_what_kserve_makes_with_our_labels_is_not_ours() -> None:
    live = applied(SERVICE)
    live["metadata"]["ownerReferences"] = [{"kind": "InferenceService", "controller": True}]
    assert not is_ours(live)
    live = applied(SERVICE)
    live["metadata"]["managedFields"] = [{"manager": "mlflow-kserve", "operation": "Update"}]
    assert not is_ours(live)


def test_overlays_are_merged_by_name() -> None:
    one = {"containers": [{"name": "a", "image": "x"}], "timeout": 1}
    other = {"containers": [{"name": "a", "args": ["y"]}, {"name": "b"}], "timeout": 2}
    assert combined(one, other) == {
        "containers": [{"name": "a", "image": "x", "args": ["y"]}, {"name": "b"}],
        "timeout": 2,
    }
