"""Whatever the generator renders is admitted by a real API server with KServe's webhooks, and kept as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from generator import ServeSpec, read_spec, render
from tests.cluster.cases import SPECS
from tests.cluster.live import NO_PODS, LiveCluster, placed
from tests.cluster.stored import additions, changes, expected_addition

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.name.partition(".")[0]: path for path in sorted((ROOT / "kserve" / "examples").glob("*.spec.yaml"))}
Document = dict[str, Any]
SERVER_SIDE = ("--server-side", "--field-manager=mlflow-kserve")


def rendered(name: str) -> list[Document]:
    spec = read_spec(EXAMPLES[name].read_text()) if name in EXAMPLES else ServeSpec.model_validate(SPECS[name])
    return [dict(one) for one in render(spec)]


@pytest.mark.parametrize("server_side", [False, True], ids=["client-side", "server-side"])
@pytest.mark.parametrize("name", [*EXAMPLES, *SPECS])
def test_it_is_admitted_and_kept(cluster: LiveCluster, name: str, server_side: bool) -> None:
    documents = rendered(name)
    if lacking := cluster.lacks(documents):
        pytest.skip(f"the cluster lacks {', '.join(lacking)}")
    options = SERVER_SIDE if server_side else ()
    with cluster.namespace("documents", NO_PODS) as namespace:
        made = placed(documents, namespace)
        cluster.apply(made, *options)
        assert cluster.diff(made, *options) == "", "applying it again would change something"
        again = cluster.apply(made, *options)
        if not server_side:
            assert {line.rpartition(" ")[2] for line in again.splitlines()} == {"unchanged"}, again
        for document in made:
            about = document["metadata"]
            stored = cluster.get(document["kind"], about["name"], namespace)
            assert list(changes(document, stored)) == []
            assert [path for path in additions(document, stored) if not expected_addition(path)] == []
