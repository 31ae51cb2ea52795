"""Traces and metrics over OTLP, as a collector gets them from a real process."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest as Metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as Traces
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from loadtest.peers.ports import free_port
from predictors.pipeline.settings import Settings
from predictors.telemetry.opentelemetry import begin, is_exported, otlp_protocol
from tests.http_server import QuietHandler
from tests.predictors.telemetry.test_ids import PARENT, request
from tests.predictors.telemetry.test_metrics import samples
from tests.serving import process, wait_for
from tests.zoo.case import numbers
from tests.zoo.python import save

ROWS = {"instances": [[64.2, 0.21, 3, 0.4]] * 3}
TRACE, SPAN = PARENT[3:35], PARENT[36:52]
SERVER = Span.SPAN_KIND_SERVER
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "100"}


def plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class Collector:
    """Takes what is exported, over HTTP or gRPC."""

    def __init__(self) -> None:
        self.traces: list[Any] = []
        self.metrics: list[Any] = []
        self.headers: list[dict[str, str]] = []

    def spans(self, **wanted: Any) -> list[Any]:
        all_spans = [span for one in self.traces for all_of in one.resource_spans for scope in all_of.scope_spans for span in scope.spans]  # fmt: skip
        return [one for one in all_spans if all(getattr(one, name) == value for name, value in wanted.items())]

    def trace(self, request_or_trace: str) -> dict[str, Any]:
        """Spans of a trace by name."""
        return {one.name: one for one in self.spans(trace_id=bytes.fromhex(request_or_trace))}

    def latest(self, resource: str | None = None) -> dict[str, Any]:
        """The last metrics of each name, those of one process if it is named."""
        metrics: dict[str, Any] = {}
        for one in list(self.metrics):
            for all_of in one.resource_metrics:
                if resource in (None, plain(all_of.resource.attributes)["service.instance.id"]):
                    metrics |= {metric.name: metric for scope in all_of.scope_metrics for metric in scope.metrics}
        return metrics

    def resources(self) -> list[dict[str, Any]]:
        parts = [part for one in self.traces for part in one.resource_spans]
        parts += [part for one in self.metrics for part in one.resource_metrics]
        return [plain(part.resource.attributes) for part in parts]


@contextmanager
def over_http() -> Iterator[tuple[Collector, str]]:
    collector = Collector()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.path.endswith("/traces"):
                collector.traces.append(Traces.FromString(body))
            else:
                collector.metrics.append(Metrics.FromString(body))
            self.reply(200)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def over_grpc() -> Iterator[tuple[Collector, str]]:
    collector = Collector()

    class TraceService(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            collector.traces.append(request)
            return ExportTraceServiceResponse()

    class MetricsService(MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            collector.metrics.append(request)
            return ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(TraceService(), server)  # type: ignore[no-untyped-call]  # generated
    add_MetricsServiceServicer_to_server(MetricsService(), server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait(10)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Collector]]:
    """The demo model with all of its requests traced."""
    with over_http() as (collector, url):
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **SOON}
        with process(tmp_path_factory.mktemp("traced"), env=env) as server:
            yield server.running, collector


def sent(collector: Collector, trace: str, count: int) -> dict[str, Any]:
    wait_for(lambda: len(collector.trace(trace)) >= count)
    return collector.trace(trace)


def trace_of(response: Any) -> str:
    trace: str = response.headers["traceparent"][3:35]
    return trace


# -- spans over HTTP ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?x=1"], ids=["short way", "long way"])
def test_a_request_continues_the_trace_of_its_caller(traced: Any, query: str) -> None:
    server, collector = traced
    trace = TRACE[:-1] + ("a" if query else "b")
    parent = f"00-{trace}-{SPAN}-01"
    headers = {"traceparent": parent, "tracestate": "vendor=1", "x-request-id": "mine"}
    reply = server.post(f"/v1/models/model:predict{query}", ROWS, headers=headers)
    spans = sent(collector, trace, 4)
    assert set(spans) == {"POST /v1/models/{model}:predict", "decode", "predict", "encode"}
    own = spans.pop("POST /v1/models/{model}:predict")
    assert own.kind == own.SPAN_KIND_SERVER
    assert own.parent_span_id.hex() == SPAN
    assert own.trace_state == "vendor=1"
    assert reply.headers["traceparent"] == f"00-{trace}-{own.span_id.hex()}-01"
    assert reply.headers["x-request-id"] == "mine"
    attributes = plain(own.attributes)
    port = int(server.url.rpartition(":")[2])
    assert attributes.pop("user_agent.original").startswith("python-httpx")
    assert attributes == {
        "http.request.method": "POST", "http.route": "/v1/models/{model}:predict", "http.response.status_code": 200,
        "url.path": "/v1/models/model:predict", "url.scheme": "http", "server.address": "127.0.0.1",
        "server.port": port, "client.address": "127.0.0.1", "model.name": "model", "model.version": "1",
        "model.flavor": "sklearn", "model.engine": "numpy", "model.protocol": "v1", "model.rows": 3,
    }  # fmt: skip
    steps = [spans[name] for name in ("decode", "predict", "encode")]
    assert all(one.parent_span_id == own.span_id and one.kind == one.SPAN_KIND_INTERNAL for one in steps)
    times = [own.start_time_unix_nano]
    for one in steps:
        times += [one.start_time_unix_nano, one.end_time_unix_nano]
    times.append(own.end_time_unix_nano)
    assert times == sorted(times)
    assert own.status.code == own.status.STATUS_CODE_UNSET


def test_a_request_without_a_trace_begins_one(traced: Any) -> None:
    server, collector = traced
    first, second = (server.predict(ROWS) for _ in range(2))
    assert trace_of(first) != trace_of(second)
    own = sent(collector, trace_of(first), 4)["POST /v1/models/{model}:predict"]
    assert own.parent_span_id == b""


def test_what_the_caller_does_not_sample_is_not_sent(traced: Any) -> None:
    server, collector = traced
    trace = "d" * 32
    headers = {"traceparent": f"00-{trace}-{SPAN}-00"}
    reply = server.post("/v1/models/model:predict", ROWS, headers=headers)
    assert reply.headers["traceparent"].startswith(f"00-{trace}-")
    assert reply.headers["traceparent"].endswith("-00")
    sent(collector, trace_of(server.predict(ROWS)), 4)
    assert collector.trace(trace) == {}


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/v1/models/model:predict", {"instances": [[1]]}, 400, "invalid_input"),
        ("/v1/models/other:predict", ROWS, 404, "not_found"),
        ("/nowhere", ROWS, 404, "not_found"),
        ("/v2/models/model/infer", None, 400, "invalid_input"),
    ],
)
def test_errors_of_the_caller(traced: Any, path: str, body: Any, status: int, kind: str) -> None:
    server, collector = traced
    reply = server.post(path, body)
    assert reply.status_code == status
    trace = bytes.fromhex(trace_of(reply))
    wait_for(lambda: collector.spans(trace_id=trace, kind=SERVER))
    (own,) = collector.spans(trace_id=trace, kind=SERVER)
    attributes = plain(own.attributes)
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (status, kind)
    assert own.status.code == own.status.STATUS_CODE_UNSET  # not the server's fault
    assert not own.events


def test_probes_and_scrapes_are_not_traced(traced: Any) -> None:
    server, collector = traced
    for path in ("/health/live", "/v2/health/ready", "/metrics", "/v2/models/model/ready"):
        assert "traceparent" not in server.get(path).headers
    with grpc.insecure_channel(server.grpc) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        stub.ServerReady(pb.ServerReadyRequest())
    sent(collector, trace_of(server.predict(ROWS)), 4)
    assert all(
        "health" not in one.name and "Ready" not in one.name and "metrics" not in one.name for one in collector.spans()
    )


def test_the_service_is_named_after_the_model(traced: Any) -> None:
    server, collector = traced
    sent(collector, trace_of(server.predict(ROWS)), 4)
    assert {one["service.name"] for one in collector.resources()} == {"model"}
    assert len({one["service.instance.id"] for one in collector.resources()}) == 1


# -- spans over gRPC ----------------------------------------------------------------------------------------------------


def test_calls_are_traced(traced: Any) -> None:
    server, collector = traced
    good, bad = TRACE[:-1] + "c", TRACE[:-1] + "d"
    with grpc.insecure_channel(server.grpc) as channel:
        infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        _, call = infer.with_call(request(), metadata=(("traceparent", f"00-{good}-{SPAN}-01"),))
        with pytest.raises(grpc.RpcError):
            infer(request(model_version="9"), metadata=(("traceparent", f"00-{bad}-{SPAN}-01"),))
    name = "inference.GRPCInferenceService/ModelInfer"
    spans = sent(collector, good, 4)
    assert set(spans) == {name, "decode", "predict", "encode"}
    own = spans[name]
    assert own.parent_span_id.hex() == SPAN
    assert dict(call.initial_metadata())["traceparent"] == f"00-{good}-{own.span_id.hex()}-01"
    attributes = plain(own.attributes)
    expected = {"rpc.system": "grpc", "rpc.service": "inference.GRPCInferenceService", "rpc.method": "ModelInfer",
                "rpc.grpc.status_code": 0, "server.address": "127.0.0.1", "client.address": "127.0.0.1",
                "model.rows": 1, "model.protocol": "grpc", "model.version": "1"}  # fmt: skip
    assert expected.items() <= attributes.items()
    failed = plain(sent(collector, bad, 1)[name].attributes)
    assert (failed["rpc.grpc.status_code"], failed["error.type"]) == (5, "not_found")


# -- metrics ------------------------------------------------------------------------------------------------------------


def test_metrics_are_those_of_prometheus(traced: Any) -> None:
    server, collector = traced
    server.predict(ROWS)
    server.predict({"instances": [[1]]})
    scraped = samples(server)
    labels = (("model_name", "model"), ("model_version", "1"))
    total = scraped["model_predictions_total", labels]

    def exported() -> Any:
        metric = collector.latest().get("model_predictions")
        return metric and metric.sum.data_points[0].as_double

    wait_for(lambda: exported() == total)
    metrics = collector.latest()
    counter = metrics["model_predictions"].sum
    assert counter.is_monotonic
    assert counter.aggregation_temporality == 2  # cumulative
    assert plain(counter.data_points[0].attributes) == dict(labels)
    assert 0 < counter.data_points[0].start_time_unix_nano < counter.data_points[0].time_unix_nano
    (point,) = metrics["model_prediction_latency_seconds"].histogram.data_points
    buckets = {dict(key)["le"]: value for (name, key), value in scraped.items()
               if name == "model_prediction_latency_seconds_bucket"}  # fmt: skip
    assert list(point.explicit_bounds) == sorted(float(le) for le in buckets if le != "+Inf")
    assert sum(point.bucket_counts) == point.count == buckets["+Inf"]
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert point.bucket_counts[0] == buckets["0.0005"]
    assert point.sum == pytest.approx(scraped["model_prediction_latency_seconds_sum", labels])
    assert metrics["model_prediction_latency_seconds"].unit == "s"
    assert metrics["model_loaded"].gauge.data_points[0].as_double == 1
    assert not any(name.endswith(("_created", "_total")) for name in metrics)
    about = {dict(key)["model_name"]: value for (name, key), value in scraped.items() if name == "model_info"}
    assert about == {"model": 1}
    assert "model_info" in metrics


def test_workers_export_each_for_itself(tmp_path: Path) -> None:
    with over_http() as (collector, url):
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "named", "OTEL_EXPORTER_OTLP_HEADERS": "key=secret",
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod,team=blue", "OTEL_METRIC_EXPORT_INTERVAL": "600000",
        }  # fmt: skip
        with process(tmp_path, "--workers", "2", env=env) as server:
            replies = [server.running.predict(ROWS) for _ in range(5)]
            assert server.terminate() == 0
            assert "secret" not in server.log
        # Nothing was due yet: the end sends what there is.
        assert {trace_of(one) for one in replies} == {one.trace_id.hex() for one in collector.spans()}
        assert {one["service.instance.id"] for one in collector.resources()} == {"pod-0", "pod-1"}
        assert {(one["service.name"], one["team"]) for one in collector.resources()} == {("named", "blue")}
        assert {one["key"] for one in collector.headers} == {"secret"}
        counted = [collector.latest(f"pod-{index}").get("model_predictions") for index in (0, 1)]
        assert sum(one.sum.data_points[0].as_double for one in counted if one and one.sum.data_points) == 5


def test_a_collector_over_grpc(tmp_path: Path) -> None:
    with over_grpc() as (collector, url):
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **SOON}
        with process(tmp_path, env=env) as server:
            reply = server.running.predict(ROWS)
            sent(collector, trace_of(reply), 4)
            wait_for(lambda: "model_predictions" in collector.latest())
            assert server.terminate() == 0


# -- the model's own --------------------------------------------------------------------------------------------------------

SPEAKS = """
import mlflow
from opentelemetry import trace

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if model_input["a"][0] < 0:
            raise ValueError("secret " + str(model_input))
        with trace.get_tracer("mine").start_as_current_span("of the model"):
            return model_input["a"]

