"""The protocol over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .conftest import TIMEOUT, ServerUnderTest
from .grpc_messages import Requests, outputs_of
from .payloads import ConformancePayloads, Json, json_body, row
from .replies import CLOSE, SAME, HttpReply, json_object, same_numbers

grpc = pytest.importorskip("grpc", reason="needs grpcio: pip install grpcio")
SERVICE = "inference.GRPCInferenceService"
Load = Callable[[str], Any]


def test_server_is_live_and_ready(stub: Any, pb: Any) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=TIMEOUT).live is True
    assert stub.ServerReady(pb.ServerReadyRequest(), timeout=TIMEOUT).ready is True


def test_model_is_ready(stub: Any, pb: Any, target: ServerUnderTest) -> None:
    assert stub.ModelReady(pb.ModelReadyRequest(name=target.model), timeout=TIMEOUT).ready is True


def test_server_metadata_equals_rest(stub: Any, pb: Any, http: httpx.Client) -> None:
    reply = stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=TIMEOUT)
    body = json_object(http.get("/v2"))
    assert (reply.name, reply.version) == (body["name"], body["version"])


def test_model_metadata_equals_rest(stub: Any, pb: Any, target: ServerUnderTest, metadata: Json) -> None:
    reply = stub.ModelMetadata(pb.ModelMetadataRequest(name=target.model), timeout=TIMEOUT)
    assert (reply.name, reply.platform) == (metadata["name"], metadata["platform"])
    assert list(reply.versions) == (metadata.get("versions") or [])
    for side in ("inputs", "outputs"):
        ours = [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in getattr(reply, side)]
        assert ours == [(one["name"], one["datatype"], one["shape"]) for one in metadata.get(side) or []]


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_inference_equals_rest(
    stub: Any,
    requests: Requests,
    target: ServerUnderTest,
    payloads: ConformancePayloads,
    expected: HttpReply,
    form: str,
) -> None:
    reply = stub.ModelInfer(getattr(requests, form)(payloads.rows(1)), timeout=TIMEOUT)
    assert reply.model_name == target.model
    same_numbers(outputs_of(reply), expected.outputs)


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_batch_equals_rest_and_its_rows_alone(
    stub: Any, requests: Requests, batches: ConformancePayloads, infer: Callable[..., HttpReply], form: str
) -> None:
    tensors = batches.rows(5)
    whole = outputs_of(stub.ModelInfer(getattr(requests, form)(tensors), timeout=TIMEOUT))
    same_numbers(whole, infer(json_body(tensors)).outputs, SAME)
    last = outputs_of(stub.ModelInfer(getattr(requests, form)(row(tensors, 4)), timeout=TIMEOUT))
    same_numbers(last, infer(json_body(row(tensors, 4))).outputs, CLOSE)


def test_inference_with_a_version(
    stub: Any, pb: Any, requests: Requests, target: ServerUnderTest, payloads: ConformancePayloads, metadata: Json
) -> None:
    version = target.version or next(iter(metadata.get("versions") or []), None)
    if version is None:
        pytest.skip("the server advertises no versions")
    ready = stub.ModelReady(pb.ModelReadyRequest(name=target.model, version=version), timeout=TIMEOUT)
    assert ready.ready is True
    reply = stub.ModelInfer(requests.raw(payloads.rows(1), model_version=version), timeout=TIMEOUT)
    assert reply.model_version in ("", version)
    assert outputs_of(reply)


def test_id_is_echoed(stub: Any, requests: Requests, payloads: ConformancePayloads) -> None:
    assert stub.ModelInfer(requests.raw(payloads.rows(1), id="42"), timeout=TIMEOUT).id == "42"


def test_outputs_as_asked_for(
    stub: Any, requests: Requests, payloads: ConformancePayloads, expected: HttpReply
) -> None:
    """Each one alone, and all of them the other way round."""
    names = list(expected.outputs)
    for wanted in [*([name] for name in names), names[::-1]]:
        request = requests.raw(payloads.rows(1))
        for name in wanted:
            request.outputs.add(name=name)
        reply = outputs_of(stub.ModelInfer(request, timeout=TIMEOUT))
        same_numbers(reply, {name: expected.outputs[name] for name in wanted})


@pytest.mark.parametrize("whose", ["server", "model"])
def test_health_service(channel: Any, load: Load, target: ServerUnderTest, whose: str) -> None:
    """What a gRPC probe of Kubernetes asks: the empty name means the server."""
    pb, stubs = load("grpc_health.v1.health_pb2"), load("grpc_health.v1.health_pb2_grpc")
    request = pb.HealthCheckRequest(service=target.model if whose == "model" else "")
    status = stubs.HealthStub(channel).Check(request, timeout=TIMEOUT).status
    assert status == pb.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service(channel: Any, load: Load) -> None:
    pb, stubs = load("grpc_health.v1.health_pb2"), load("grpc_health.v1.health_pb2_grpc")
    request = pb.HealthCheckRequest(service="no-such-model")
    with pytest.raises(grpc.RpcError) as caught:
        stubs.HealthStub(channel).Check(request, timeout=TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_describes_the_service(channel: Any, load: Load) -> None:
    """Tools such as grpcurl need no .proto file then."""
    pb = load("grpc_reflection.v1alpha.reflection_pb2")
    stubs = load("grpc_reflection.v1alpha.reflection_pb2_grpc")
    questions = [
        pb.ServerReflectionRequest(list_services=""),
        pb.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    answers = list(stubs.ServerReflectionStub(channel).ServerReflectionInfo(iter(questions), timeout=TIMEOUT))
    assert SERVICE in [service.name for service in answers[0].list_services_response.service]
    assert answers[1].file_descriptor_response.file_descriptor_proto, answers[1]
