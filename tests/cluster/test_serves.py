"""Serves in real pods: they get ready, give MLflow's numbers, and lose no request when pods come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from generator import ServeSpec
from tests.cluster.live import LiveCluster
from tests.cluster.serves import ROW, documents_of, spec_of, through_gateway, tracking_secret
from tests.cluster.traffic import Callers, Traffic, calling
from tests.images.needed import MODELS
from tests.predictors.parity import WAYS, assert_same, own_answer, ways_of
from tests.registry import register
from tests.zoo import BY_ID

NOT_IN_IMAGES = {"/invocations Parquet"}
STORAGE = {
    "emptydir": {"strategy": "emptydir"},
    "container": {"strategy": "container"},
    "server": {"strategy": "server"},
}


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("predictor", ["container", "runtime"])
@pytest.mark.parametrize("model", MODELS["sklearn"])
def test_numbers_are_those_of_mlflow(
    with_pods: LiveCluster, zoo: Callable[[str], Path], model: str, predictor: str, storage: str
) -> None:
    """Over every protocol through the gateway."""
    assert with_pods.tracking
    case, name = BY_ID[model], f"{model}-{uuid4().hex[:6]}"
    version = register(with_pods.tracking, zoo(model), name)
    with with_pods.namespace("serves", tracking_secret(with_pods)) as namespace:
        spec = spec_of(
            with_pods, namespace, f"models:/{name}/{version}", predictor=predictor, storage=STORAGE[storage],
            replicas={"min": 1, "max": 2},
        )  # fmt: skip
        with_pods.apply(documents_of(spec))
        with_pods.wait_ready("fraud", namespace)
        expected = own_answer(case, zoo(model))
        with through_gateway(with_pods, "fraud", namespace) as running:
            for way in set(ways_of(case)) - NOT_IN_IMAGES:
                assert_same(WAYS[way](running, case.sample()), expected, f"{model} over {way}")


@pytest.fixture(scope="module")
def serve(with_pods: LiveCluster, versions: str) -> Iterator[ServeSpec]:
    """Two pods with version 1."""
    with with_pods.namespace("steady", tracking_secret(with_pods)) as namespace:
        spec = spec_of(with_pods, namespace, f"models:/{versions}/1")
        with_pods.apply(documents_of(spec))
        with_pods.wait_ready("fraud", namespace)
        yield spec


@pytest.fixture
def traffic(with_pods: LiveCluster, serve: ServeSpec) -> Iterator[Traffic]:
    assert with_pods.gateway
    host = with_pods.host("fraud", serve.namespace)
    with calling(Callers(with_pods.gateway, host, "fraud", ROW)) as made:
        made.more(90)
        assert made.failures() == []
        yield made


def test_a_deleted_pod_fails_nobody(with_pods: LiveCluster, serve: ServeSpec, traffic: Traffic) -> None:
    first, *_ = with_pods.pods_of(serve)
    with_pods.kubectl("delete", "pod", first, "--namespace", serve.namespace)
    with_pods.wait_rolled_out(serve)
    traffic.more(200)
    assert first not in with_pods.pods_of(serve)
    assert traffic.failures() == []


def test_a_killed_container_is_back_soon(with_pods: LiveCluster, serve: ServeSpec, traffic: Traffic) -> None:
    """Until its endpoint is gone, callers may get errors; afterwards nobody does."""
    first, *_ = with_pods.pods_of(serve)
    with_pods.kill_container(first, serve.namespace)
    with_pods.wait_restarted(first, serve.namespace)
    began = traffic.more(300)
    assert [one.error for one in traffic.since(began) if one.answer is None] == []
    assert len(traffic.failures()) < 60, "errors for more than a few seconds"


def test_a_new_version_fails_nobody(with_pods: LiveCluster, serve: ServeSpec, versions: str, traffic: Traffic) -> None:
    with_pods.apply(documents_of(serve.model_copy(update={"model": f"models:/{versions}/2"})))
    with_pods.wait_rolled_out(serve)
    began = traffic.more(500)
    assert traffic.failures() == []
    assert set(traffic.shares()) == {1, 2}
    assert traffic.shares(began) == {2: 100}
