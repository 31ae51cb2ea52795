"""gRPC: inference, health and reflection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from tests.http2_frames import packed
from tests.predictors.grpc.serving import SECONDS
from tests.predictors.grpc.wire import failed
from tests.serving import Running, in_thread, wait_for

ROW = [91.5, 1.05, 41.0, 0.9]


@pytest.fixture(scope="module", params=["own", "grpcio"])
def demo(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Either gRPC server."""
    with in_thread(None, max_body=200_000, grpc_server=request.param) as server:
        yield server


@pytest.fixture
def channel(demo: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(demo.grpc) as open_channel:
        yield open_channel


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    return pb_grpc.GRPCInferenceServiceStub(channel)


def request(**changes: Any) -> Any:
    message = pb.ModelInferRequest(model_name="model", **changes)
    message.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(ROW)
    return message


def refused(call: Any, message: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(message, timeout=20)
    return error.value.code().name, error.value.details()


def test_metadata_and_health(stub: Any) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="model", version="1")).ready
    assert stub.ServerMetadata(pb.ServerMetadataRequest()).name == "mlflow-kserve"
    about = stub.ModelMetadata(pb.ModelMetadataRequest(name="model"))
    assert (about.platform, list(about.versions)) == ("mlflow_sklearn", ["1"])
    assert [(one.name, one.datatype, list(one.shape)) for one in about.outputs] == [
        ("predictions", "INT64", [-1]),
        ("probabilities", "FP64", [-1, 2]),
    ]


def test_typed_and_raw_contents_give_the_same(stub: Any) -> None:
    typed = stub.ModelInfer(request(id="7"))
    assert (typed.id, typed.model_version) == ("7", "1")
    assert list(typed.outputs[0].contents.int64_contents) == [1]
    raw = pb.ModelInferRequest(model_name="model", raw_input_contents=[np.array(ROW).tobytes()])
    raw.inputs.add(name="x", datatype="FP64", shape=[1, 4])
    reply = stub.ModelInfer(raw)
    assert np.frombuffer(reply.raw_output_contents[0], np.int64).tolist() == [1]
    assert np.frombuffer(reply.raw_output_contents[1]).tolist() == list(typed.outputs[1].contents.fp64_contents)


def test_method_and_wanted_outputs(stub: Any) -> None:
    message = request()
    message.parameters["method"].string_param = "predict_proba"
    assert [one.name for one in stub.ModelInfer(message).outputs] == ["predict_proba"]
    message = request()
    message.outputs.add(name="probabilities")
    assert [one.name for one in stub.ModelInfer(message).outputs] == ["probabilities"]


def test_status_codes(stub: Any) -> None:
    assert refused(stub.ModelInfer, pb.ModelInferRequest(model_name="other"))[0] == "NOT_FOUND"
    assert refused(stub.ModelInfer, request(model_version="9"))[0] == "NOT_FOUND"
    assert refused(stub.ModelMetadata, pb.ModelMetadataRequest(name="other"))[0] == "NOT_FOUND"
    assert refused(stub.ModelReady, pb.ModelReadyRequest(name="model", version="9"))[0] == "NOT_FOUND"
    assert refused(stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="other"))[0] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datatype": "FP99"}, "unknown datatype"),
        ({"shape": [2, 4]}, "does not agree with 4 values"),
        ({"shape": [-1, 4]}, "non-negative"),
        ({"shape": [2**32, 2**32]}, "larger than any tensor can be"),
        ({"datatype": "INT64"}, "INT64 goes into int64_contents, got fp64_contents"),
        ({"name": ""}, "'name' must be a non-empty string"),
        ({"datatype": "FP16"}, "no typed contents"),
    ],
)
def test_broken_tensors(stub: Any, change: dict[str, Any], words: str) -> None:
    message = request()
    tensor = message.inputs[0]
    if "shape" in change:
        tensor.ClearField("shape")
        tensor.shape.extend(change["shape"])
    else:
        for name, value in change.items():
            setattr(tensor, name, value)
    code, details = refused(stub.ModelInfer, message)
    assert (code, words in details) == ("INVALID_ARGUMENT", True), details


@pytest.mark.parametrize("chunks", [[b"\0" * 31], [b"\0" * 32, b""], [b"\0" * 40]])
def test_broken_raw_contents(stub: Any, chunks: list[bytes]) -> None:
    message = pb.ModelInferRequest(model_name="model", raw_input_contents=chunks)
    message.inputs.add(name="x", datatype="FP64", shape=[1, 4])
    assert refused(stub.ModelInfer, message)[0] == "INVALID_ARGUMENT"


