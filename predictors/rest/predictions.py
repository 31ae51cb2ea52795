"""The routes that predict, in V1, V2 and MLflow's own protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from kserve.model import InferenceVerb, Model

from predictors.pipeline.choosing import choose
from predictors.pipeline.hooks import decode_again, hooked_v1, hooked_v2, prediction_note
from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.served_model import ServedModel
from predictors.protocol import codecs, invocations
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.codecs import Codec
from predictors.protocol.errors import NotSupported, UnsupportedMediaType
from predictors.protocol.ignored import Ignored
from predictors.protocol.parquet_table import unfolded_size
from predictors.protocol.tables import MAX_COLUMNS, TableColumns
from predictors.rest.asgi import JSON, Request, Response
from predictors.rest.connection import CALL_KEY
from predictors.rest.fast_call import Encoded, FastCall
from predictors.rest.responses import BINARY, HEADER_LENGTH, tensor_response, with_version
from predictors.rest.routes import Route
from predictors.signature.fields import TEXT_TYPES, wanted_names

OTHER_TYPES = frozenset({BINARY, "text/csv", invocations.PARQUET, "multipart/form-data", "application/xml", "text/xml"})
FORM = "application/x-www-form-urlencoded"
"""Types of bodies that are not JSON."""


class Predictions:
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.invocations_codec = codecs.STRICT_INVOCATIONS if pipeline.settings.strict_input else codecs.INVOCATIONS

    def routes(self) -> list[Route]:
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        return [
            Route("predict", "POST", "/v1/models/{model}:predict", self.v1_predict, "v1"),
            Route("predict", "POST", "/v1/models/{model}:explain", self.v1_explain, "v1"),
            Route("predict", "POST", f"{model}/infer", self.v2_infer, "v2"),
            Route("predict", "POST", f"{version}/infer", self.v2_infer, "v2"),
            Route("predict", "POST", "/invocations", self.invocations, "invocations"),
        ]

    def codecs(self) -> dict[str, Codec]:
        """The codecs of the paths that nearly every request uses."""
        name = self.pipeline.name
        return {
            f"/v1/models/{name}:predict": codecs.V1,
            f"/v2/models/{name}/infer": codecs.V2,
            "/invocations": self.invocations_codec,
        }

    async def v1_predict(self, request: Request) -> Response:
        self.pipeline.check(request.parts["model"])
        require_json(request)
        body = await request.body()
        served = self.pipeline.serving()
        if served.model.customized:
            served, _ = await self.chosen(request, served, lambda: decode_again(body), len(body))
            run = hooked_v1(self.pipeline, served, body, request.headers, note=prediction_note(len(body)))
            return with_version(Response(await self.pipeline.counted(served, lambda: run)), served)
        return await self.predict(request, served, codecs.V1, body)

    async def v1_explain(self, request: Request) -> Response:
        served = self.pipeline.check(request.parts["model"])
        if type(served.model).explain is Model.explain:
            raise NotSupported(f"model '{self.pipeline.name}' has no explainer")
        require_json(request)
        body = await request.body()
        served, _ = await self.chosen(request, served, lambda: decode_again(body), len(body))
        run = hooked_v1(self.pipeline, served, body, request.headers, InferenceVerb.EXPLAIN)
        return with_version(Response(await self.pipeline.counted(served, lambda: run)), served)

    async def v2_infer(self, request: Request) -> Response:
        self.pipeline.check(request.parts["model"], request.parts.get("version"))
        header_length = request.headers.get(HEADER_LENGTH)
        if header_length is None or request.content_type != BINARY:
            require_json(request)
        body = await request.body()
        served = self.pipeline.check(request.parts["model"], request.parts.get("version"))
        if not served.model.customized:
            return await self.predict(request, served, codecs.V2, body, header_length)
        served, _ = await self.chosen(request, served, lambda: codecs.V2.decode(body, header_length), len(body))
        run = hooked_v2(self.pipeline, served, body, header_length, request.headers, prediction_note(len(body)))
        return with_version(tensor_response(*await self.pipeline.counted(served, lambda: run)), served)

    async def invocations(self, request: Request) -> Response:
        self.pipeline.serving()
        content_type = request.content_type
        if content_type not in invocations.CONTENT_TYPES:
            hint = "; curl calls it a form without -H 'Content-Type: application/json'" if content_type == FORM else ""
            raise UnsupportedMediaType(
                f"unsupported content type; expected one of {', '.join(invocations.CONTENT_TYPES)}{hint}"
            )
        body = await request.body()
        served = self.pipeline.serving()
        if content_type == JSON:
            return await self.predict(request, served, self.invocations_codec, body)
        columns = table_columns(served, None if self.pipeline.settings.strict_input else Ignored())
        if content_type == invocations.PARQUET:
            await self.hold_unfolded(request, body, columns)
        decode = partial(invocations.decode_file, content_type=content_type, columns=columns)
        codec = replace(self.invocations_codec, decode=lambda body, split: decode(body))
        return await self.predict(request, served, codec, body, inline=False)

    async def hold_unfolded(self, request: Request, body: bytes, columns: TableColumns) -> None:
        """Counts what a Parquet file takes once it is read, as if it had been sent so."""
        with self.pipeline.admission.slot():
            size = await self.pipeline.apart(lambda: unfolded_size(body, columns, request.max_body))
        request.hold(size)

    async def chosen(
        self, request: Request, served: ServedModel, decode: Callable[[], Batch], size: int, *, inline: bool = True
    ) -> tuple[ServedModel, Batch | None]:
        """Who answers the request, the model or the candidate; and the request if it is decoded already."""
        call: FastCall | None = request.scope.get(CALL_KEY)
        decoded, number = (None, 0) if call is None else (call.batch, call.chosen)
        if served.pair is None:
            return served, decoded
        return await choose(
            self.pipeline, served.pair, request.scope["headers"], decode, size, decoded, number, inline=inline
        )

    async def predict(
        self,
        request: Request,
        served: ServedModel,
        codec: Codec,
        body: bytes,
        header_length: str | None = None,
        *,
        inline: bool = True,
    ) -> Response:
        def decode() -> Batch:
            return codec.decode(body, header_length)

        ignored: Ignored | None = None

        def encode(prediction: Prediction, batch: Batch) -> Encoded:
            nonlocal ignored
            ignored = batch.ignored
            return codec.encode(prediction, batch, self.pipeline.strict)

        served, decoded = await self.chosen(request, served, decode, len(body), inline=inline)
        reply, split = await self.pipeline.predict(served, len(body), decode, encode, decoded=decoded, inline=inline)
        response = with_version(tensor_response(reply, split), served)
        if ignored:
            self.pipeline.ignored_log.note(ignored)
            response.headers = (*response.headers, ("x-ignored", ignored.header))
        return response


def table_columns(served: ServedModel, ignored: Ignored | None) -> TableColumns:
    plan, features = served.loaded.plan, served.features
    texts = [field.name for field in plan.inputs if field.type in TEXT_TYPES]
    if features is None:
        most = max(MAX_COLUMNS, len(plan.inputs), plan.width or 0)
        return TableColumns(texts, partial(plan.select, ignored=ignored), ignored, most)
    known = [*(field.name for field in plan.inputs), *features.further_columns]
    return TableColumns(
        [*texts, *features.text_columns],
        lambda names: wanted_names(dict.fromkeys(names), known, ignored),
        ignored,
        max(MAX_COLUMNS, len(known)),
    )


def require_json(request: Request) -> None:
    """Refuses a body that is said to be something else. Any other type is JSON, as on KServe's own servers: `curl -d`
    calls it a form."""
    if request.content_type in OTHER_TYPES:
        raise UnsupportedMediaType(f"unsupported content type; expected {JSON}")
