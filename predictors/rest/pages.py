"""Pages for callers: /schema and /docs, filled in with the model's own example."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from predictors.features.lookup import Description
from predictors.model.loaded import Loaded
from predictors.model.tensors import input_tensors
from predictors.rest.openapi.bodies import v1_instances
from predictors.signature.example import samples
from predictors.signature.fields import SCALARS, Field, Param

ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
PLAYGROUND = {
    "playground": ("playground.html", "text/html; charset=utf-8"),
    "playground.css": ("playground.css", "text/css"),
    "playground.js": ("playground.js", "text/javascript"),
}
"""Files of our own: a form made from /schema, for those who want an answer and no list of routes."""
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
        "json_schema": strict(v1_instances(loaded, features)),
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


def strict(schema: Any) -> Any:
    """A schema with OpenAPI's `nullable` expressed in JSON Schema."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: strict(value) for key, value in schema.items()}
    if converted.get("nullable") is True:
        del converted["nullable"]
        converted["type"] = [schema["type"], "null"]
    return converted


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
<p><a href="docs/playground">Ask the model by a form</a></p>
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
    if file in PLAYGROUND:
        name, media_type = PLAYGROUND[file]
        return (Path(__file__).parent / "playground" / name).read_bytes(), media_type
    if file not in ASSETS:
        return None
    from swagger_ui_bundle import swagger_ui_path

    return (Path(swagger_ui_path) / file).read_bytes(), ASSETS[file]
