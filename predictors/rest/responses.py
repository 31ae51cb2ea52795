"""Responses of the protocols."""

from __future__ import annotations

from typing import Any

from predictors.pipeline.served_model import ServedModel
from predictors.protocol import invocations, jsontext, v1
from predictors.protocol.errors import NotReady, RequestError
from predictors.rest import headers
from predictors.rest.asgi import Response

BINARY, HEADER_LENGTH = headers.BINARY_TYPE.decode(), headers.HEADER_LENGTH.decode()


def tensor_response(reply: bytes, split: int | None) -> Response:
    """JSON, or JSON of length `split` and binary tensors."""
    if split is None:
        return Response(reply)
    return Response(reply, content_type=BINARY, headers=((HEADER_LENGTH, str(split)),))


def with_version(response: Response, served: ServedModel) -> Response:
    response.headers = (*response.headers, served.version_header)
    return response


def json_response(value: Any, status: int = 200) -> Response:
    return Response(jsontext.dump(value), status)


def protocol_of(path: str) -> str:
    return "invocations" if path.startswith("/invocations") else ""


def error_response(error: RequestError, protocol: str) -> Response:
    body = invocations.encode_error(error) if protocol == "invocations" else v1.encode_error(str(error))
    fields = error.headers
    if isinstance(error, NotReady):
        fields = (*fields, ("retry-after", "1"))
    return Response(body, error.status, headers=fields)
