"""Documents against CRDs: KServe's own when they are at hand, and small ones for each rule of a structural schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from generator.crds import CrdError, Crds, load
from generator.structural import walk
from tests.generator.documents import GONE, Document, canary, changed, custom, runtime, service, storage_container

SIZE = {
    "type": "object",
    "required": ["name", "weight"],
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
        "weight": {"type": "integer", "default": 1, "minimum": 0, "maximum": 100, "format": "int32"},
        "share": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1, "multipleOf": 0.25},
        "color": {"type": "string", "enum": ["red", "green"]},
        "live": {"type": "boolean"},
        "when": {"type": "string", "format": "date-time", "nullable": True},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "minProperties": 1,
            "maxProperties": 1,
        },
        "size": {"type": "integer", "format": "int32"},
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "x-kubernetes-list-type": "set",
            "minItems": 1,
            "maxItems": 2,
        },
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {
                "type": "object",
                "required": ["port", "protocol"],
                "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}},
            },
        },
        "free": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"a": {"type": "string"}},
        },
        "template": {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "source": {
            "type": "object",
            "properties": {"url": {"type": "string"}, "file": {"type": "string"}},
            "oneOf": [{"required": ["url"]}, {"required": ["file"]}],
        },
        "other": {"type": "string", "not": {"enum": ["never"]}, "allOf": [{"maxLength": 6}]},
    },
}
GOOD = {"name": "abc"}


def definition(kind: str = "Thing", scope: str = "Namespaced", **version: Any) -> Document:
    schema = {"type": "object", "properties": {"metadata": {"type": "object"}, "spec": SIZE}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "example.com",
            "scope": scope,
            "names": {"kind": kind},
            "versions": [{"name": "v1", "served": True, "schema": {"openAPIV3Schema": schema}, **version}],
        },
    }


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Crds:
    folder = tmp_path_factory.mktemp("crds")
    (folder / "things.yaml").write_text(yaml.safe_dump_all([definition(), {"kind": "Namespace"}]))
    (folder / "more.yml").write_text(
        yaml.safe_dump({"kind": "List", "items": [definition("Wide", "Cluster"), definition("Old", served=False)]})
    )
    return load(folder)


def thing(**spec: Any) -> Document:
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": GOOD | spec}


def problems(crds: Crds, document: object) -> list[str]:
    return [str(problem) for problem in crds.problems(document)]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"weight": 0},
        {"size": -(2**31)},
        {"weight": None},  # pruned, then the default
        {"share": 0.25},
        {"share": 1},
        {"color": "red", "live": False, "when": None, "port": "http", "other": "some"},
        {"when": "2026-01-31T12:00:00Z", "port": 80},
        {"labels": {"any": "x"}},
        {"tags": ["a", "b"]},
        {"ports": [{"port": 1}, {"port": 1, "protocol": "UDP"}]},
        {"free": {"a": "x", "b": [1, None]}},
        {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b"}}, "x": 1}},
        {"source": {"file": "x"}},
    ],
    ids=str,
)
def test_good_values(things: Crds, spec: Document) -> None:
    assert problems(things, thing(**spec)) == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"name": 7}, "spec.name: expected a string, found a number; put it in quotes"),
        ({"name": ["a"]}, "spec.name: expected a string, found a list"),
        ({"name": None}, "spec.name: expected a string, found nothing (null)"),
        ({"name": "a"}, "spec.name: expected at least 2 characters, found 1"),
        ({"name": "abcdef"}, "spec.name: expected at most 5 characters, found 6"),
        ({"name": "Abc"}, 'spec.name: expected text that matches ^[a-z]+$, found "Abc"'),
        ({"name": "abc\n"}, 'spec.name: expected text that matches ^[a-z]+$, found "abc\\n"'),
        ({"weight": "1"}, 'spec.weight: expected a whole number, found "1"'),
        ({"weight": True}, "spec.weight: expected a whole number, found true"),
        ({"weight": 1.0}, "spec.weight: expected a whole number, found 1.0"),
        ({"weight": -1}, "spec.weight: expected at least 0, found -1"),
        ({"weight": 101}, "spec.weight: expected at most 100, found 101"),
        ({"share": 0}, "spec.share: expected more than 0, found 0"),
        ({"share": 0.3}, "spec.share: expected a multiple of 0.25, found 0.3"),
        ({"share": float("nan")}, "spec.share: expected a number, found NaN"),
        ({"color": "gren"}, 'spec.color: expected one of red, green, found "gren"; did you mean green?'),
        ({"live": "yes"}, 'spec.live: expected true or false, found "yes"'),
        ({"when": "today"}, 'spec.when: expected a moment such as 2026-01-31T12:00:00Z, found "today"'),
        ({"port": 1.5}, "spec.port: expected a whole number or a string, found 1.5"),
        ({"port": True}, "spec.port: expected a whole number or a string, found true"),
        ({"labels": {"a": 1}}, "spec.labels.a: expected a string, found a number; put it in quotes"),
        ({"labels": {"a.b/c": True}}, 'spec.labels["a.b/c"]: expected a string, found a boolean; put it in quotes'),
        ({"labels": {"a": "b", "c": "d"}}, "spec.labels: expected at most 1 fields, found 2"),
        ({"labels": {}}, "spec.labels: expected at least 1 fields, found 0"),
        ({"size": 2**31}, "spec.size: expected a whole number of 32 bits, found 2147483648"),
        ({"labels": {1: "b"}}, "spec.labels.1: field names are strings, found a number; put it in quotes"),
        ({"tags": []}, "spec.tags: expected at least 1 entries, found 0"),
        ({"tags": ["a", "b", "c"]}, "spec.tags: expected at most 2 entries, found 3"),
        ({"tags": ["a", "a"]}, 'spec.tags[1]: "a" is there twice, first at spec.tags[0]; expected once'),
        ({"tags": {"a": 1}}, "spec.tags: expected a list, found an object"),
        (
            {"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]},
            'spec.ports[1]: port 1, protocol "TCP" is there twice, first at spec.ports[0]; expected once',
        ),
        ({"ports": [{"protocol": "TCP"}]}, "spec.ports[0].port: missing; expected a whole number"),
        ({"free": {"a": 1}}, "spec.free.a: expected a string, found a number; put it in quotes"),
        ({"template": {"kind": "Pod"}}, "spec.template.apiVersion: missing; expected a string"),
        (
            {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"lables": {}}}},
            "spec.template.metadata.lables: unknown field; did you mean labels?",
        ),
        ({"source": {"url": "a", "file": "b"}}, "spec.source: expected to fit exactly one of 2 alternatives, fits 2"),
        (
            {"source": {}},
            "spec.source: expected url or file",
        ),
        ({"other": "never"}, 'spec.other: "never" is what the CRD excludes here'),
        ({"other": "too long"}, "spec.other: expected at most 6 characters, found 8"),
        ({"colour": "red"}, "spec.colour: unknown field; did you mean color?"),
        ({"max_weight": 1}, "spec.max_weight: unknown field; did you mean weight?"),
        ({"url": "a", "source": {"file": "b"}}, "spec.url: unknown field; did you mean source.url?"),
    ],
    ids=lambda part: str(part) if isinstance(part, dict) else "",
)
def test_bad_values(things: Crds, spec: Document, problem: str) -> None:
    assert problems(things, thing(**spec)) == [problem]


def test_a_missing_field_with_no_default(things: Crds) -> None:
    assert problems(things, changed(thing(), "spec.name", GONE)) == ["spec.name: missing; expected a string"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("text", 'expected a Kubernetes object, found "text"'),
        (None, "expected a Kubernetes object, found nothing (null)"),
        ({"kind": "Thing"}, "apiVersion: missing"),
        ({"apiVersion": "example.com/v1"}, "kind: missing"),
        ({"apiVersion": 1, "kind": "Thing"}, "apiVersion: expected a string, found 1"),
        (
            {"apiVersion": "example.com/v2", "kind": "Thing"},
            "apiVersion: no CRD defines Thing in 'example.com/v2'; expected example.com/v1",
        ),
        ({"apiVersion": "example.com/v1", "kind": "Old"}, "kind: no CRD defines 'Old' in 'example.com/v1'"),
        (
            {"apiVersion": "example.com/v1", "kind": "Thign"},
            "kind: no CRD defines 'Thign' in 'example.com/v1'; did you mean Thing?",
        ),
        (thing() | {"status": {}}, "status: unknown field"),
        (
            thing() | {"metadata": {"name": "a", "labels": {"a": 1}}},
            "metadata.labels.a: expected a string, found a number; put it in quotes",
        ),
        (
            thing() | {"metadata": {"name": "a", "annotation": {}}},
            "metadata.annotation: unknown field; did you mean annotations?",
        ),
        (
            {"apiVersion": "example.com/v1", "kind": "Wide", "metadata": {"name": "a", "namespace": "b"}},
            "metadata.namespace: a Wide belongs to the whole cluster: expected no namespace",
        ),
    ],
    ids=lambda part: "" if isinstance(part, dict) else str(part)[:40],
)
def test_bad_documents(things: Crds, document: object, problem: str) -> None:
    assert problems(things, document) == [problem]


def test_groups_that_are_not_there(things: Crds) -> None:
    assert things.knows({"apiVersion": "example.com/v7", "kind": "Nothing"})
    assert not things.knows({"apiVersion": "apps/v1", "kind": "Deployment"})
    assert not things.knows({})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a folder"),
        ({}, "holds no CustomResourceDefinition"),
        ({"a.txt": b"kind: x"}, "holds no CustomResourceDefinition"),
        ({"a.yaml": b"kind: Namespace"}, "holds no CustomResourceDefinition"),
        ({"a.yaml": b"a: [1"}, "a.yaml is not YAML"),
        ({"a.yaml": b"\xff\x00\xfe"}, "a.yaml is not YAML"),
        (
            {"a.yaml": b"kind: CustomResourceDefinition\nspec: {group: a, names: {kind: A}, version: v1}"},
            "of apiextensions.k8s.io/v1 is expected",
        ),
    ],
    ids=["no folder", "empty", "other files", "other kinds", "not YAML", "binary", "v1beta1"],
)
def test_folders_that_do_not_do(tmp_path: Path, content: dict[str, bytes] | None, message: str) -> None:
    folder = tmp_path / "crds"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_bytes(text)
    with pytest.raises(CrdError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-200, 200)
    | st.floats(allow_nan=False)
    | st.sampled_from(["a", "ab", "TCP"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(SIZE["properties"])), inner),
    max_leaves=20,
)


@given(JSON)
def test_any_value_has_an_answer(value: Any) -> None:
    for problem in walk(SIZE, value, "spec", True):
        assert problem.path.startswith("spec")
        assert problem.sentence


LEAVES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string")}, optional={"minLength": st.integers(0, 2), "maxLength": st.integers(0, 2)}
    ),
    st.fixed_dictionaries(
        {"type": st.just("integer")}, optional={"minimum": st.integers(-5, 5), "maximum": st.integers(-5, 5)}
    ),
    st.fixed_dictionaries({"type": st.just("string"), "enum": st.just(["a", "ab"])}),
    st.just({"type": "boolean"}),
)
NAMES = st.sampled_from(["a", "b"])
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 1)),
        st.builds(lambda others: {"type": "object", "additionalProperties": others}, inner),
        st.builds(
            lambda properties, required: {"type": "object", "properties": properties, "required": required},
            st.dictionaries(NAMES, inner, max_size=2),
            st.lists(NAMES, unique=True, max_size=1),
        ),
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-6, 6) | st.sampled_from(["", "a", "ab", "abc"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=5,
)


def strict(schema: Any) -> Any:
    """The same in JSON Schema's words: there, unknown fields are welcome unless one says otherwise."""
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(part) for key, part in schema.items()}
    if "properties" in schema:
        result["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
        result["additionalProperties"] = False
    return result


@given(SCHEMAS, VALUES)
def test_the_same_verdict_as_jsonschema(schema: Any, value: Any) -> None:
    good = jsonschema.Draft202012Validator(strict(schema)).is_valid(value)
    assert good == (not list(walk(schema, value, "spec", True)))


@pytest.mark.parametrize(
    "document",
    [
        service(),
        service("Knative"),
        custom(),
        canary(),
        runtime(),
        runtime("mine", "ServingRuntime"),
        storage_container(),
    ],
    ids=[
        "Standard",
        "Knative",
        "custom",
        "canary",
        "ClusterServingRuntime",
        "ServingRuntime",
        "ClusterStorageContainer",
    ],
)
def test_good_kserve_documents(kserve_crds: Crds, document: Document) -> None:
    assert problems(kserve_crds, document) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("spec.predictor.storageUri", "x", "spec.predictor.storageUri: unknown field; did you mean model.storageUri?"),
        ("spec.predictor.minReplica", 1, "spec.predictor.minReplica: unknown field; did you mean minReplicas?"),
        ("spec.predictor.maxReplicas", "3", 'spec.predictor.maxReplicas: expected a whole number, found "3"'),
        (
            "spec.predictor.model.modelFormat.name",
            GONE,
            "spec.predictor.model.modelFormat.name: missing; expected a string",
        ),
        (
            "spec.predictor.model.env.0.value",
            7,
            "spec.predictor.model.env[0].value: expected a string, found a number; put it in quotes",
        ),
        (
            "spec.predictor.model.env.1.name",
            "LOG_LEVEL",
            'spec.predictor.model.env[1]: name "LOG_LEVEL" is there twice, first at spec.predictor.model.env[0]; expected once',
        ),
        (
            "spec.predictor.model.resources.limits.memory",
            "1 Gi",
            'spec.predictor.model.resources.limits.memory: expected a quantity such as 500m or 2Gi, found "1 Gi"',
        ),
        (
            "spec.predictor.scaleMetric",
            "gpu",
            'spec.predictor.scaleMetric: expected one of cpu, memory, concurrency, rps, found "gpu"',
        ),
        ("spec.predictor.logger", {}, None),
        ("spec.canary", [{"trafficPercent": 20}], "spec.canary[0].predictor: missing; expected an object"),
        (
            "spec.canary",
            [{"trafficPercent": 120, "predictor": {}}],
            "spec.canary[0].trafficPercent: expected at most 100, found 120",
        ),
        ("spec.predictor.model.runtimes", "x", "spec.predictor.model.runtimes: unknown field; did you mean runtime?"),
        (
            "spec.predictor.containers",
            [{"image": "x"}],
            "spec.predictor.containers[0].name: missing; expected a string",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) and ":" not in part else "",
)
def test_bad_kserve_documents(kserve_crds: Crds, path: str, value: Any, problem: str | None) -> None:
    assert problems(kserve_crds, changed(service(), path, value)) == ([problem] if problem else [])


def test_the_model_of_a_canary_has_a_name(kserve_crds: Crds) -> None:
    nameless = changed(canary(), "spec.canary.0.predictor.model.name", GONE)
    assert problems(kserve_crds, nameless) == ["spec.canary[0].predictor.model.name: missing; expected a string"]
