"""Traces of the control plane: a span for each request, and for the change that it begins."""

from __future__ import annotations

from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from controlplane.api.app import build
from controlplane.api.tracing import OPERATION, OperationSpans, TracingMiddleware
from tests.controlplane.plane import HEALTHY, Plane

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_request_and_its_change(plane: Plane) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("mlflow-kserve")
    app = build(plane.control)
    app.add_middleware(TracingMiddleware, tracer=tracer)
    plane.client = TestClient(app, base_url="http://localhost/api/v1")
    plane.reconciler.ended = OperationSpans(tracer).ended

    def spans() -> list[ReadableSpan]:
        finished = list(exporter.get_finished_spans())
        exporter.clear()
        return finished

    body = {"serve_name": "fraud", "model_uri": HEALTHY, "env": "local"}
    parent = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    begun = plane.post("/serve/deploy-model", body, headers=parent)
    (request,) = spans()
    assert (request.name, request.kind) == ("POST /api/v1/serve/deploy-model", SpanKind.SERVER)
    assert request.parent is not None
    assert (f"{request.parent.trace_id:032x}", f"{request.parent.span_id:016x}") == (TRACE, SPAN)
    attributes = dict(request.attributes or {})
    assert (attributes["http.response.status_code"], attributes[OPERATION]) == (202, begun["operation"]["id"])
    plane.settle()
    (change,) = spans()
    assert (change.name, dict(change.attributes or {})) == (
        "deploy",
        {
            OPERATION: begun["operation"]["id"], "mlflow_kserve.serve": "fraud", "mlflow_kserve.environment": "local",
            "mlflow_kserve.operation.state": "SUCCEEDED", "mlflow_kserve.revision": "1",
        },
    )  # fmt: skip
    assert change.end_time is not None
    assert change.start_time is not None
    assert change.end_time / 1e9 <= plane.clock()
    plane.backend.broken.add("models:/fraud/9")
    plane.deploy(uri="models:/fraud/9")
    failed = next(each for each in spans() if each.name == "deploy")
    assert failed.status.status_code is StatusCode.ERROR
    provider.shutdown()
