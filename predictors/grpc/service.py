"""The gRPC face of the predictor: inference, health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, NoReturn, TypeAlias

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from predictors.grpc.guard import PROBES, put_before
from predictors.grpc.transport.calls import Abort, GrpcCall, GrpcServer, GrpcStatus, Method
from predictors.model.kserve_types import prediction_of, request_of
from predictors.pipeline.fast_path import SMALL
from predictors.pipeline.metadata import model_metadata, server_metadata
from predictors.pipeline.outcome import known
from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.served_models import ServedModel
from predictors.protocol import grpc as codec
from predictors.protocol.batch import Batch, Prediction, row_count
from predictors.protocol.errors import NotFound, RequestError
from predictors.telemetry.exchange import current

Steps: TypeAlias = "tuple[Callable[[], Batch], Callable[[Prediction, Batch], Any]]"
SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
CODES = {
    400: GrpcStatus.INVALID_ARGUMENT,
    401: GrpcStatus.UNAUTHENTICATED,
    403: GrpcStatus.PERMISSION_DENIED,
    404: GrpcStatus.NOT_FOUND,
    409: GrpcStatus.FAILED_PRECONDITION,
    413: GrpcStatus.RESOURCE_EXHAUSTED,
    424: GrpcStatus.FAILED_PRECONDITION,
    429: GrpcStatus.RESOURCE_EXHAUSTED,
    499: GrpcStatus.CANCELLED,
    501: GrpcStatus.UNIMPLEMENTED,
    503: GrpcStatus.UNAVAILABLE,
    504: GrpcStatus.DEADLINE_EXCEEDED,
}


class InferenceService:
    """Each method takes its request and the call; KServe's service definition gives their names and types."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    async def ServerLive(self, request: Any, call: GrpcCall) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, call: GrpcCall) -> Any:
        return pb.ServerReadyResponse(ready=self.pipeline.ready)

    async def ModelReady(self, request: Any, call: GrpcCall) -> Any:
        if request.name != self.pipeline.name or self.pipeline.ready:
            self.checked(request.name, request.version)
        return pb.ModelReadyResponse(ready=self.pipeline.ready)

    async def ServerMetadata(self, request: Any, call: GrpcCall) -> Any:
        return pb.ServerMetadataResponse(**server_metadata())

    async def ModelMetadata(self, request: Any, call: GrpcCall) -> Any:
        loaded = self.checked(request.name, request.version).loaded
        about = model_metadata(self.pipeline.name, loaded, self.pipeline.reload_properties())
        fields = {field.name for field in pb.ModelMetadataResponse.DESCRIPTOR.fields}
        return pb.ModelMetadataResponse(**{key: value for key, value in about.items() if key in fields})

    async def ModelInfer(self, request: Any, call: GrpcCall) -> Any:
        edition = self.checked(request.model_name, request.model_version, count=True)
        model, loaded = edition.model, edition.loaded

        async def hooked() -> tuple[Any, int]:
            batch = codec.decode(request)
            response, _ = await model(request_of(batch, model.name), dict(call.head.metadata))
            prediction = prediction_of(response, loaded.version)
            if call.exchange is not None and call.exchange.sampled:
                call.exchange.predicted = batch, prediction
            return codec.encode(prediction, batch), row_count(batch)

        try:
            if model.customized:
                response = await self.pipeline.counted(loaded, hooked)
            else:
                size = request.ByteSize()
                steps: Steps = (lambda: codec.decode(request)), codec.encode
                if call.exchange is not None:
                    steps = call.exchange.timed(*steps, row_count)
                response = await self.pipeline.predict(edition, size, *steps, call.seconds_left)
        except asyncio.CancelledError:
            self.pipeline.count_request("grpc", call.ending.name)
            raise
        except Exception as error:
            self.abort(known(error), count=True)
        self.pipeline.count_request("grpc", "OK")
        return response

    def infer_quickly(self, call: GrpcCall, message: bytes) -> bool:
        """A call that may take the short way; false if it cannot."""
        lane, observer = self.pipeline.lane, self.pipeline.observer
        if observer.sample and observer.samples():
            call.exchange = call.exchange or call.watched()
            call.exchange.sampled, call.exchange.size = True, len(message)

        def refuse(error: RequestError) -> None:
            code = CODES[error.status]
            self.pipeline.count_request("grpc", code.name)
            call.fail(code, str(error))

        if lane is None or len(message) > SMALL:
            admission = self.pipeline.admission
            full = admission.full
            if full:
                refuse(admission.overloaded())
            else:
                admission.expect()
            return full

        def decode() -> Batch:
            request = pb.ModelInferRequest.FromString(message)
            self.pipeline.check(request.model_name, request.model_version or None)
            return codec.decode(request)

        def encode(prediction: Prediction, batch: Batch) -> bytes:
            message: bytes = codec.encode(prediction, batch).SerializeToString()
            return message

        def reply(made: bytes) -> None:
            self.pipeline.count_request("grpc", "OK")
            call.reply(made)

        exchange = call.exchange
        steps: Steps = (decode, encode)
        if exchange is not None:
            exchange.loaded, steps = lane.loaded, exchange.timed(decode, encode, row_count)
        lane.take(*steps, reply, lambda: call.pass_on(message), refuse, lambda: call.closed, call.seconds_left)
        return True

    async def RepositoryModelLoad(self, request: Any, call: GrpcCall) -> Any:
        self.named(request.model_name)
        try:
            await self.pipeline.command("load")
        except RequestError as error:
            self.abort(error)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, call: GrpcCall) -> Any:
        self.named(request.model_name)
        self.pipeline.unload()
        return pb.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)

    def checked(self, name: str, version: str, *, count: bool = False) -> ServedModel:
        try:
            return self.pipeline.check(name, version or None)
        except RequestError as error:
            self.abort(error, count=count)

    def named(self, name: str) -> None:
        if name != self.pipeline.name:
            self.abort(NotFound(f"unknown model '{name}'; this server has '{self.pipeline.name}'"))

    def abort(self, error: RequestError, *, count: bool = False) -> NoReturn:
        abort = aborted(error)
        if count:
            self.pipeline.count_request("grpc", abort.status.name)
        exchange = current.get()
        if exchange is not None:
            exchange.error = error
        raise abort


