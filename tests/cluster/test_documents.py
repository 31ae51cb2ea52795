"""Whatever the generator renders is admitted by a real API server with KServe's webhooks, and kept as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from generator import ServeSpec, read_spec, render
from tests.cluster.cases import SPECS
from tests.cluster.live import NO_PODS, LiveCluster, as_list, placed
from tests.cluster.stored import additions, changes, expected_addition

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.name.partition(".")[0]: path for path in sorted((ROOT / "kserve" / "examples").glob("*.spec.yaml"))}
NAMES = [*EXAMPLES, *SPECS]
SIDES = {"client-side": (), "server-side": ("--server-side", "--field-manager=mlflow-kserve")}
ALWAYS_CONFIGURED = {
    "PodDisruptionBudget": "kubectl sends its selector again each time",
    "HTTPRoute": "kubectl sends lists again in which the API server has filled in defaults",
}
"""Kinds of which kubectl says `configured` though nothing changes."""
Document = dict[str, Any]


def rendered(name: str) -> list[Document]:
    spec = read_spec(EXAMPLES[name].read_text()) if name in EXAMPLES else ServeSpec.model_validate(SPECS[name])
    return [dict(one) for one in render(spec)]


def key_of(document: Document) -> tuple[str, str, str]:
    about = document["metadata"]
    return document["kind"], about["namespace"], about["name"]


def stored_in(
    cluster: LiveCluster, spaces: list[str], documents: list[Document]
) -> dict[tuple[str, str, str], Document]:
    kinds = ",".join(sorted({one["kind"].lower() for one in documents}))
    listed = json.loads(cluster.kubectl("get", kinds, "--all-namespaces", "--output", "json"))["items"]
    return {key_of(one): one for one in listed if one["metadata"]["namespace"] in spaces}


@dataclass(frozen=True)
class AppliedDocuments:
    """Documents of all specs, each spec's in a namespace of its own, and what became of them."""

    made: dict[str, list[Document]]
    refusals: str
    first: dict[tuple[str, str, str], Document]
    """What was stored."""
    second: dict[tuple[str, str, str], str]
    """What kubectl said of each when they were applied again."""
    stored: dict[tuple[str, str, str], Document]
    """What was stored then."""


@pytest.fixture(scope="module", params=SIDES)
def applied(cluster: LiveCluster, request: pytest.FixtureRequest) -> Iterator[AppliedDocuments]:
    """All at once: kubectl takes longer to start than the API server to answer."""
    options, run = SIDES[request.param], uuid4().hex[:5]
    label = {"mlflow-kserve-tests": f"documents-{run}"}
    made = {name: placed(rendered(name), f"documents-{run}-{number}") for number, name in enumerate(NAMES)}
    made = {name: documents for name, documents in made.items() if not cluster.lacks(documents)}
    spaces = [documents[0]["metadata"]["namespace"] for documents in made.values()]
    every = [document for documents in made.values() for document in documents]
    cluster.apply(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one, "labels": label}} for one in spaces]
    )
    try:
        cluster.apply([one for space in spaces for one in placed([NO_PODS], space)])
        refusals = cluster.attempt("apply", *options, "--filename", "-", given=as_list(every)).stderr
        first = stored_in(cluster, spaces, every)
        second = cluster.attempt("apply", *options, "--filename", "-", given=as_list(every)).stdout.splitlines()
        said = {key_of(one): line.rpartition(" ")[2] for one, line in zip(every, second, strict=False)}
        yield AppliedDocuments(made, refusals, first, said, stored_in(cluster, spaces, every))
    finally:
        cluster.kubectl(
            "delete", "namespaces", "--selector", "mlflow-kserve-tests=" + label["mlflow-kserve-tests"], "--wait=false"
        )


@pytest.mark.parametrize("name", NAMES)
def test_it_is_admitted_and_kept(cluster: LiveCluster, applied: AppliedDocuments, name: str) -> None:
    if name not in applied.made:
        pytest.skip(f"the cluster lacks {', '.join(cluster.lacks(rendered(name)))}")
    for document in applied.made[name]:
        key = key_of(document)
        assert key in applied.stored, applied.refusals
        assert list(changes(document, applied.stored[key])) == []
        added = {path for path in additions(document, applied.stored[key]) if not expected_addition(path)}
        assert added == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_second_time_nothing_changes(applied: AppliedDocuments, name: str) -> None:
    if name not in applied.made:
        pytest.skip("the cluster lacks a kind of it")
    for document in applied.made[name]:
        before, after = applied.first[key_of(document)], applied.stored[key_of(document)]
        assert before["metadata"].get("generation") == after["metadata"].get("generation")
        assert before.get("spec") == after.get("spec")
        if document["kind"] not in ALWAYS_CONFIGURED:
            assert applied.second[key_of(document)] in ("unchanged", "serverside-applied")
