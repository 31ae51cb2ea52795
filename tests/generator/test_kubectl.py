"""What kubectl, without a cluster, makes of documents and patches."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.generator import kubectl
from tests.generator.documents import canary, changed, custom, runtime, service, storage_container

pytestmark = kubectl.needed
DOCUMENTS = [service(), service("Knative"), custom(), canary(), runtime(), storage_container()]


@pytest.mark.parametrize(
    "write", [yaml.safe_dump_all, lambda documents: "\n".join(map(json.dumps, documents))], ids=["yaml", "json"]
)
def test_it_reads_what_we_write(write: object) -> None:
    assert callable(write)
    assert kubectl.parsed(write(DOCUMENTS)) == DOCUMENTS


@pytest.mark.parametrize("text", ["a: [1", "- a", "name: fraud"], ids=["no YAML", "no object", "no kind"])
def test_it_refuses_what_is_no_document(text: str) -> None:
    with pytest.raises(AssertionError, match="error"):
        kubectl.parsed(text)


def test_patches() -> None:
    path = "/spec/predictor/model/storageUri"
    wanted = changed(service(), "spec.predictor.model.storageUri", "models:/fraud/4")
    assert kubectl.patched(service(), [{"op": "replace", "path": path, "value": "models:/fraud/4"}], "json") == wanted
    merge = {"spec": {"predictor": {"model": {"storageUri": "models:/fraud/4"}}}}
    assert kubectl.patched(service(), merge, "merge") == wanted
    assert kubectl.patched(canary(), {"spec": {"canary": None}}, "merge") == service(name="v3")
    with pytest.raises(AssertionError, match="missing path"):
        kubectl.patched(service(), [{"op": "replace", "path": "/spec/none/deep", "value": 1}], "json")
