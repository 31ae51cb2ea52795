"""Requests made from /schema: every served model answers them, in every protocol alike."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from loadtest.payloads import GRPC_METHOD, PROTOCOLS, Payloads, PayloadTensor, Vary
from loadtest.target import Target, UnusableTarget
from tests.serving import Running, in_thread
from tests.zoo.case import PIP, mixed

MODELS = [
    "sklearn-linear-regression", "sklearn-tensor", "sklearn-no-signature", "sklearn-text",
    "sklearn-pipeline-mixed-columns", "pyfunc-nested-types", "pyfunc-datetime-binary-optional",
    "pyfunc-named-tensors",
]  # fmt: skip


def replies(server: Running, maker: Payloads, number: int) -> dict[str, Any]:
    """The first output of each protocol, as plain values."""
    outputs: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        payload = maker.make(protocol, number)
        if protocol == "grpc":
            with grpc.insecure_channel(server.grpc) as channel:
                reply = pb.ModelInferResponse.FromString(channel.unary_unary(GRPC_METHOD)(payload.body))
            outputs[protocol] = raw_values(reply.outputs[0].datatype, reply.raw_output_contents[0])
            continue
        reply = server.post(payload.path, content=payload.body, headers=dict(payload.headers))
        assert reply.status_code == 200, (protocol, reply.text)
        if protocol == "v2-binary":
            length = int(reply.headers["inference-header-content-length"])
            output = json.loads(reply.content[:length])["outputs"][0]
            size = output["parameters"]["binary_data_size"]
            outputs[protocol] = raw_values(output["datatype"], reply.content[length : length + size])
        elif protocol == "v2":
            outputs[protocol] = reply.json()["outputs"][0]["data"]
        else:
            outputs[protocol] = reply.json()["predictions"]
    return outputs


def raw_values(datatype: str, raw: bytes) -> Any:
    if datatype != "BYTES":
        kinds = {"INT64": "<i8", "FP64": "<f8", "FP32": "<f4", "BOOL": "?", "INT32": "<i4"}
        return np.frombuffer(raw, kinds[datatype]).tolist()
    values, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        values.append(raw[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return values


@pytest.mark.parametrize("model", MODELS)
def test_every_protocol_is_answered_with_varied_values(model: str, zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo(model)) as server:
        target = Target(server.url, server.grpc)
        for protocol in PROTOCOLS:
            payloads, vary = target.payloads(protocol, rows=2, seed=1, count=6)
            assert vary is Vary.ALL
            assert len({one.body for one in payloads}) == 6, protocol


@pytest.mark.parametrize("model", ["sklearn-logistic", "sklearn-pipeline-mixed-columns", "sklearn-tensor"])
def test_the_same_rows_in_each_protocol(model: str, zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo(model)) as server:
        maker = Payloads(Target(server.url).schema(), rows=3, seed=5)
        outcomes = set()
        for number in range(4):
            outputs = replies(server, maker, number)
            assert all(values == outputs["v1"] for values in outputs.values()), outputs
            outcomes.add(json.dumps(outputs["v1"]))
        assert len(outcomes) > 1, "the values do not vary"


@pytest.fixture(scope="module")
def demo() -> Iterator[Running]:
    with in_thread(None) as server:
        yield server


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_seed_makes_the_same_requests_again(protocol: str, demo: Running) -> None:
    schema = Target(demo.url).schema()
    first, again, other = (
        [Payloads(schema, seed=seed).make(protocol, number) for number in range(5)] for seed in (1, 1, 2)
    )
    assert first == again
    assert not {one.body for one in first} & {one.body for one in other}


def test_what_the_model_refuses_is_not_varied(tmp_path: Path) -> None:
    """An encoder that takes only the cities it knows."""
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    data = mixed()[["amount", "city"]]
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(data, data.amount > 0)
    mlflow.sklearn.save_model(
        model, tmp_path / "model", signature=infer_signature(data), input_example=data[:3],
        serialization_format="cloudpickle", **PIP,
    )  # fmt: skip
    with in_thread(tmp_path / "model") as server:
        payloads, vary = Target(server.url).payloads("v1", rows=1, seed=0, count=8)
        assert vary is Vary.NUMBERS
        rows = [json.loads(one.body)["instances"][0] for one in payloads]
        assert {row["city"] for row in rows} <= set(data.city[:3])
        assert len({row["amount"] for row in rows}) == 8


def test_a_model_without_a_sample_is_said(zoo: Callable[[str], Path]) -> None:
    with (
        in_thread(zoo("pyfunc-no-signature")) as server,
        pytest.raises(UnusableTarget, match="no sample for v1: log the model with an input example"),
    ):
        Target(server.url).payloads("v1", rows=1, seed=0, count=1)


def test_numbers_keep_their_type() -> None:
    schema = {
        "inputs": [{"name": "n", "type": "integer"}],
        "samples": {"v1": {"path": "/", "body": {"instances": [{"n": 250}, {"n": 0}, {"n": -3}]}}},
    }
    values = [row["n"] for number in range(200) for row in Payloads(schema, rows=3).instances(number)]
    assert all(isinstance(value, int) and -3 <= value <= 250 for value in values)
    assert len(set(values)) > 20


@pytest.mark.parametrize(("datatype", "value"), [("FP16", 65504.0), ("FP32", -3.4e38), ("FP64", 1.79e308)])
def test_numbers_stay_within_their_type(datatype: str, value: float) -> None:
    schema = {
        "inputs": [{"name": "x", "type": "float"}],
        "samples": {
            "v1": {"path": "/", "body": {"instances": [{"x": value}]}},
            "v2": {
                "path": "/",
                "body": {"inputs": [{"name": "x", "shape": [1], "datatype": datatype, "data": [value]}]},
            },
        },
    }
    payloads = [Payloads(schema).make("v2-binary", number) for number in range(50)]
    assert len({one.body for one in payloads}) > 20
    values = np.array([Payloads(schema).instances(number)[0]["x"] for number in range(50)])
    assert np.isfinite(values.astype(f"<f{int(datatype[2:]) // 8}")).all()


def test_tensors_are_written_as_the_protocol_says() -> None:
    assert PayloadTensor("x", "FP32", [[1.0, None]], False).raw() == np.array([1.0, np.nan], "<f4").tobytes()
    assert PayloadTensor("x", "BYTES", ["Köln"], False).raw() == b"\x05\x00\x00\x00K\xc3\xb6ln"
    assert PayloadTensor("x", "BYTES", ["AAE="], True).raw() == b"\x02\x00\x00\x00\x00\x01"
