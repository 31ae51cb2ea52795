"""Serves in real pods: they get ready, give MLflow's numbers, and lose no request when pods come and go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from generator import ServeSpec
from tests.cluster.live import LiveCluster
from tests.cluster.serves import ROW, documents_of, register_versions, spec_of, through_gateway, tracking_secret
from tests.cluster.traffic import Callers, Traffic, calling
from tests.images.needed import MODELS
from tests.predictors.parity import WAYS, assert_same, own_answer, ways_of
from tests.registry import register
from tests.serving import wait_for
from tests.zoo import BY_ID

NOT_IN_IMAGES = {"/invocations Parquet"}
TEXTS, MIXED = MODELS["sklearn"]
SERVES: dict[str, tuple[str, dict[str, Any]]] = {
    "the image downloads": (MIXED, {"storage": {"strategy": "emptydir"}}),
    "KServe's storage container downloads": (TEXTS, {"storage": {"strategy": "container"}}),
    "the server downloads": (MIXED, {"storage": {"strategy": "server"}}),
    "runtime": (TEXTS, {"predictor": "runtime"}),
    "V1 alone": (MIXED, {"protocol": "v1"}),
}
"""Ways from a registry into a pod: models, and fields of their specs."""

CALLER = """
import json, sys, urllib.request
import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb, grpc_predict_v2_pb2_grpc as pb_grpc

service, row = sys.argv[1], json.loads(sys.argv[2])

def post(path, content):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{service}{path}", json.dumps(content).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)

tensor = {"name": "input-0", "shape": [1, len(row)], "datatype": "FP64", "data": row}
request = pb.ModelInferRequest(model_name="fraud")
asked = request.inputs.add(name="input-0", datatype="FP64", shape=[1, len(row)])
asked.contents.fp64_contents.extend(row)
with grpc.insecure_channel(f"{service}:8081") as channel:
    reply = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
numbers = reply.outputs[0].contents
print(json.dumps({
    "V1": post("/v1/models/fraud:predict", {"instances": [row]})["predictions"],
    "V2": post("/v2/models/fraud/infer", {"inputs": [tensor]})["outputs"][0]["data"],
    "/invocations": post("/invocations", {"inputs": [row]})["predictions"],
    "gRPC": list(numbers.fp64_contents or numbers.int64_contents),
}))
"""
"""Asks a Service for the prediction of a row over every protocol."""


@pytest.mark.parametrize("way", SERVES)
def test_numbers_are_those_of_mlflow(with_pods: LiveCluster, zoo: Callable[[str], Path], way: str) -> None:
    """Over every protocol through the gateway."""
    assert with_pods.tracking
    model, fields = SERVES[way]
    case, name = BY_ID[model], f"{model}-{uuid4().hex[:6]}"
    version = register(with_pods.tracking, zoo(model), name)
    with with_pods.namespace("serves", tracking_secret(with_pods)) as namespace:
        uri = f"models:/{name}/{version}"
        spec = spec_of(with_pods, namespace, uri, replicas={"min": 1, "max": 2}, **fields)
        with_pods.apply(documents_of(spec))
        with_pods.wait_ready("fraud", namespace)
        expected = own_answer(case, zoo(model))
        with through_gateway(with_pods, "fraud", namespace) as running:
            for each in asked_by(spec, set(ways_of(case)) - NOT_IN_IMAGES):
                assert_same(WAYS[each](running, case.sample()), expected, f"{model} over {each}")


def asked_by(spec: ServeSpec, ways: set[str]) -> set[str]:
    """The ways that a serve has a port for."""
    return {way for way in ways if way != "gRPC" or spec.protocol != "v1"}


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
    with_pods.apply(documents_of(serve))
    with_pods.wait_rolled_out(serve)
    host = with_pods.host("fraud", serve.namespace)
    with calling(Callers(with_pods.gateway, host, "fraud", ROW)) as made:
        made.more(90)
        assert made.failures() == []
        yield made


def test_numbers_in_the_cluster(with_pods: LiveCluster, serve: ServeSpec) -> None:
    """From a pod, by the name of the Service, over every protocol."""
    pod, *_ = with_pods.pods_of(serve)
    service = f"fraud-predictor.{serve.namespace}.svc.cluster.local"
    said = with_pods.inside_pod(pod, serve.namespace, "python", "-c", CALLER, service, json.dumps(ROW))
    answers = json.loads(said)
    assert set(answers) == {"V1", "V2", "/invocations", "gRPC"}
    assert all(answer == [1.0] for answer in answers.values()), answers


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
    newer = serve.model_copy(update={"model": f"models:/{versions}/2"})
    with_pods.apply(documents_of(newer))
    with_pods.wait_rolled_out(newer)
    began = traffic.more(500)
    assert traffic.failures() == []
    assert set(traffic.shares()) == {1, 2}
    assert traffic.shares(began) == {2: 100}


def test_an_update_to_a_wrong_model_fails_nobody(
    with_pods: LiveCluster, serve: ServeSpec, versions: str, traffic: Traffic
) -> None:
    """Its pods do not start and say why; the old ones go on."""
    with_pods.apply(documents_of(serve.model_copy(update={"model": f"models:/{versions}/99"})))
    with_pods.wait_described(serve.namespace, f"models:/{versions}/99", "not found")
    traffic.more(200)
    assert traffic.failures() == []
    assert set(traffic.shares()) == {1}


def test_an_update_to_an_image_that_is_not_there_fails_nobody(
    with_pods: LiveCluster, serve: ServeSpec, traffic: Traffic
) -> None:
    image = f"{with_pods.registry}/no-such-image:1"
    with_pods.apply(documents_of(serve.model_copy(update={"image": image})))
    with_pods.wait_described(serve.namespace, image, "ImagePull")
    traffic.more(200)
    assert traffic.failures() == []


def test_a_serve_outlives_the_registry(with_pods: LiveCluster, serve: ServeSpec, traffic: Traffic) -> None:
    """Pods that run go on without MLflow; a new one waits for it, and starts when it is back."""
    first, *_ = with_pods.pods_of(serve)
    with with_pods.without_mlflow():
        with_pods.kubectl("delete", "pod", first, "--namespace", serve.namespace)
        with_pods.wait_described(serve.namespace, "no connection")
        traffic.more(200)
        assert traffic.failures() == []
    with_pods.wait_rolled_out(serve)
    traffic.more(200)
    assert traffic.failures() == []


def test_pods_follow_an_alias(with_pods: LiveCluster) -> None:
    assert with_pods.tracking
    assert with_pods.gateway
    name = f"followed-{uuid4().hex[:6]}"
    register_versions(with_pods.tracking, name, count=2)
    registry = MlflowClient(with_pods.tracking)
    registry.set_registered_model_alias(name, "champion", "1")
    with with_pods.namespace("alias", tracking_secret(with_pods)) as namespace:
        spec = spec_of(with_pods, namespace, f"models:/{name}@champion", reload={"interval": "2s"})
        with_pods.apply(documents_of(spec))
        with_pods.wait_ready("fraud", namespace)
        pods = with_pods.pods_of(spec)
        host = with_pods.host("fraud", namespace)
        with calling(Callers(with_pods.gateway, host, "fraud", ROW)) as traffic:
            traffic.more(100)
            assert traffic.shares() == {1: 100}
            registry.set_registered_model_alias(name, "champion", "2")
            wait_for(lambda: {one.answer for one in traffic.answered[-60:]} == {2}, seconds=120)
            traffic.more(100)
        assert traffic.failures() == []
        assert sorted(with_pods.pods_of(spec)) == sorted(pods), "no pod was replaced"
