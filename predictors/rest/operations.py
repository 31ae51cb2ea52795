"""The routes that do not predict: health, metadata, the repository, the webhook, metrics and pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

from predictors.access.webhook import Webhook, may_move
from predictors.candidate.spec import CandidateSpec, WantedCandidate, spec_of_request
from predictors.features.lookup import Description
from predictors.pipeline.candidate_report import candidate_report
from predictors.pipeline.metadata import model_metadata, server_metadata
from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.served_model import ServedModel
from predictors.processes.commands import PROMOTE, PUT_CANDIDATE, REMOVE_CANDIDATE
from predictors.protocol import jsontext
from predictors.protocol.errors import NotFound
from predictors.rest import pages
from predictors.rest.asgi import Request, Response, peer_of
from predictors.rest.openapi.document import OpenAPIDocument
from predictors.rest.responses import json_response
from predictors.rest.routes import LIVE, Route
from predictors.storage.source import is_moving
from predictors.telemetry.metrics import exposition
from predictors.uris import ModelURI

CANDIDATE_PATH = "/v2/repository/models/{model}/candidate"


class Operations:
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.webhook = Webhook(pipeline.settings.webhook_secret_file, pipeline.shared.folder / "deliveries")

    def routes(self) -> list[Route]:
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        return [
            *(Route("probe", "GET", path, self.live) for path in LIVE),
            *(Route("probe", "GET", path, self.ready) for path in ("/ready", "/health/ready", "/v2/health/ready")),
            Route("probe", "GET", "/ping", self.ping),
            Route("probe", "GET", "/version", self.version),
            Route("probe", "GET", "/v1/models", self.v1_models),
            Route("probe", "GET", "/v1/models/{model}", self.v1_model),
            Route("probe", "GET", "/v2", self.v2_server),
            Route("probe", "GET", "/v2/models", self.v1_models),
            *(Route("page", "GET", path, self.v2_model) for path in (model, version)),
            *(Route("probe", "GET", f"{path}/ready", self.v2_model_ready) for path in (model, version)),
            Route("page", "POST", "/v2/repository/index", self.repository_index),
            Route("admin", "POST", "/v2/repository/models/{model}/load", self.repository_load),
            Route("admin", "POST", "/v2/repository/models/{model}/revert", self.repository_revert),
            Route("admin", "POST", "/v2/repository/models/{model}/unload", self.repository_unload),
            Route("page", "GET", CANDIDATE_PATH, self.candidate),
            Route("admin", "PUT", CANDIDATE_PATH, self.put_candidate),
            Route("admin", "DELETE", CANDIDATE_PATH, self.delete_candidate),
            Route("admin", "POST", "/v2/repository/models/{model}/promote", self.repository_promote),
            Route("hook", "POST", "/hooks/mlflow", self.mlflow_hook),
            Route("metrics", "GET", "/metrics", self.metrics),
            Route("page", "GET", "/schema", self.schema),
            Route("open", "GET", "/openapi.json", self.openapi),
            Route("open", "GET", "/docs", self.docs),
            Route("open", "GET", "/docs/{asset}", self.docs_asset),
        ]

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
        self.require_known(request)
        about: dict[str, Any] = {"name": self.pipeline.name, "platform": "mlflow"}
        served = self.pipeline.served_models.current()
        if served is not None:
            about["version"] = served.loaded.version
        return self.readiness(about)

    async def v2_server(self, request: Request) -> Response:
        return json_response(server_metadata())

    async def v2_model(self, request: Request) -> Response:
        loaded = self.pipeline.check(request.parts["model"], request.parts.get("version")).loaded
        properties = self.pipeline.served_models.reload_properties()
        return json_response(model_metadata(self.pipeline.name, loaded, properties))

    async def v2_model_ready(self, request: Request) -> Response:
        self.require_known(request)
        if self.pipeline.ready:
            self.pipeline.check(request.parts["model"], request.parts.get("version"))
        return self.readiness({"name": self.pipeline.name})

    def require_known(self, request: Request) -> None:
        if request.parts["model"] != self.pipeline.name:
            raise NotFound(f"unknown model '{request.parts['model']}'; this server has '{self.pipeline.name}'")

    # -- the repository -----------------------------------------------------------------------------------------

    async def repository_index(self, request: Request) -> Response:
        reason, served_models = self.pipeline.why_not_ready, self.pipeline.served_models
        served = served_models.current()
        state = "READY" if reason is None else "UNAVAILABLE" if served_models.unloaded else "LOADING"
        entry = {"name": self.pipeline.name, "state": state, "reason": reason or ""}
        return json_response([entry if served is None else {**entry, "version": served.loaded.version}])

    async def repository_load(self, request: Request) -> Response:
        self.require_known(request)
        version = await self.pipeline.command("load")
        return json_response({"name": self.pipeline.name, "load": True, "version": version})

    async def repository_revert(self, request: Request) -> Response:
        self.require_known(request)
        version = await self.pipeline.command("revert")
        return json_response({"name": self.pipeline.name, "revert": True, "version": version})

    async def repository_unload(self, request: Request) -> Response:
        self.require_known(request)
        self.pipeline.served_models.unload()
        return json_response({"name": self.pipeline.name, "unload": True})

    async def candidate(self, request: Request) -> Response:
        self.require_known(request)
        report = candidate_report(self.pipeline.served_models)
        if report is None:
            raise NotFound(f"model '{self.pipeline.name}' has no candidate")
        return json_response(report)

    async def put_candidate(self, request: Request) -> Response:
        """Answers once the candidate stands beside the model in every worker."""
        self.require_known(request)
        spec = spec_of_request(jsontext.parse_object(await request.body()))
        await self.pipeline.command(f"{PUT_CANDIDATE} {json.dumps(asdict(spec))}")
        return await self.candidate(request)

    async def delete_candidate(self, request: Request) -> Response:
        self.require_known(request)
        version = await self.pipeline.command(REMOVE_CANDIDATE)
        return json_response({"name": self.pipeline.name, "candidate": None, "version": version})

    async def repository_promote(self, request: Request) -> Response:
        self.require_known(request)
        version = await self.pipeline.command(PROMOTE)
        return json_response({"name": self.pipeline.name, "promote": True, "version": version})

    async def mlflow_hook(self, request: Request) -> Response:
        """The registry reports a change; the leading worker asks it which."""
        event = self.webhook.event(request.headers, await request.body())
        uri = self.pipeline.settings.model_uri or ""
        spec = WantedCandidate(self.pipeline.shared.folder).get()
        if spec is not None and may_change(event, spec):
            uri = spec.uri
        elif not (is_moving(self.pipeline.settings) and may_move(event, uri)):
            return json_response({"ignored": "nothing that is served here"})
        self.pipeline.shared.commands.send("poll")
        return json_response({"looking": uri}, 202)

    # -- metrics and pages --------------------------------------------------------------------------------------

    async def metrics(self, request: Request) -> Response:
        body, content_type = exposition(request.headers.get("accept", ""))
        return Response(body, content_type=content_type)

    async def schema(self, request: Request) -> Response:
        served = self.pipeline.serving()
        return json_response(pages.schema(self.pipeline.name, served.loaded, described(served)))

    async def openapi(self, request: Request) -> Response:
        served, gate = self.pipeline.served_models.current(), self.pipeline.gate
        loaded, features = (served.loaded, described(served)) if served else (None, None)
        if gate is not None and not await gate.knows(request.scope["headers"], peer_of(request.scope)):
            loaded = None  # the routes are no secret, the inputs of the model may be
        document = OpenAPIDocument(
            self.pipeline.name,
            loaded,
            features,
            bearer=gate is not None and gate.asks_for_tokens,
            strict_input=self.pipeline.settings.strict_input,
            customized=served is not None and served.model.customized,
        )
        return json_response(document.build())

    async def docs(self, request: Request) -> Response:
        page = pages.docs(self.pipeline.name)
        return Response(page, content_type="text/html; charset=utf-8", headers=pages.PAGE_HEADERS)

    async def docs_asset(self, request: Request) -> Response:
        asset = pages.asset(request.parts["asset"])
        if asset is None:
            raise NotFound("no such file")
        content, content_type = asset
        return Response(
            content, content_type=content_type, headers=(*pages.PAGE_HEADERS, ("cache-control", "max-age=86400"))
        )


def described(served: ServedModel) -> Description | None:
    return None if served.features is None else served.features.description


def may_change(event: Mapping[str, Any], spec: CandidateSpec) -> bool:
    """Whether an event of the registry may move a candidate's URI, or change the share that its tag names."""
    model, tagged = ModelURI.parse(spec.uri), event.get("entity") == "model_version_tag"
    same_name = model.name is not None and event.get("data", {}).get("name") == model.name
    return (model.is_moving and may_move(event, spec.uri)) or (tagged and spec.share is None and same_name)
