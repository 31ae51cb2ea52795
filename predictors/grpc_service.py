"""The gRPC face of the predictor: inference, health and reflection."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.kserve_types import prediction_of, request_of
from predictors.metadata import model_metadata, server_metadata
from predictors.pipeline import Pipeline, known, row_count
from predictors.protocol import grpc as codec
from predictors.protocol.errors import NotFound, RequestError

SERVICE = "inference.GRPCInferenceService"
MOST_DETAILS = 600  # characters: they travel in a header, of which clients take 8 KiB
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class InferenceService(pb_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, no types
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        return pb.ServerReadyResponse(ready=self.pipeline.ready)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        if request.name != self.pipeline.name or self.pipeline.ready:
            await self.checked(context, request.name, request.version)
        return pb.ModelReadyResponse(ready=self.pipeline.ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        return pb.ServerMetadataResponse(**server_metadata())

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        loaded = await self.checked(context, request.name, request.version)
        about = model_metadata(self.pipeline.name, loaded)
        fields = {field.name for field in pb.ModelMetadataResponse.DESCRIPTOR.fields}
        return pb.ModelMetadataResponse(**{key: value for key, value in about.items() if key in fields})

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        loaded = await self.checked(context, request.model_name, request.model_version, count=True)
        model = self.pipeline.serving()

        async def hooked() -> tuple[Any, int]:
            batch = codec.decode(request)
            response, _ = await model(request_of(batch, model.name), dict(context.invocation_metadata() or ()))
            return codec.encode(prediction_of(response, loaded.version), batch), row_count(batch)

        try:
            if model.customized:
                response = await self.pipeline.counted(loaded, hooked)
            else:
                size = request.ByteSize()
                response = await self.pipeline.predict(loaded, size, lambda: codec.decode(request), codec.encode)
        except Exception as error:
            await self.abort(context, known(error), count=True)
        self.pipeline.count_request("grpc", "OK")
        return response

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        await self.named(context, request.model_name)
        try:
            await self.pipeline.load_again()
        except RequestError as error:
            await self.abort(context, error)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        await self.named(context, request.model_name)
        self.pipeline.unload()
        return pb.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)

    async def checked(self, context: Any, name: str, version: str, *, count: bool = False) -> Any:
        try:
            return self.pipeline.check(name, version or None)
        except RequestError as error:
            await self.abort(context, error, count=count)

    async def named(self, context: Any, name: str) -> None:
        if name != self.pipeline.name:
            await self.abort(context, NotFound(f"unknown model '{name}'; this server has '{self.pipeline.name}'"))

    async def abort(self, context: Any, error: RequestError, *, count: bool = False) -> NoReturn:
        code = CODES.get(error.status, grpc.StatusCode.INTERNAL)
        if count:
            self.pipeline.count_request("grpc", code.name)
        await context.abort(code, str(error)[:MOST_DETAILS])
        raise AssertionError("abort returned")  # pragma: no cover


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated, no types
    """`grpc.health.v1`, asked afresh each time so that it can never lag behind."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    async def Check(self, request: Any, context: Any) -> Any:
        if not self.knows(request.service):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service '{request.service}'")
        return health_pb2.HealthCheckResponse(status=self.status())

    async def Watch(self, request: Any, context: Any) -> Any:
        """Says each change of state, looking twice a second, until the server ends."""
        last, ended = None, False
        while not ended:
            ended = self.pipeline.draining
            status = self.status() if self.knows(request.service) else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            await asyncio.sleep(0 if ended else 0.5)

    def knows(self, service: str) -> bool:
        return service in ("", SERVICE, self.pipeline.name)

    def status(self) -> Any:
        states = health_pb2.HealthCheckResponse
        return states.SERVING if self.pipeline.ready else states.NOT_SERVING


def build(pipeline: Pipeline, *, reuse_port: bool) -> grpc.aio.Server:
    """A gRPC server without a port yet."""
    limit = pipeline.settings.max_body
    options = [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1 if reuse_port else 0),
    ]
    server = grpc.aio.server(options=options)
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceService(pipeline), server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthService(pipeline), server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server
