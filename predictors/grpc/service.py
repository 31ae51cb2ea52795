"""The gRPC services of the predictor: inference, health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from predictors.grpc.guard import PROBES, guard_methods
from predictors.grpc.transport.calls import GrpcServer
from predictors.grpc.transport.fields import Headers
from predictors.grpc.transport.methods import Abort, Method, RpcCall
from predictors.model.kserve_types import prediction_of, request_of
from predictors.pipeline.choosing import choose
from predictors.pipeline.fast_answers import answer
from predictors.pipeline.metadata import model_metadata, server_metadata
from predictors.pipeline.outcome import request_error
from predictors.pipeline.pipeline import MAX_SHARED_BODY, Pipeline
from predictors.pipeline.served_model import ServedModel
from predictors.protocol import grpc as codec
from predictors.protocol.batch import Batch, Prediction, row_count
from predictors.protocol.errors import InvalidInput, NotFound, RequestError
from predictors.protocol.grpc_contents import LargeMessage, lifted
from predictors.protocol.grpc_status import GrpcStatus
from predictors.telemetry.exchange import Exchange, current

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

    async def ServerLive(self, request: Any, call: RpcCall) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, call: RpcCall) -> Any:
        return pb.ServerReadyResponse(ready=self.pipeline.ready)

    async def ModelReady(self, request: Any, call: RpcCall) -> Any:
        if request.name != self.pipeline.name or self.pipeline.ready:
            self.checked(request.name, request.version)
        return pb.ModelReadyResponse(ready=self.pipeline.ready)

    async def ServerMetadata(self, request: Any, call: RpcCall) -> Any:
        return pb.ServerMetadataResponse(**server_metadata())

    async def ModelMetadata(self, request: Any, call: RpcCall) -> Any:
        loaded = self.checked(request.name, request.version).loaded
        about = model_metadata(self.pipeline.name, loaded, self.pipeline.served_models.reload_properties())
        fields = {field.name for field in pb.ModelMetadataResponse.DESCRIPTOR.fields}
        return pb.ModelMetadataResponse(**{key: value for key, value in about.items() if key in fields})

    async def infer(self, call: RpcCall, message: bytes) -> bytes:
        """ModelInfer, from the bytes of the request to those of the reply: a large message is parsed in a thread."""
        request: Any = None
        large: LargeMessage | None = None
        try:
            if len(message) <= MAX_SHARED_BODY:
                request = message_of(pb.ModelInferRequest, message)
                served = self.pipeline.check(request.model_name, request.model_version or None)
            else:
                served = self.pipeline.serving()
                if served.pair is not None:  # the message says which of them answers
                    request, large = await self.pipeline.alone(lambda: parsed_large(message))
                    served = self.pipeline.check(request.model_name, request.model_version or None)

            def decode() -> Batch:
                if request is not None:
                    return codec.decode(request, large)
                whole, lifted = parsed_large(message)
                self.pipeline.check_name(whole.model_name)
                served.of_version(whole.model_name, whole.model_version or None)
                return codec.decode(whole, lifted)

            decoded = call.decoded
            if served.pair is not None:
                served, decoded = await choose(
                    self.pipeline, served.pair, call.headers, decode, len(message), decoded, call.chosen
                )
            model, loaded = served.model, served.loaded

            async def hooked() -> tuple[bytes, int]:
                def opened() -> tuple[Batch, Any]:
                    batch = decode()
                    return batch, request_of(batch, model.name)

                batch, request = await self.pipeline.by_size(len(message), opened)
                response, _ = await model(request, dict(call.head.metadata))
                prediction = prediction_of(response, loaded.version)
                if call.exchange is not None and call.exchange.sampled:
                    call.exchange.predicted = batch, prediction
                reply = await self.pipeline.by_size(len(message), lambda: codec.encode(prediction, batch))
                return reply, row_count(batch)

            if model.customized:
                return await self.pipeline.counted(served, hooked)
            return await self.pipeline.predict(served, len(message), decode, codec.encode, call.seconds_left, decoded)
        except Exception as error:
            self.abort(request_error(error))

    def infer_quickly(self, call: RpcCall, message: bytes) -> None:
        """Answers a call that may take the fast path."""
        answer(self.pipeline, InferReply(self.pipeline, call, message))

    async def RepositoryModelLoad(self, request: Any, call: RpcCall) -> Any:
        self.named(request.model_name)
        try:
            await self.pipeline.command("load")
        except RequestError as error:
            self.abort(error)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, call: RpcCall) -> Any:
        self.named(request.model_name)
        self.pipeline.served_models.unload()
        return pb.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)

    def checked(self, name: str, version: str) -> ServedModel:
        try:
            return self.pipeline.check(name, version or None)
        except RequestError as error:
            self.abort(error)

    def named(self, name: str) -> None:
        if name != self.pipeline.name:
            self.abort(NotFound(f"unknown model '{name}'; this server has '{self.pipeline.name}'"))

    def abort(self, error: RequestError) -> NoReturn:
        exchange = current.get()
        if exchange is not None:
            exchange.error = error
        raise aborted(error)


class InferReply:
    """A `Reply` over gRPC."""

    __slots__ = ("call", "exchange", "message", "pipeline")
    admitted = True  # the guard keeps all others from the fast path

    def __init__(self, pipeline: Pipeline, call: RpcCall, message: bytes) -> None:
        self.pipeline = pipeline
        self.call = call
        self.message = message
        self.exchange = call.exchange

    @property
    def headers(self) -> Headers:
        return self.call.headers

    @property
    def peer(self) -> str:
        return self.call.peer

    @property
    def size(self) -> int:
        return len(self.message)

    @property
    def seconds_left(self) -> float:
        return self.call.seconds_left

    def observe(self) -> Exchange:
        self.exchange = exchange = self.call.observe()
        return exchange

    def decode(self) -> Batch:
        request = pb.ModelInferRequest.FromString(self.message)
        served = self.pipeline.check(request.model_name, request.model_version or None)
        if served is not self.pipeline.served_models.active:
            raise InvalidInput("a version is named where two answer, which the slow path sees to")
        return codec.decode(request)

    def encode(self, prediction: Prediction, batch: Batch) -> bytes:
        return codec.encode(prediction, batch)

    def send(self, encoded: bytes, version_header: bytes) -> None:
        self.call.reply(encoded)

    def pass_on(self, batch: Batch | None = None, number: int = 0) -> None:
        if batch is not None:
            self.call.decoded = batch
        self.call.chosen = number
        self.call.pass_on(self.message)

    def refuse(self, error: RequestError) -> None:
        self.call.fail(CODES[error.status], str(error))

    def is_gone(self) -> bool:
        return self.call.closed


class HealthService:
    """`grpc.health.v1`; the state is computed for each request, so that it is never out of date."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    async def Check(self, request: Any, call: RpcCall) -> Any:
        if not self.knows(request.service):
            raise Abort(GrpcStatus.NOT_FOUND, f"unknown service '{request.service}'")
        return health_pb2.HealthCheckResponse(status=self.status())

    async def Watch(self, request: Any, call: RpcCall) -> Any:
        """Sends each change of state, checked twice a second, until the server ends."""
        last, ended = None, False
        while not ended:
            ended = self.pipeline.draining
            status = self.status() if self.knows(request.service) else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            await asyncio.sleep(0 if ended else 0.5)

    async def watch(self, call: RpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            async for state in self.Watch(parsed(health_pb2.HealthCheckRequest, message), call):
                yield state.SerializeToString()

    def knows(self, service: str) -> bool:
        return service in ("", SERVICE.full_name, self.pipeline.name)

    def status(self) -> Any:
        states = health_pb2.HealthCheckResponse
        return states.SERVING if self.pipeline.ready else states.NOT_SERVING


def build(pipeline: Pipeline) -> GrpcServer:
    """A gRPC server that does not listen yet."""
    service, health = InferenceService(pipeline), HealthService(pipeline)
    reflection = ReflectionServicer([one.full_name for one in (SERVICE, HEALTH, REFLECTION)])
    methods = {
        path_of(one): unary(getattr(service, one.name), GetMessageClass(one.input_type), one.name in PROBES)
        for one in SERVICE.methods
        if one.name != "ModelInfer"
    }
    infer = path_of(SERVICE.methods_by_name["ModelInfer"])
    methods[infer] = Method(
        unary=service.infer, quick=service.infer_quickly, ended=lambda status: pipeline.record("grpc", status)
    )
    methods[path_of(HEALTH.methods_by_name["Check"])] = unary(health.Check, health_pb2.HealthCheckRequest, True)
    methods[path_of(HEALTH.methods_by_name["Watch"])] = Method(streaming=health.watch, probe=True)

    async def reflect(call: RpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        requests = (parsed(reflection_pb2.ServerReflectionRequest, message) async for message in messages)
        async for response in reflection.ServerReflectionInfo(requests, call):
            yield response.SerializeToString()

    methods[path_of(REFLECTION.methods_by_name["ServerReflectionInfo"])] = Method(streaming=reflect, probe=True)
    admission, settings = pipeline.admission, pipeline.settings
    server = server_class(settings.grpc_server)(
        methods,
        settings.max_body,
        pipeline.observer,
        admission.byte_budget,
        settings.read_timeout,
        admission.out_of_bytes,
        pipeline.inflater,
    )
    if pipeline.gate is not None:
        guard_methods(server, pipeline.gate, aborted)
    return server


def server_class(name: str) -> type[GrpcServer]:
    if name == "own":
        return GrpcServer
    from predictors.grpc.grpcio_server import GrpcioServer

    return GrpcioServer


def aborted(error: RequestError) -> Abort:
    seconds = dict(error.headers).get("retry-after")
    return Abort(CODES.get(error.status, GrpcStatus.INTERNAL), str(error), None if seconds is None else float(seconds))


def path_of(method: Any) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def unary(handler: Any, request_type: Any, probe: bool = False) -> Method:
    async def answer(call: RpcCall, message: bytes) -> bytes:
        request = parsed(request_type, message)
        reply: bytes = (await handler(request, call)).SerializeToString()
        return reply

    return Method(unary=answer, probe=probe)


def parsed(request_type: Any, message: bytes) -> Any:
    try:
        return message_of(request_type, message)
    except InvalidInput as error:
        raise aborted(error) from None


def message_of(request_type: Any, message: bytes) -> Any:
    try:
        return request_type.FromString(message)
    except DecodeError:
        raise InvalidInput(f"the message is no {request_type.DESCRIPTOR.name}") from None


def parsed_large(message: bytes) -> tuple[Any, LargeMessage]:
    """A ModelInferRequest, and what was lifted out of it."""
    large = lifted(message)
    return message_of(pb.ModelInferRequest, large.rest), large
