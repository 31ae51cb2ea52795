"""A span for each request, and for each change that has ended. Imported only if traces are asked for."""

from __future__ import annotations

from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.store.operations import Operation, State

OPERATION = "mlflow_kserve.operation.id"
"""The attribute that the span of a change and that of its request share."""
PREFIX = "/api/v1"
PLACE = f"{PREFIX}/operation/"


class TracingMiddleware:
    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app, self.tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        attributes = {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope["scheme"]}
        with self.tracer.start_as_current_span(
            method, propagate.extract(carrier), SpanKind.SERVER, attributes
        ) as span:  # fmt: skip

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    note_reply(span, message)
                await send(message)

            await self.app(scope, receive, noted)
            if (route := scope.get("route")) is not None:
                path = f"{PREFIX}{route.path.removeprefix(PREFIX)}"
                span.update_name(f"{method} {path}")
                span.set_attribute("http.route", path)


def note_reply(span: Span, message: Message) -> None:
    status = int(message["status"])
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
    location = dict(message.get("headers", ())).get(b"location", b"").decode("latin-1")
    if location.startswith(PLACE):
        span.set_attribute(OPERATION, location.removeprefix(PLACE))


class OperationSpans:
    """A span from the beginning of a change to its end."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def ended(self, operation: Operation, state: State, message: str, now: float) -> None:
        attributes = {
            OPERATION: operation.id,
            "mlflow_kserve.serve": operation.serve,
            "mlflow_kserve.environment": operation.env,
            "mlflow_kserve.operation.state": state,
        }
        if operation.revision is not None:
            attributes["mlflow_kserve.revision"] = str(operation.revision)
        began = nanoseconds(operation.created_at)
        span = self.tracer.start_span(operation.kind, attributes=attributes, start_time=began)
        if state == "FAILED":
            span.set_status(Status(StatusCode.ERROR, message))
        span.end(nanoseconds(now))


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
