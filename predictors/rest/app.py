"""The ASGI front: every HTTP route of a predictor, and errors in the shape of the protocol they belong to."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from importlib import metadata
from typing import Any
from urllib.parse import quote

from kserve.model import InferenceVerb, Model

from predictors.features.lookup import Description
from predictors.pipeline.fast_answers import answer
from predictors.pipeline.hooks import hooked_v1, hooked_v2, noting
from predictors.pipeline.metadata import model_metadata, server_metadata
from predictors.pipeline.outcome import known
from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.served_models import ServedModel
from predictors.protocol import codecs, invocations
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.codecs import Codec
from predictors.protocol.errors import (
    MethodNotAllowed,
    NotFound,
    NotReady,
    NotSupported,
    UnsupportedMediaType,
)
from predictors.rest import pages
from predictors.rest.asgi import JSON, ClientGone, NoRoom, Receive, Request, Response, Scope, Send, peer_of
from predictors.rest.connection import CALL, GIVE_UP, give_up_with_client, has_left
from predictors.rest.fast_call import Encoded, FastCall, FastRoute
from predictors.rest.responses import (
    BINARY,
    HEADER_LENGTH,
    error_response,
    json_response,
    of_version,
    protocol_of,
    tensor_response,
)
from predictors.rest.routes import LIVE, Handler, Route, path_pattern
from predictors.rest.webhook import Webhook, concerns
from predictors.signature.fields import TEXT_TYPES
from predictors.storage.source import is_moving
from predictors.telemetry.exchange import GONE, Exchange
from predictors.telemetry.metrics import exposition


class Front:
    """The ASGI application."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.gate = pipeline.gate
        self.webhook = Webhook(pipeline.settings.webhook_secret_file, pipeline.shared.folder / "deliveries")
        self.admission = pipeline.admission
        self.routes = [
            Route(verb, re.compile(path_pattern(path)), handler, protocol, kind, path)
            for kind, verb, path, handler, protocol in self.table()
        ]
        # The paths that nearly every request takes, found without a search.
        name = pipeline.name
        self.hot = {
            f"/v1/models/{name}:predict": self.find("POST", f"/v1/models/{name}:predict"),
            f"/v2/models/{name}/infer": self.find("POST", f"/v2/models/{name}/infer"),
            "/invocations": self.find("POST", "/invocations"),
        }
        self.fast_routes = {
            quote(path, safe="/:").encode(): FastRoute(pipeline, codec, self.hot[path][0].path)
            for path, codec in zip(self.hot, (codecs.V1, codecs.V2, codecs.INVOCATIONS), strict=True)
        }

    def table(self) -> list[tuple[str, str, str, Handler, str]]:
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        return [
            ("predict", "POST", "/v1/models/{model}:predict", self.v1_predict, "v1"),
            ("predict", "POST", "/v1/models/{model}:explain", self.v1_explain, "v1"),
            ("predict", "POST", f"{model}/infer", self.v2_infer, "v2"),
            ("predict", "POST", f"{version}/infer", self.v2_infer, "v2"),
            ("predict", "POST", "/invocations", self.invocations, "invocations"),
            *(("probe", "GET", path, self.live, "") for path in LIVE),
            *(("probe", "GET", path, self.ready, "") for path in ("/ready", "/health/ready", "/v2/health/ready")),
            ("probe", "GET", "/ping", self.ping, ""),
            ("probe", "GET", "/version", self.version, ""),
            ("probe", "GET", "/v1/models", self.v1_models, ""),
            ("probe", "GET", "/v1/models/{model}", self.v1_model, ""),
            ("probe", "GET", "/v2", self.v2_server, ""),
            ("probe", "GET", "/v2/models", self.v1_models, ""),
            *(("page", "GET", path, self.v2_model, "") for path in (model, version)),
            *(("probe", "GET", f"{path}/ready", self.v2_model_ready, "") for path in (model, version)),
            ("page", "POST", "/v2/repository/index", self.repository_index, ""),
            ("admin", "POST", "/v2/repository/models/{model}/load", self.repository_load, ""),
            ("admin", "POST", "/v2/repository/models/{model}/revert", self.repository_revert, ""),
            ("admin", "POST", "/v2/repository/models/{model}/unload", self.repository_unload, ""),
            ("hook", "POST", "/hooks/mlflow", self.mlflow_hook, ""),
            ("metrics", "GET", "/metrics", self.metrics, ""),
            ("page", "GET", "/schema", self.schema, ""),
            ("open", "GET", "/openapi.json", self.openapi, ""),
            ("open", "GET", "/docs", self.docs, ""),
            ("open", "GET", "/docs/{asset}", self.docs_asset, ""),
        ]  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        protocol, exchange = "", self.exchange(scope)
        exchange.enter()
        request = Request(scope, receive, self.pipeline.settings.max_body, self.admission.room)
        try:
            route, request.parts = self.route(scope["method"], scope["path"])
            protocol = exchange.protocol = route.protocol
            exchange.route = route.path
            if route.kind in ("probe", "metrics"):
                exchange.leave_trace()
            if self.gate is not None and not (CALL in scope and scope[CALL].admitted):
                await self.gate.let_in(route.kind, scope["headers"], peer_of(scope))
            if protocol:
                give_up_with_client(scope)
                if self.admission.full:  # before its body is read
                    raise self.admission.overloaded()
            response = await route.handler(request)
        except (ClientGone, asyncio.CancelledError) as left:
            if isinstance(left, ClientGone) or has_left(scope):
                self.pipeline.record(protocol, GONE, exchange)
                return
            late = "shutting down: the request was not answered within --grace-period"
            exchange.error = NotReady(late if self.pipeline.draining else "the request was given up in the server")
            response = error_response(exchange.error, protocol or protocol_of(scope["path"]))
        except Exception as error:
            exchange.error = self.admission.no_room() if isinstance(error, NoRoom) else known(error)
            response = error_response(exchange.error, protocol or protocol_of(scope["path"]))
        finally:
            request.release()
        self.pipeline.record(protocol, response.status, exchange, len(response.body))
        known_by = ((name.decode(), value.decode()) for name, value in exchange.ids.fields)
        response.headers = (*response.headers, *known_by)
        if self.pipeline.draining or request.much_is_left:
            response.headers = (*response.headers, ("connection", "close"))
        scope.pop(GIVE_UP, None)  # there is nothing to give up any more
        await response.send(send)

    def exchange(self, scope: Scope) -> Exchange:
        """The one that began on the fast path, or a new one."""
        call: FastCall | None = scope.get(CALL)
        if call is not None and call.exchange is not None:
            return call.exchange
        observer = self.pipeline.observer
        exchange = observer.begin(scope["method"], scope["path"], scope["headers"], scope["client"])
        if call is None and observer.sample:  # on the fast path it has been drawn already
            exchange.sampled = observer.samples()
        return exchange

    def route(self, verb: str, path: str) -> tuple[Route, dict[str, str]]:
        if verb == "POST" and path in self.hot:
            return self.hot[path]
        return self.find("GET" if verb == "HEAD" else verb, path.rstrip("/") or "/")

    def find(self, verb: str, path: str) -> tuple[Route, dict[str, str]]:
        allowed = []
        for route in self.routes:
            match = route.pattern.fullmatch(path)
            if match:
                if route.verb == verb:
                    return route, match.groupdict()
                allowed.append(route.verb)
        if allowed:
            raise MethodNotAllowed(f"this path takes {' or '.join(allowed)}", ", ".join(allowed))
        raise NotFound("no such path; /docs lists them all")

    # -- predictions --------------------------------------------------------------------------------------------

    async def v1_predict(self, request: Request) -> Response:
        self.pipeline.check(request.parts["model"])
        require_json(request)
        body = await request.body()
        served = self.pipeline.serving()
        if served.model.customized:
            run = hooked_v1(served.model, served.loaded, body, request.headers, note=noting(len(body)))
            return of_version(Response(await self.pipeline.counted(served, lambda: run)), served)
        return await self.predict(request, served, codecs.V1, body)

    async def predict(
        self, request: Request, served: ServedModel, codec: Codec, body: bytes, header_length: str | None = None
    ) -> Response:
        def decode() -> Batch:
            return codec.decode(body, header_length)

        def encode(prediction: Prediction, batch: Batch) -> Encoded:
            return codec.encode(prediction, batch, self.pipeline.strict)

        call: FastCall | None = request.scope.get(CALL)
        decoded = None if call is None else call.batch
        reply, split = await self.pipeline.predict(served, len(body), decode, encode, decoded=decoded)
        return of_version(tensor_response(reply, split), served)

    def answer(self, call: FastCall) -> None:
        """A request that may take the fast path."""
        answer(self.pipeline, call)

    async def v1_explain(self, request: Request) -> Response:
        served = self.pipeline.check(request.parts["model"])
        if type(served.model).explain is Model.explain:
            raise NotSupported(f"model '{self.pipeline.name}' has no explainer")
        require_json(request)
        body = await request.body()
        run = hooked_v1(served.model, served.loaded, body, request.headers, InferenceVerb.EXPLAIN)
        return of_version(Response(await self.pipeline.counted(served, lambda: run)), served)

    async def v2_infer(self, request: Request) -> Response:
        self.pipeline.check(request.parts["model"], request.parts.get("version"))
        header_length = request.headers.get(HEADER_LENGTH)
        if header_length is None or request.content_type != BINARY:
            require_json(request)
        body = await request.body()
        served = self.pipeline.check(request.parts["model"], request.parts.get("version"))
        model, loaded = served.model, served.loaded
        if not model.customized:
            return await self.predict(request, served, codecs.V2, body, header_length)
        run = hooked_v2(model, loaded, body, header_length, request.headers, noting(len(body)))
        return of_version(tensor_response(*await self.pipeline.counted(served, lambda: run)), served)

    async def invocations(self, request: Request) -> Response:
        self.pipeline.serving()
        content_type = request.content_type
        if content_type not in invocations.CONTENT_TYPES:
            raise UnsupportedMediaType(
                f"unsupported content type; expected one of {', '.join(invocations.CONTENT_TYPES)}"
            )
        body = await request.body()
        served = self.pipeline.serving()
        text_columns = [one.name for one in served.loaded.plan.inputs if one.type in TEXT_TYPES]
        if served.features is not None:
            text_columns += served.features.text_columns
        codec = replace(
            codecs.INVOCATIONS, decode=lambda body, split: invocations.decode(body, content_type, text_columns)
        )
        return await self.predict(request, served, codec, body)

    # -- health -------------------------------------------------------------------------------------------------

    async def live(self, request: Request) -> Response:
        return json_response({"status": "alive", "live": True})

    async def ready(self, request: Request) -> Response:
        return self.readiness({})

    def readiness(self, about: dict[str, Any]) -> Response:
        reason = self.pipeline.why_not_ready
        if reason is None:
            return json_response({**about, "ready": True})
        return json_response({**about, "ready": False, "error": f"not ready: {reason}"}, 503)

    async def ping(self, request: Request) -> Response:
        return Response(b"\n") if self.pipeline.ready else self.readiness({})

    async def version(self, request: Request) -> Response:
        return Response(metadata.version("mlflow-skinny").encode(), content_type="text/plain")

    # -- metadata -----------------------------------------------------------------------------------------------

    async def v1_models(self, request: Request) -> Response:
        return json_response({"models": [self.pipeline.name]})

    async def v1_model(self, request: Request) -> Response:
        self.known_model(request)
        about: dict[str, Any] = {"name": self.pipeline.name, "platform": "mlflow"}
        served = self.pipeline.served_models.current()
        if served is not None:
            about["version"] = served.loaded.version
        return self.readiness(about)

    async def v2_server(self, request: Request) -> Response:
        return json_response(server_metadata())

    async def v2_model(self, request: Request) -> Response:
        loaded = self.pipeline.check(request.parts["model"], request.parts.get("version")).loaded
        return json_response(
            model_metadata(self.pipeline.name, loaded, self.pipeline.served_models.reload_properties())
        )

    async def v2_model_ready(self, request: Request) -> Response:
        self.known_model(request)
        if self.pipeline.ready:
            self.pipeline.check(request.parts["model"], request.parts.get("version"))
        return self.readiness({"name": self.pipeline.name})

    def known_model(self, request: Request) -> None:
        if request.parts["model"] != self.pipeline.name:
            raise NotFound(f"unknown model '{request.parts['model']}'; this server has '{self.pipeline.name}'")

    # -- repository ---------------------------------------------------------------------------------------------

    async def repository_index(self, request: Request) -> Response:
        reason = self.pipeline.why_not_ready
        served = self.pipeline.served_models.current()
        state = "READY" if reason is None else "UNAVAILABLE" if self.pipeline.served_models.unloaded else "LOADING"
        entry = {"name": self.pipeline.name, "state": state, "reason": reason or ""}
        return json_response([entry if served is None else {**entry, "version": served.loaded.version}])

    async def repository_load(self, request: Request) -> Response:
        self.known_model(request)
        version = await self.pipeline.command("load")
        return json_response({"name": self.pipeline.name, "load": True, "version": version})

    async def repository_revert(self, request: Request) -> Response:
        self.known_model(request)
        version = await self.pipeline.command("revert")
        return json_response({"name": self.pipeline.name, "revert": True, "version": version})

    async def repository_unload(self, request: Request) -> Response:
        self.known_model(request)
        self.pipeline.served_models.unload()
        return json_response({"name": self.pipeline.name, "unload": True})

    async def mlflow_hook(self, request: Request) -> Response:
        """The registry says that something has changed: what it is, the leading worker finds out for itself."""
        event = self.webhook.event(request.headers, await request.body())
        uri = self.pipeline.settings.model_uri or ""
        if not (is_moving(self.pipeline.settings) and concerns(event, uri)):
            return json_response({"ignored": "nothing that is served here"})
        self.pipeline.shared.ask("look")
        return json_response({"looking": uri}, 202)

    # -- metrics and pages --------------------------------------------------------------------------------------

    async def metrics(self, request: Request) -> Response:
        body, content_type = exposition(request.headers.get("accept", ""))
        return Response(body, content_type=content_type)

    async def schema(self, request: Request) -> Response:
        served = self.pipeline.serving()
        return json_response(pages.schema(self.pipeline.name, served.loaded, described(served)))

    async def openapi(self, request: Request) -> Response:
        served = self.pipeline.served_models.current()
        loaded, features = (served.loaded, described(served)) if served else (None, None)
        bearer = self.gate is not None and self.gate.asks_for_tokens
        if self.gate is not None and not await self.gate.knows(request.scope["headers"], peer_of(request.scope)):
            loaded = None  # the routes are no secret, what the model takes may be
        return json_response(pages.openapi(self.pipeline.name, loaded, features, bearer=bearer))

    async def docs(self, request: Request) -> Response:
        page = pages.docs(self.pipeline.name)
        return Response(page, content_type="text/html; charset=utf-8", headers=pages.SAFE)

    async def docs_asset(self, request: Request) -> Response:
        found = pages.asset(request.parts["asset"])
        if found is None:
            raise NotFound("no such file")
        return Response(found[0], content_type=found[1], headers=(*pages.SAFE, ("cache-control", "max-age=86400")))


def described(served: ServedModel) -> Description | None:
    return None if served.features is None else served.features.description


def require_json(request: Request) -> None:
    kind = request.content_type
    if kind not in (JSON, "") and not kind.endswith("+json"):
        raise UnsupportedMediaType(f"unsupported content type; expected {JSON}")