class HealthService:
    """`grpc.health.v1`, asked afresh each time so that it can never lag behind."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    async def Check(self, request: Any, call: GrpcCall) -> Any:
        if not self.knows(request.service):
            raise Abort(GrpcStatus.NOT_FOUND, f"unknown service '{request.service}'")
        return health_pb2.HealthCheckResponse(status=self.status())

    async def Watch(self, request: Any, call: GrpcCall) -> Any:
        """Says each change of state, looking twice a second, until the server ends."""
        last, ended = None, False
        while not ended:
            ended = self.pipeline.draining
            status = self.status() if self.knows(request.service) else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            await asyncio.sleep(0 if ended else 0.5)

    async def watch(self, call: GrpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            async for state in self.Watch(parsed(health_pb2.HealthCheckRequest, message), call):
                yield state.SerializeToString()

    def knows(self, service: str) -> bool:
        return service in ("", SERVICE.full_name, self.pipeline.name)

    def status(self) -> Any:
        states = health_pb2.HealthCheckResponse
        return states.SERVING if self.pipeline.ready else states.NOT_SERVING


def build(pipeline: Pipeline) -> GrpcServer:
    """A gRPC server that listens nowhere yet."""
    service, health = InferenceService(pipeline), HealthService(pipeline)
    reflection = ReflectionServicer([one.full_name for one in (SERVICE, HEALTH, REFLECTION)])
    methods = {
        path_of(one): unary(getattr(service, one.name), GetMessageClass(one.input_type), one.name in PROBES)
        for one in SERVICE.methods
    }
    infer = path_of(SERVICE.methods_by_name["ModelInfer"])
    methods[infer] = replace(methods[infer], quick=service.infer_quickly)
    methods[path_of(HEALTH.methods_by_name["Check"])] = unary(health.Check, health_pb2.HealthCheckRequest, True)
    methods[path_of(HEALTH.methods_by_name["Watch"])] = Method(streaming=health.watch, probe=True)

    async def reflect(call: GrpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        requests = (parsed(reflection_pb2.ServerReflectionRequest, message) async for message in messages)
        async for response in reflection.ServerReflectionInfo(requests, call):
            yield response.SerializeToString()

    methods[path_of(REFLECTION.methods_by_name["ServerReflectionInfo"])] = Method(streaming=reflect, probe=True)
    admission, settings = pipeline.admission, pipeline.settings

    def refused() -> None:
        pipeline.count_request("grpc", GrpcStatus.UNAVAILABLE.name)
        admission.no_room()

    server = GrpcServer(methods, settings.max_body, pipeline.observer, admission.room, settings.read_timeout, refused)
    if pipeline.gate is not None:

        def refusal(path: str, error: RequestError) -> Abort:
            abort = aborted(error)
            if path == infer:
                pipeline.count_request("grpc", abort.status.name)
            return abort

        put_before(server, pipeline.gate, refusal)
    return server


def aborted(error: RequestError) -> Abort:
    seconds = dict(error.headers).get("retry-after")
    return Abort(CODES.get(error.status, GrpcStatus.INTERNAL), str(error), None if seconds is None else float(seconds))


def path_of(method: Any) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def unary(handler: Any, request_type: Any, probe: bool = False) -> Method:
    async def answer(call: GrpcCall, message: bytes) -> bytes:
        reply: bytes = (await handler(parsed(request_type, message), call)).SerializeToString()
        return reply

    return Method(unary=answer, probe=probe)


def parsed(request_type: Any, message: bytes) -> Any:
    try:
        return request_type.FromString(message)
    except DecodeError:
        raise Abort(GrpcStatus.INVALID_ARGUMENT, f"the message is no {request_type.DESCRIPTOR.name}") from None