def test_both_kinds_of_contents(stub: Any) -> None:
    assert refused(stub.ModelInfer, request(raw_input_contents=[b"\0" * 32]))[0] == "INVALID_ARGUMENT"


def test_too_large_a_message(stub: Any) -> None:
    message = pb.ModelInferRequest(model_name="model", raw_input_contents=[b"\0" * 300_000])
    assert refused(stub.ModelInfer, message)[0] == "RESOURCE_EXHAUSTED"


def test_health_service(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "model", "inference.GRPCInferenceService"):
        reply = health.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert refused(health.Check, health_pb2.HealthCheckRequest(service="other"))[0] == "NOT_FOUND"


def test_health_is_watched_and_the_model_can_be_unloaded() -> None:
    states = health_pb2.HealthCheckResponse
    with in_thread(None) as server, grpc.insecure_channel(server.grpc) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="model"))
        assert next(watched).status == states.SERVING
        assert stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="model")).isUnloaded
        assert next(watched).status == states.NOT_SERVING
        assert not stub.ServerReady(pb.ServerReadyRequest()).ready
        assert refused(stub.ModelInfer, request())[0] == "UNAVAILABLE"
        assert stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="model")).isLoaded
        assert next(watched).status == states.SERVING
        assert stub.ModelInfer(request()).model_name == "model"
        watched.cancel()


def test_reflection(channel: grpc.Channel) -> None:
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    reply = next(iter(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))))
    names = {service.name for service in reply.list_services_response.service}
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names


def test_many_calls_at_once(stub: Any) -> None:
    calls = [stub.ModelInfer.future(request(id=str(i))) for i in range(50)]
    wait_for(lambda: all(call.done() for call in calls))
    assert [call.result().id for call in calls] == [str(i) for i in range(50)]


# -- messages on the wire, and many calls at once ---------------------------------------------------------------------


@pytest.mark.parametrize("message", [b"\xff", b"\x0a\x05ab", b"\x08"])
@pytest.mark.parametrize(
    "path",
    [
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelMetadata",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    ],
)
def test_garbage_for_a_message(demo: Running, path: str, message: bytes) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        with pytest.raises(grpc.RpcError) as error:
            list(channel.unary_stream(path)(message, timeout=SECONDS))
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_long_name_of_a_service(demo: Running) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            health.Check(health_pb2.HealthCheckRequest(service="x" * 50_000), timeout=SECONDS)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS).status == 1


def infer(i: int) -> Any:
    message = pb.ModelInferRequest(model_name="model", id=str(i))
    row = [91.5, 1.05, 41.0, 0.9 + i / 1000]
    message.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(row)
    return message


@pytest.mark.parametrize("channels", [1, 20])
def test_each_call_gets_its_own_answer(demo: Running, channels: int) -> None:
    with contextlib.ExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        opened = [stack.enter_context(grpc.insecure_channel(demo.grpc, options)) for _ in range(channels)]
        stubs = [pb_grpc.GRPCInferenceServiceStub(one) for one in opened]
        alone = [list(stubs[0].ModelInfer(infer(i)).outputs[1].contents.fp64_contents) for i in range(0, 200, 20)]
        futures = [stubs[i % channels].ModelInfer.future(infer(i), timeout=SECONDS) for i in range(200)]
        replies = [future.result() for future in futures]
        assert [one.id for one in replies] == [str(i) for i in range(200)]
        assert [list(one.outputs[1].contents.fp64_contents) for one in replies[::20]] == alone


def test_streams_beside_calls(demo: Running) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        watched = [health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()) for _ in range(20)]
        ask = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
        ] * 20
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(ask), timeout=SECONDS)
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        futures = [stub.ModelInfer.future(infer(i), timeout=SECONDS) for i in range(50)]
        kinds = [one.WhichOneof("message_response") for one in reflected]
        assert kinds == ["list_services_response", "file_descriptor_response"] * 20
        assert [future.result().id for future in futures] == [str(i) for i in range(50)]
        assert [next(one).status for one in watched] == [health_pb2.HealthCheckResponse.SERVING] * 20
        for one in watched:
            one.cancel()


@pytest.mark.parametrize("message", [b"", packed(b"")])
def test_empty_messages(demo: Running, message: bytes) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        code, details = failed(channel, "/inference.GRPCInferenceService/ModelInfer", message)
        assert code in ("NOT_FOUND", "INVALID_ARGUMENT"), details
