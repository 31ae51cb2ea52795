"""Pages for callers: /schema, the OpenAPI document and /docs, filled in with the model's own example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

from predictors.features.lookup import Description
from predictors.model.loaded import Loaded
from predictors.model.tensors import input_tensors
from predictors.signature.example import samples
from predictors.signature.fields import SCALARS, Field, Param
from predictors.signature.plan import SignaturePlan

JSON_TYPES: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float", "nullable": True},
    "double": {"type": "number", "format": "double", "nullable": True},
    "string": {"type": "string", "nullable": True},
    "binary": {"type": "string", "format": "byte", "nullable": True},
    "datetime": {"type": "string", "format": "date-time", "nullable": True},
}
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
SCRIPT_NAME = "start.js"
SCRIPT = """
// The document says more to those who may read it: once there is a token, it is fetched again with it.
let token = ""
const again = {statePlugins: {auth: {wrapActions: {
  authorize: (act, system) => (given) => {
    const done = act(given)
    token = given.bearer ? given.bearer.value : ""
    system.specActions.download()
    return done
  },
  logout: (act) => (names) => { token = ""; return act(names) },
}}}}
SwaggerUIBundle({
  url: "openapi.json", dom_id: "#ui", tryItOutEnabled: true, plugins: [again],
  requestInterceptor: (request) => {
    if (request.loadSpec && token) request.headers.Authorization = `Bearer ${token}`
    return request
  },
})
"""
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = (
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
)
"""Security headers of the pages and their files."""


def schema(name: str, loaded: Loaded, features: Description | None = None) -> dict[str, Any]:
    """Everything that a caller needs to know to send a request that works."""
    plan = loaded.plan
    return {
        "model_name": name,
        "model_version": loaded.version,
        "flavor": loaded.flavor,
        "methods": loaded.methods,
        "inputs": [field_entry(one) for one in plan.inputs],
        "outputs": [field_entry(one) for one in plan.outputs],
        "params": [param_entry(one) for one in plan.params],
        "v2_inputs": input_tensors(plan),
        "v2_outputs": list(loaded.outputs),
        "samples": samples(plan, loaded.example, name),
        **({} if features is None else {"features": asdict(features)}),
        "json_schema": strict(request_schema(plan, loaded, features)),
    }


def field_entry(one: Field) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": one.name or None, "type": one.type, "required": one.required}
    if one.type == "tensor":
        entry |= {"dtype": str(one.dtype), "shape": list(one.shape)}
    elif one.type not in SCALARS:
        entry["spec"] = {key: value for key, value in one.spec.items() if key not in ("name", "required")}
    return {**entry, "datatype": one.datatype}


def param_entry(one: Param) -> dict[str, Any]:
    shape = None if one.shape is None else list(one.shape)
    return {"name": one.name, "type": one.type, "default": one.spec.get("default"), "shape": shape}


# -- JSON Schema ----------------------------------------------------------------------------------------------------


def request_schema(plan: SignaturePlan, loaded: Loaded, features: Description | None = None) -> dict[str, Any]:
    """JSON Schema of a V1 request, in the dialect of OpenAPI 3.0."""
    item = items(plan) if features is None else entity_items(plan, features)
    forms = [{"type": "array", "minItems": 1, "items": item}]
    properties: dict[str, Any] = {"instances": forms[0], "parameters": parameters_schema(plan, loaded)}
    return {"type": "object", "required": ["instances"], "properties": properties}


def items(plan: SignaturePlan) -> dict[str, Any]:
    """One row: a record, or values in the order of the signature."""
    if not plan.inputs or plan.from_type_hints:
        return {}
    if plan.tensors:
        if plan.named:
            return {"type": "object", "required": [one.name for one in plan.inputs if one.required],
                    "properties": {one.name: tensor_schema(one) for one in plan.inputs}}  # fmt: skip
        return tensor_schema(plan.inputs[0])
    rows: dict[str, Any] = {"type": "array", "minItems": len(plan.inputs), "maxItems": len(plan.inputs), "items": {}}
    if not plan.named:
        return rows
    record = {
        "type": "object",
        "required": [one.name for one in plan.inputs if one.required],
        "properties": {one.name: column_schema(one) for one in plan.inputs},
        "additionalProperties": False,
    }
    return {"oneOf": [record, rows]} if len(plan.inputs) > 1 else {}


def entity_items(plan: SignaturePlan, features: Description) -> dict[str, Any]:
    """A record, in which the columns that can be looked up are optional."""
    known = {name: {"description": f"finds features ({type})"} for name, type in features.entities.items()}
    known |= {one.name: tensor_schema(one) if plan.tensors else column_schema(one) for one in plan.inputs if one.name}
    required = [one.name for one in plan.inputs if one.name and one.required and one.name not in features.columns]
    return {"type": "object", "properties": known, **({"required": required} if required else {})}


def tensor_schema(one: Field) -> dict[str, Any]:
    """One row of a tensor: the axes after the first."""
    inner: dict[str, Any] = {"type": {"b": "boolean", "O": "string", "U": "string"}.get(one.dtype.kind, "number")}
    for size in reversed(one.shape[1:]):
        inner = {"type": "array", "items": inner}
        if size != -1:
            inner |= {"minItems": size, "maxItems": size}
    return inner


def column_schema(one: Field) -> dict[str, Any]:
    """An optional column may also hold null."""
    column = value_schema(one.spec)
    return column if one.required or "type" not in column else {**column, "nullable": True}


def value_schema(spec: Mapping[str, Any]) -> dict[str, Any]:
    kind = spec.get("type", "any")
    if kind == "array":
        return {"type": "array", "items": value_schema(spec["items"])}
    if kind == "object":
        known = spec["properties"]
        required = [name for name, one in known.items() if one.get("required", True)]
        record = {"type": "object", "properties": {name: value_schema(one) for name, one in known.items()}}
        return {**record, "required": required} if required else record
    if kind == "map":
        return {"type": "object", "additionalProperties": value_schema(spec["values"])}
    return dict(JSON_TYPES.get(kind, {}))


def parameters_schema(plan: SignaturePlan, loaded: Loaded) -> dict[str, Any]:
    known: dict[str, Any] = {
        "method": {"type": "string", "enum": loaded.methods, "default": loaded.native.default},
        "probabilities": {"type": "boolean", "description": "whether a classifier adds its probabilities"},
    }
    for one in plan.params:
        value = dict(JSON_TYPES.get(one.type, {}))
        known[one.name] = {"type": "array", "items": value} if one.shape else value
        if one.spec.get("default") is not None:
            known[one.name]["default"] = one.spec["default"]
    return {"type": "object", "properties": known, "additionalProperties": False}


def strict(schema: Any) -> Any:
    """A schema with OpenAPI's `nullable` expressed in JSON Schema."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: strict(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is True:
        converted["type"] = [schema["type"], "null"]
    return converted


