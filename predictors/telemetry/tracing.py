"""OpenTelemetry's spans, built by hand: the sampling decision comes first, and an unsampled request costs little.

Imported only if tracing is on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import Status as Outcome

from predictors.protocol.grpc_status import GrpcStatus
from predictors.telemetry.exchange import CLIENT_GONE, Exchange

PORT = re.compile("[0-9]{1,5}")
SCOPE = InstrumentationScope("mlflow-kserve")
# The statuses that OpenTelemetry counts as errors of the server.
OUR_FAULT = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class OtelTracer:
    """Builds and sends spans, with the sampler and the propagators that the environment names."""

    def __init__(self, resource: Resource, exporter: SpanExporter) -> None:
        self.resource = resource
        self.processor = BatchSpanProcessor(exporter)
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)
        trace.set_tracer_provider(self.provider)  # for the spans of the model's own code
        self.sampler, self.ids = self.provider.sampler, self.provider.id_generator
        self.propagator = propagate.get_global_textmap()
        self.carriers = frozenset(name.lower().encode() for name in self.propagator.fields)

    def begin(self, exchange: Exchange) -> OtelTrace:
        carrier = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers if name in self.carriers
        }
        parent_context = self.propagator.extract(carrier) if carrier else context.Context()
        parent = trace.get_current_span(parent_context).get_span_context() if carrier else None
        if parent is not None and not parent.is_valid:
            parent = None
        trace_id = self.ids.generate_trace_id() if parent is None else parent.trace_id
        result = self.sampler.should_sample(
            parent_context, trace_id, exchange.verb, SpanKind.SERVER, {"url.path": exchange.path}
        )
        sampled = result.decision is Decision.RECORD_AND_SAMPLE
        span_id = self.ids.generate_span_id()
        return OtelTrace(
            self, trace_id, span_id, parent, parent_context, sampled, result.trace_state, result.attributes or {}
        )

    def close(self) -> None:
        """Sends what is left."""
        self.provider.shutdown()


class OtelTrace:
    """The span of one request."""

    __slots__ = ("attributes", "parent", "parent_context", "sampled", "span_id", "state", "trace_id", "tracing")

    def __init__(
        self,
        tracing: OtelTracer,
        trace_id: int,
        span_id: int,
        parent: SpanContext | None,
        parent_context: context.Context,
        sampled: bool,
        state: TraceState | None,
        attributes: Any,
    ) -> None:
        self.tracing = tracing
        self.trace_id, self.span_id = trace_id, span_id
        self.parent, self.parent_context = parent, parent_context
        self.sampled = sampled
        self.state = state
        self.attributes = attributes
        """Added by the sampler."""

    @property
    def traceparent(self) -> bytes:
        return b"00-%032x-%016x-%02x" % (self.trace_id, self.span_id, self.sampled)

    def context_of(self, span_id: int) -> SpanContext:
        return SpanContext(self.trace_id, span_id, False, TraceFlags(self.sampled), self.state)

    def enter(self) -> None:
        """Makes this span the parent of those that the model's own code makes in this task."""
        span = NonRecordingSpan(self.context_of(self.span_id))
        context.attach(trace.set_span_in_context(span, self.parent_context))

    def end(self, exchange: Exchange, ended: int) -> None:
        own = self.context_of(self.span_id)
        name, attributes, fault = rpc(exchange) if exchange.verb == "GRPC" else http(exchange)
        attributes = {**self.attributes, **attributes, **about_model(exchange)}
        events = []
        if fault and exchange.error is not None:
            cause = exchange.error.__cause__ or exchange.error
            # The message may quote the request; it is in the log only.
            kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
            events.append(Event("exception", {"exception.type": kind}, ended))
        send = self.tracing.processor.on_end
        for step, begun, done in exchange.steps:
            place = self.context_of(self.tracing.ids.generate_span_id())
            send(self.span(step, place, own, SpanKind.INTERNAL, {}, begun, done))
        status = Outcome(StatusCode.ERROR) if fault else Outcome()
        send(self.span(name, own, self.parent, SpanKind.SERVER, attributes, exchange.started, ended, events, status))

    def span(
        self,
        name: str,
        place: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: dict[str, Any],
        begun: int,
        ended: int,
        events: Iterable[Event] = (),
        status: Outcome = Outcome(),  # noqa: B008 - it is immutable
    ) -> ReadableSpan:
        return ReadableSpan(
            name, place, parent, self.tracing.resource, attributes, tuple(events), (), kind, None, status, begun,
            ended, SCOPE,
        )  # fmt: skip


def http(exchange: Exchange) -> tuple[str, dict[str, Any], bool]:
    """Name, attributes, and whether it is the server's fault, by OpenTelemetry's conventions for HTTP."""
    status = int(exchange.status)
    attributes: dict[str, Any] = {
        "http.request.method": exchange.verb,
        "http.response.status_code": status,
        "url.path": exchange.path,
        "url.scheme": exchange.observer.scheme,
        **peers(exchange, b"host"),
    }
    if exchange.route:
        attributes["http.route"] = exchange.route
    if status >= 400:
        attributes["error.type"] = (
            "client_gone" if status == CLIENT_GONE else getattr(exchange.error, "kind", str(status))
        )
    return f"{exchange.verb} {exchange.route}".strip(), attributes, status >= 500


def rpc(exchange: Exchange) -> tuple[str, dict[str, Any], bool]:
    """Name, attributes, and whether it is the server's fault, by the conventions for gRPC."""
    service, _, method = exchange.path.strip("/").rpartition("/")
    status = str(exchange.status)
    attributes: dict[str, Any] = {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
        "rpc.grpc.status_code": int(GrpcStatus[status]),
        **peers(exchange, b":authority"),
    }
    if status != "OK":
        attributes["error.type"] = getattr(exchange.error, "kind", status)
    return f"{service}/{method}", attributes, status in OUR_FAULT


def peers(exchange: Exchange, address: bytes) -> dict[str, Any]:
    """The attributes of the server's address and of the client."""
    attributes: dict[str, Any] = {}
    for name, value in exchange.headers:
        if name == address:
            host, _, port = value.decode("latin-1").rpartition(":")
            if host and PORT.fullmatch(port):
                attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
            else:
                attributes["server.address"] = value.decode("latin-1")
        elif name == b"user-agent":
            attributes["user_agent.original"] = value.decode("latin-1")
    if exchange.client:
        attributes["client.address"] = exchange.client[0]
    return attributes


def about_model(exchange: Exchange) -> dict[str, Any]:
    loaded = exchange.loaded
    if loaded is None:
        return {}
    attributes = {
        "model.name": exchange.observer.model_name,
        "model.version": loaded.version,
        "model.flavor": loaded.flavor,
        "model.engine": loaded.choice.name,
        "model.protocol": exchange.protocol,
    }
    return {**attributes, "model.rows": exchange.rows} if exchange.rows else attributes
