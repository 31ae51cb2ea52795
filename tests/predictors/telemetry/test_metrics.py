"""What a scrape says after known traffic."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc
from prometheus_client.parser import text_string_to_metric_families

from tests.serving import Running, in_thread

NAME = "counted"
MODEL = {"model_name": NAME, "model_version": "1"}


def samples(server: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    metrics = {}
    for family in text_string_to_metric_families(server.get("/metrics").text):
        for sample in family.samples:
            metrics[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return metrics


def value(metrics: dict[Any, float], name: str, **labels: str) -> float:
    return metrics[name, tuple(sorted(labels.items()))]


def test_every_metric_counts() -> None:
    rows = {"instances": [[64.2, 0.21, 3, 0.4]] * 3}
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}
    with in_thread(None, model_name=NAME) as server:
        for _ in range(2):
            assert server.predict(rows).status_code == 200
        assert server.infer({"inputs": [tensor]}).status_code == 200
        assert server.post("/invocations", rows).status_code == 200
        assert server.predict({"instances": [["x", 1, 1, 1]]}).status_code == 400
        assert server.predict({"instances": [[1]]}).status_code == 400
        assert server.post("/v1/models/other:predict", rows).status_code == 404
        assert server.get("/v1/models/other").status_code == 404
        with grpc.insecure_channel(server.grpc) as channel:
            stub = pb_grpc.GRPCInferenceServiceStub(channel)
            request = pb.ModelInferRequest(model_name=NAME)
            request.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend([1, 2, 3, 4])
            stub.ModelInfer(request)
            request.inputs[0].datatype = "INT64"
            with pytest.raises(grpc.RpcError):
                stub.ModelInfer(request)
        metrics = samples(server)
        assert value(metrics, "model_predictions_total", **MODEL) == 8
        assert value(metrics, "model_prediction_errors_total", error_type="invalid_input", **MODEL) == 3
        assert value(metrics, "model_prediction_latency_seconds_count", **MODEL) == 5
        assert value(metrics, "model_request_rows_sum", **MODEL) == 3 + 3 + 1 + 3 + 1
        assert value(metrics, "model_loaded", **MODEL) == 1
        assert value(metrics, "model_requests_in_flight", model_name=NAME) == 0
        assert value(metrics, "model_load_seconds", **MODEL) > 0
        by_status = {("v1", "200"): 2, ("v1", "400"): 2, ("v1", "404"): 1, ("v2", "200"): 1, ("invocations", "200"): 1,
                     ("grpc", "OK"): 1, ("grpc", "INVALID_ARGUMENT"): 1}  # fmt: skip
        for (protocol, status), count in by_status.items():
            assert value(metrics, "model_requests_total", model_name=NAME, protocol=protocol, status=status) == count
        info = next(
            dict(labels) for name, labels in metrics if name == "model_info" and dict(labels)["model_name"] == NAME
        )
        assert (info["flavor"], info["uri"]) == ("sklearn", "the demo model")
        server.post(f"/v2/repository/models/{NAME}/unload")
        assert value(samples(server), "model_loaded", **MODEL) == 0


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_formats(demo: Running, accept: str) -> None:
    response = demo.get("/metrics", headers={"Accept": accept})
    assert response.headers["content-type"].startswith(accept.split(";")[0])
    assert "model_predictions" in response.text