# -- OpenAPI --------------------------------------------------------------------------------------------------------


def openapi(
    name: str, loaded: Loaded | None, features: Description | None = None, *, bearer: bool = False
) -> dict[str, Any]:
    """All routes; the model's own example is filled in once it is loaded. `bearer`: some of them ask for tokens."""
    examples = samples(loaded.plan, loaded.example, name) if loaded else {}
    bodies = {form: sample.get("body", {}) for form, sample in examples.items()}
    row = request_schema(loaded.plan, loaded, features) if loaded else {"type": "object"}
    anything: dict[str, Any] = {"type": "object"}
    version = loaded.version if loaded else "1"
    paths: dict[str, Any] = {
        f"/v1/models/{name}:predict": post("Predict (V1)", "V1", bodies.get("v1"), row),
        f"/v2/models/{name}/infer": post("Infer (Open Inference Protocol)", "V2", bodies.get("v2"), anything),
        f"/v2/models/{name}/versions/{version}/infer": post("Infer with a version", "V2", bodies.get("v2"), anything),
        "/invocations": post("Predict as with `mlflow models serve`", "MLflow", bodies.get("invocations"), anything),
        "/v1/models": get("Names of the models", "V1"),
        f"/v1/models/{name}": get("Whether the model is ready", "V1"),
        "/v2": get("Server metadata", "V2"),
        f"/v2/models/{name}": get("Model metadata: inputs, outputs, versions", "V2"),
        f"/v2/models/{name}/ready": get("Whether the model is ready", "V2"),
        f"/v2/models/{name}/versions/{version}": get("Metadata of a version", "V2"),
        f"/v2/models/{name}/versions/{version}/ready": get("Whether a version is ready", "V2"),
        "/v2/health/live": get("Liveness", "Health"),
        "/v2/health/ready": get("Readiness", "Health"),
        "/v2/repository/index": post("Models and their state", "Repository", None, None),
        f"/v2/repository/models/{name}/load": post("Load the model again", "Repository", None, None),
        f"/v2/repository/models/{name}/unload": post("Unload the model", "Repository", None, None),
        f"/v2/repository/models/{name}/revert": post("Return to the previous version", "Repository", None, None),
        "/hooks/mlflow": post("MLflow's webhook: polls the registry at once", "Repository", None, None),
        "/": get("Liveness", "Health"),
        "/health": get("Liveness", "Health"),
        "/health/live": get("Liveness", "Health"),
        "/healthcheck": get("Liveness", "Health"),
        "/health/ready": get("Readiness", "Health"),
        "/ready": get("Readiness", "Health"),
        "/ping": get("Readiness, as MLflow has it", "MLflow"),
        "/version": get("Version of MLflow", "MLflow"),
        "/schema": get("Inputs, outputs, params, samples and JSON Schema of the model", "Model"),
        "/metrics": get("Prometheus metrics", "Metrics"),
        "/openapi.json": get("This document", "Model"),
        "/docs": get("This document as a page", "Model"),
    }
    document: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {"title": f"{name} – mlflow-kserve", "version": metadata.version("mlflow-kserve")},
        "paths": paths,
    }
    if bearer:
        document["components"] = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}}
        document["security"] = [{"bearer": []}, {}]
    return document


def responses() -> dict[str, Any]:
    error = {"schema": {"type": "object"}}
    words = {
        "400": "The request is wrong: the message says where",
        "404": "Unknown model or version",
        "424": "Feast has no features for an entity",
        "503": "Not ready",
    }
    failures = {status: {"description": text, "content": {"application/json": error}} for status, text in words.items()}
    return {"200": {"description": "OK"}, **failures}


def get(summary: str, tag: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "tags": [tag], "responses": responses()}}


def post(summary: str, tag: str, example: Any, body_schema: dict[str, Any] | None) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "tags": [tag], "responses": responses()}
    if body_schema is not None:
        content: dict[str, Any] = {"schema": body_schema}
        if example:
            content["example"] = example
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return {"post": operation}


# -- the page -------------------------------------------------------------------------------------------------------


def docs(name: str) -> bytes:
    """Swagger UI from files of our own: a pod has no way to a content network."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{escape(name)} – mlflow-kserve</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
""".encode()


def asset(file: str) -> tuple[bytes, str] | None:
    """A file of the page and its media type; only those that the page names."""
    if file == SCRIPT_NAME:
        return SCRIPT.encode(), "text/javascript"
    if file not in ASSETS:
        return None
    from swagger_ui_bundle import swagger_ui_path

    return (Path(swagger_ui_path) / file).read_bytes(), ASSETS[file]
