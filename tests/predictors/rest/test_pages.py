"""What a caller reads: /schema, /openapi.json and /docs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import grpc
import jsonschema
import pytest
from google.protobuf import json_format
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from tests.serving import Running, in_thread
from tests.zoo import CASES

# One of each kind of signature; none: the model says nothing of what it takes.
KINDS = [
    "sklearn-logistic", "sklearn-tensor", "sklearn-no-signature", "sklearn-pipeline-mixed-columns", "xgboost-classifier",
    "catboost-text-column", "onnx-two-inputs", "keras-two-inputs", "pytorch-pt2", "pyfunc-params", "pyfunc-nested-types",
    "pyfunc-datetime-binary-optional", "pyfunc-named-tensors", "transformers-text-classification",
]  # fmt: skip
# Nothing is known of what they take, or the made-up row holds a category that the model never learnt.
SILENT = ["pyfunc-type-hints", "pyfunc-no-signature", "xgboost-categories"]


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_the_samples_work_as_they_are(zoo: Callable[[str], Path], kind: str | None) -> None:
    with in_thread(zoo(kind) if kind else None) as server:
        about = server.get("/schema").json()
        samples = about["samples"]
        assert set(samples) == {"v1", "v2", "grpc", "invocations"}
        for form in ("v1", "v2", "invocations"):
            response = server.post(samples[form]["path"], samples[form]["body"])
            assert response.status_code == 200, (form, samples[form], response.text)
        message = json_format.ParseDict(samples["grpc"]["body"], pb.ModelInferRequest())
        with grpc.insecure_channel(server.grpc) as channel:
            assert pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message).model_name == "model"
        jsonschema.Draft202012Validator.check_schema(about["json_schema"])
        jsonschema.validate(samples["v1"]["body"], about["json_schema"])


@pytest.mark.parametrize("kind", SILENT)
def test_no_sample_rather_than_one_that_does_not_work(zoo: Callable[[str], Path], kind: str) -> None:
    with in_thread(zoo(kind)) as server:
        assert server.get("/schema").json()["samples"] == {}
        assert server.get("/openapi.json").status_code == 200


def test_every_kind_of_the_zoo_is_known() -> None:
    assert set(KINDS) | set(SILENT) <= {case.id for case in CASES}


def test_the_schema_names_everything(zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo("pyfunc-params")) as server:
        about = server.get("/schema").json()
    assert [(one["name"], one["type"], one["datatype"]) for one in about["inputs"]] == [
        (name, "double", "FP64") for name in "abcd"
    ]
    params = {one["name"]: (one["type"], one["default"], one["shape"]) for one in about["params"]}
    assert params == {
        "factor": ("double", 2.0, None),
        "times": ("long", 1, None),
        "names": ("string", ["x", "y"], [-1]),
    }
    assert (about["methods"], about["flavor"]) == (["predict"], "pyfunc")


@pytest.mark.parametrize(
    "instances",
    [
        [{"temperature": "x"}],
        [[1, 2]],
        [{"temperature": 1, "vibration": 1, "months_since_service": 1.5, "load": 1}],
        [],
    ],
)
def test_the_json_schema_refuses_what_the_server_refuses(demo: Running, instances: list[object]) -> None:
    schema = demo.get("/schema").json()["json_schema"]
    payload = {"instances": instances}
    assert demo.predict(payload).status_code == 400
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(payload, schema)


def test_the_examples_of_the_openapi_document_work(demo: Running) -> None:
    document = demo.get("/openapi.json").json()
    assert document["openapi"] == "3.0.3"
    asked = 0
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            if example is not None and verb == "post":
                assert demo.post(path, example).status_code == 200, path
                asked += 1
            elif verb == "get":
                missing = path.endswith("/candidate")  # there is none
                assert demo.get(path.format(asset="start.js")).status_code == (404 if missing else 200), path
    assert asked == 4


def test_the_page_needs_no_other_server(demo: Running) -> None:
    page = demo.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 5
    assert "docs/playground" in assets
    for asset in assets:
        assert demo.get(f"/{asset}").status_code == 200
    assert "http" not in page.text
    assert demo.get("/docs/other.js").status_code == 404
    assert demo.get("/docs/..%2F..%2Fsecret").status_code == 404
