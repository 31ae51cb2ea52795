"""Parameters and bodies that several routes have."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query
from pydantic import BaseModel

JsonBody = Annotated[Any, Body(media_type="application/json")]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description="number of the page, from 1")]
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
