"""The OpenAPI document of a server, with the model's own schemas and examples once it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from predictors.candidate.settings import KEY_KINDS, MAX_KEY, MODES
from predictors.candidate.spec import MAX_URI
from predictors.features.lookup import Description
from predictors.model.loaded import Loaded
from predictors.protocol.invocations import PARQUET
from predictors.rest.asgi import JSON
from predictors.rest.headers import BINARY_TYPE, HEADER_LENGTH
from predictors.rest.openapi.bodies import invocations_request, v1_request
from predictors.rest.openapi.tensors import v2_request
from predictors.rest.openapi.values import ANYTHING, Schema, list_of, object_of
from predictors.rest.pages import ASSETS, PLAYGROUND, SCRIPT_NAME
from predictors.rest.routes import LIVE
from predictors.signature.example import samples

OBJECT: Schema = {"type": "object"}
TEXT: Schema = {"type": "string"}
BINARY: Schema = {"type": "string", "format": "binary"}
TENSORS = BINARY_TYPE.decode()
FAILURES = {
    400: "The request is wrong: the message says where",
    401: "A token is missing or wrong, or the signature of a delivery",
    403: "The caller may not do this",
    404: "Unknown model or version",
    408: "The request did not arrive in time",
    409: "Not possible with what is served now",
    413: "The request is too large",
    415: "Bodies of this type are not taken here",
    424: "Feast has no features for an entity",
    429: "Too many requests of this caller",
    500: "The model or the server failed; the log says why",
    501: "The model does not support this",
    503: "Not ready, or overloaded",
    504: "Not answered within its time",
}
PREDICT = (400, 404, 408, 409, 413, 415, 424, 500, 501, 503, 504)
COMMAND = (404, 409, 500, 503, 504)
PUT = (400, 404, 408, 409, 413, 500, 503, 504)
HOOK = (400, 401, 404, 408, 409, 413)
READY = (503,)
MODEL = (404, 409, 503)
PERCENT: Schema = {**TEXT, "pattern": r"^[0-9]{1,2}(\.[0-9]{1,9})?%$", "example": "10%"}
KEY_PATTERN = f"^({'|'.join(KEY_KINDS)}):[!-~]"
COMPONENTS: dict[str, Schema] = {
    "Error": object_of({"error": TEXT}, ["error"], more=True),
    "MLflowError": object_of({"error_code": TEXT, "message": TEXT}, ["error_code", "message"]),
    "Candidate": object_of(
        {
            "uri": {**TEXT, "minLength": 1, "maxLength": MAX_URI, "example": "models:/fraud@challenger"},
            "mode": {**TEXT, "enum": [*MODES]},
            "share": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, PERCENT], "nullable": True},
            "key": {**TEXT, "nullable": True, "pattern": KEY_PATTERN, "maxLength": MAX_KEY},
        },
        ["uri"],
    ),
    "V1Reply": {
        **OBJECT,
        "properties": {"predictions": ANYTHING, "probabilities": ANYTHING, "model_name": TEXT, "model_version": TEXT},
    },
    "V2Reply": {
        **OBJECT,
        "required": ["outputs"],
        "properties": {
            "model_name": TEXT,
            "model_version": {**TEXT, "nullable": True},
            "id": {**TEXT, "nullable": True},
            "outputs": list_of(
                {
                    **OBJECT,
                    "required": ["name", "shape", "datatype"],
                    "properties": {
                        "name": TEXT,
                        "shape": list_of({"type": "integer"}, 0),
                        "datatype": TEXT,
                        "data": list_of(ANYTHING, 0),
                        "parameters": {**OBJECT, "nullable": True},
                    },
                },
                0,
            ),
        },
    },
}
PREPARED = ("/health/ready", "/ready", "/v2/health/ready")
METRICS = {kind: {"schema": TEXT} for kind in ("text/plain", "application/openmetrics-text")}
FILES = {kind: {"schema": BINARY} for kind in ("text/html", "text/css", "text/javascript", "image/png")}
SPLIT = {
    "name": HEADER_LENGTH.decode(),
    "in": "header",
    "description": f"the length of the JSON in a body of {TENSORS}, after which the tensors follow",
    "schema": {"type": "integer", "minimum": 0},
}


@dataclass(frozen=True)
class RouteDescription:
    verb: str
    path: str
    summary: str
    tag: str
    failures: Sequence[int] = ()
    body: dict[str, Any] = field(default_factory=dict)
    reply: dict[str, Any] = field(default_factory=lambda: {JSON: {"schema": OBJECT}})
    statuses: Sequence[int] = (200,)
    parameters: Sequence[Any] = ()

    def described(self, always: Sequence[int]) -> dict[str, Any]:
        error = {JSON: refer("MLflowError" if self.path == "/invocations" else "Error")}
        failures = {
            str(status): {"description": FAILURES[status], "content": error}
            for status in sorted({*self.failures, *always})
        }
        replies = {str(status): {"description": "Success", "content": self.reply} for status in self.statuses}
        described: dict[str, Any] = {
            "summary": self.summary,
            "tags": [self.tag],
            "responses": {**replies, **failures},
        }
        if self.body:
            described["requestBody"] = {"required": True, "content": self.body}
        return {**described, **({"parameters": [*self.parameters]} if self.parameters else {})}


@dataclass(frozen=True)
class OpenAPIDocument:
    name: str
    loaded: Loaded | None = None
    """None if it is not loaded, or not for the reader's eyes."""
    features: Description | None = None
    bearer: bool = False
    """Whether some routes ask for tokens."""
    strict_input: bool = False
    customized: bool = False
    """Whether the model's class takes payloads of its own."""

    def build(self) -> dict[str, Any]:
        paths: dict[str, dict[str, Any]] = {}
        always = (401, 403, 429) if self.bearer else ()
        for one in (*self.predictions(), *self.operations()):
            paths.setdefault(one.path, {})[one.verb] = one.described(always)
        document: dict[str, Any] = {
            "openapi": "3.0.3",
            "info": {"title": f"{self.name} – mlflow-kserve", "version": metadata.version("mlflow-kserve")},
            "paths": paths,
            "components": {"schemas": {**self.requests(), **COMPONENTS}},
        }
        if self.bearer:
            document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"bearer": []}, {}]
        return document

    def requests(self) -> dict[str, Schema]:
        if self.loaded is None or self.customized:
            return dict.fromkeys(("V1Request", "V2Request", "InvocationsRequest"), OBJECT)
        return {
            "V1Request": v1_request(self.loaded, self.features),
            "V2Request": v2_request(self.loaded, features=self.features is not None),
            "InvocationsRequest": invocations_request(self.loaded, self.features, strict=self.strict_input),
        }

    def predictions(self) -> list[RouteDescription]:
        examples = samples(self.loaded.plan, self.loaded.example, self.name) if self.loaded else {}

        def body(form: str, schema: str) -> dict[str, Any]:
            example = examples.get(form, {}).get("body")
            return {JSON: {**refer(schema), **({"example": example} if example else {})}}

        v1, v2 = body("v1", "V1Request"), {**body("v2", "V2Request"), TENSORS: {"schema": BINARY}}
        tables = {
            **body("invocations", "InvocationsRequest"),
            "text/csv": {"schema": TEXT},
            PARQUET: {"schema": BINARY},
        }
        tensors = {JSON: refer("V2Reply"), TENSORS: {"schema": BINARY}}
        predict, model, split = f"/v1/models/{self.name}", f"/v2/models/{self.name}", (SPLIT,)
        explain = "Explain, if the model has an explainer"
        return [
            RouteDescription("post", f"{predict}:predict", "Predict (V1)", "V1", PREDICT, v1, {JSON: refer("V1Reply")}),
            RouteDescription("post", f"{predict}:explain", explain, "V1", PREDICT, {JSON: {"schema": OBJECT}}),
            RouteDescription(
                "post",
                f"{model}/infer",
                "Infer (Open Inference Protocol)",
                "V2",
                PREDICT,
                v2,
                tensors,
                parameters=split,
            ),
            RouteDescription(
                "post", f"{self.versioned}/infer", "Infer with a version", "V2", PREDICT, v2, tensors, parameters=split
            ),
            RouteDescription(
                "post",
                "/invocations",
                "Predict as with `mlflow models serve`",
                "MLflow",
                PREDICT,
                tables,
                {JSON: {"schema": ANYTHING}},
            ),
        ]

    @property
    def versioned(self) -> str:
        return f"/v2/models/{self.name}/versions/{self.loaded.version if self.loaded else '1'}"

    def operations(self) -> list[RouteDescription]:
        v1, v2, repository = f"/v1/models/{self.name}", f"/v2/models/{self.name}", f"/v2/repository/models/{self.name}"
        hook = "MLflow's webhook: polls the registry at once"
        files = [*ASSETS, SCRIPT_NAME, *PLAYGROUND]
        asset = {"name": "asset", "in": "path", "required": True, "schema": {**TEXT, "enum": files}}
        return [
            RouteDescription("get", "/v1/models", "Names of the models", "V1"),
            RouteDescription("get", v1, "Whether the model is ready", "V1", MODEL),
            RouteDescription("get", "/v2", "Server metadata", "V2"),
            RouteDescription("get", "/v2/models", "Names of the models", "V2"),
            RouteDescription("get", v2, "Model metadata: inputs, outputs, versions", "V2", MODEL),
            RouteDescription("get", f"{v2}/ready", "Whether the model is ready", "V2", MODEL),
            RouteDescription("get", self.versioned, "Metadata of a version", "V2", MODEL),
            RouteDescription("get", f"{self.versioned}/ready", "Whether a version is ready", "V2", MODEL),
            RouteDescription(
                "post",
                "/v2/repository/index",
                "Models and their state",
                "Repository",
                reply={JSON: {"schema": list_of(OBJECT)}},
            ),
            RouteDescription("post", f"{repository}/load", "Load the model again", "Repository", COMMAND),
            RouteDescription("post", f"{repository}/unload", "Unload the model", "Repository", COMMAND),
            RouteDescription("post", f"{repository}/revert", "Return to the previous version", "Repository", COMMAND),
            RouteDescription("get", f"{repository}/candidate", "The candidate beside the model", "Repository", (404,)),
            RouteDescription(
                "put",
                f"{repository}/candidate",
                "Put a candidate beside the model",
                "Repository",
                PUT,
                {JSON: refer("Candidate")},
            ),
            RouteDescription("delete", f"{repository}/candidate", "Remove the candidate", "Repository", COMMAND),
            RouteDescription("post", f"{repository}/promote", "Make the candidate the model", "Repository", COMMAND),
            RouteDescription(
                "post", "/hooks/mlflow", hook, "Repository", HOOK, {JSON: {"schema": OBJECT}}, statuses=(200, 202)
            ),
            *(RouteDescription("get", path, "Liveness", "Health") for path in LIVE),
            *(RouteDescription("get", path, "Readiness", "Health", READY) for path in PREPARED),
            RouteDescription("get", "/ping", "Readiness, as MLflow has it", "MLflow", READY, reply={JSON: {}}),
            RouteDescription("get", "/version", "Version of MLflow", "MLflow", reply={"text/plain": {"schema": TEXT}}),
            RouteDescription(
                "get", "/schema", "Inputs, outputs, params, samples and JSON Schema of the model", "Model", MODEL
            ),
            RouteDescription("get", "/metrics", "Prometheus metrics", "Metrics", reply=METRICS),
            RouteDescription("get", "/openapi.json", "This document", "Model"),
            RouteDescription("get", "/docs", "This document as a page", "Model", reply={"text/html": {"schema": TEXT}}),
            RouteDescription(
                "get", "/docs/{asset}", "Files of the page", "Model", (404,), reply=FILES, parameters=(asset,)
            ),
        ]


def refer(schema: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{schema}"}}