mlflow.models.set_model(Model())
"""


def test_the_spans_and_failures_of_a_model(tmp_path: Path) -> None:
    save(tmp_path / "model", SPEAKS, data=numbers())

    def rows(a: float) -> Any:
        return {"dataframe_split": numbers().head(1).assign(a=a).to_dict(orient="split")}

    with over_http() as (collector, url):
        env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/v1/traces", **SOON}
        with process(tmp_path, "--model-uri", str(tmp_path / "model"), "--warm-up=false", env=env) as server:
            good, bad = (server.running.post("/invocations", rows(a)) for a in (1.0, -1.0))
            assert (good.status_code, bad.status_code) == (200, 500)
            spans = sent(collector, trace_of(good), 5)
            assert spans["of the model"].parent_span_id == spans["POST /invocations"].span_id
            spans = sent(collector, trace_of(bad), 3)
            own = spans["POST /invocations"]
            assert own.status.code == own.status.STATUS_CODE_ERROR
            assert plain(own.attributes)["error.type"] == "model_error"
            (event,) = own.events
            assert (event.name, plain(event.attributes)) == ("exception", {"exception.type": "builtins.ValueError"})
            assert "secret" not in str(spans)
            assert set(spans) == {"POST /invocations", "decode", "predict"}
            assert collector.metrics == []  # only traces were asked for


# -- switches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "traces", "metrics"),
    [
        ({}, False, False),
        ({"OTEL_SERVICE_NAME": "x"}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, False, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "True"}, False, False),
    ],
    ids=json.dumps,
)
def test_what_is_asked_for(environ: dict[str, str], traces: bool, metrics: bool) -> None:
    assert (is_exported("traces", environ), is_exported("metrics", environ)) == (traces, metrics)


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({}, "http"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, "http"),
    ],
    ids=json.dumps,
)
def test_the_protocol(environ: dict[str, str], protocol: str) -> None:
    assert otlp_protocol("traces", environ) == protocol


def test_what_cannot_be_exported_is_said_and_the_model_served(tmp_path: Path) -> None:
    env = {
        "OTEL_TRACES_EXPORTER": "zipkin", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_EXPORTER_OTLP_HEADERS": "my secret",
    }  # fmt: skip
    with process(tmp_path, env=env) as server:
        reply = server.running.predict(ROWS)
        assert reply.status_code == 200
        assert "traceparent" not in reply.headers
        assert "OTEL_TRACES_EXPORTER: no exporter 'zipkin'; expected otlp, console or none" in server.log
        assert "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is none of grpc, http/protobuf" in server.log


def test_a_collector_that_is_not_there_holds_nothing_up(tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_EXPORTER_OTLP_HEADERS": "my secret"}
    with process(tmp_path, "--grace-period", "1", env=env) as server:
        assert server.running.predict(ROWS).status_code == 200
        assert server.terminate() == 0
        assert "telemetry was not sent in time" in server.log
        assert "headers cannot be read" in server.log
        assert "secret" not in server.log


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("predictors.telemetry.opentelemetry.entry_points", lambda **_: ())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    telemetry = begin(Settings(), 0)
    assert (telemetry.tracing, telemetry.metrics) == (None, None)
    for signal in ("traces", "metrics"):
        assert (
            f"{signal} are not exported: the exporter needs an extra: pip install 'mlflow-kserve[otel]'" in caplog.text
        )


def test_nothing_is_imported_that_is_not_asked_for() -> None:
    script = """
import sys
from predictors.runtime.lazy_imports import defer_import
for package in ("kserve", "fastapi", "fastapi.responses"):
    defer_import(package)
from predictors.serving import process
from predictors.telemetry import opentelemetry
from predictors.pipeline.settings import Settings
assert opentelemetry.begin(Settings(), 0).tracing is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, done.stderr
