"""Parameters and bodies that several routes have."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query
from pydantic import BaseModel

JsonBody = Annotated[Any, Body(media_type="application/json")]
OptionalBody = Annotated[Any, Body(media_type="application/json")]
"""Of routes that also take no body."""
PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description="number of the page, from 1")]
MAX_ID = 2**63 - 1  # what databases count to
Limit = Annotated[int, Query(ge=1, le=200, description="entries on a page")]
DRY_RUN = {
    "name": "dry_run",
    "in": "query",
    "description": "true: says what would change, and changes nothing",
    "schema": {"type": "boolean", "default": False},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "a request that is repeated with its key changes nothing twice",
    "schema": {"type": "string", "maxLength": 190},
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "the ETag that was read; 412 if it is another by now",
    "schema": {"type": "string"},
}


def documented(model: type[BaseModel] | None = None, wrapper: str | None = None) -> dict[str, Any]:
    """What OpenAPI says of a route that changes something; fields may lie in the wrapper, or flat."""
    extra: dict[str, Any] = {"parameters": [DRY_RUN, IDEMPOTENCY_KEY, IF_MATCH]}
    if model is None:
        return extra
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    if wrapper:
        nested = {"type": "object", "required": [wrapper], "properties": {wrapper: {"type": "object"}}}
        schema = {"anyOf": [schema, nested]}
    content = {"application/json": {"schema": inlined(schema, model)}}
    return {**extra, "requestBody": {"required": True, "content": content}}


def inlined(schema: Any, model: type[BaseModel]) -> Any:
    """The schema without references, which a route cannot add to the document."""
    definitions = model.model_json_schema().get("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return resolve(definitions[part["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in part.items()}
        return [resolve(each) for each in part] if isinstance(part, list) else part

    return resolve(schema)


PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong"},
        "way_out": {"type": "string", "description": "what can be done"},
        "errors": {
            "type": "array",
            "description": "all wrong fields at once",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {name: {"type": "string"} for name in ("field", "reason", "expected")},
            },
        },
    },
}
REASONS = {
    400: "the request cannot be read",
    401: "a token is needed",
    403: "the token has no such role",
    404: "there is none of that name",
    409: "it conflicts with what is there, or with a change under way",
    411: "the body has no length",
    412: "it is not in the state that If-Match names",
    413: "the body is too large",
    415: "the body is no JSON",
    421: "the API is open to this machine alone",
    422: "some fields are wrong; errors names all of them",
    503: "the store or the back end is away",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": reason, "content": {"application/problem+json": {"schema": PROBLEM}}}
    for status, reason in REASONS.items()
}
DRY: dict[int | str, dict[str, Any]] = {
    200: {"description": "with dry_run=true: what would change", "content": {"application/json": {"schema": {}}}}
}
STARTED: dict[int | str, dict[str, Any]] = {
    202: {"description": "it is deployed again with the change", "content": {"application/json": {"schema": {}}}}
}
