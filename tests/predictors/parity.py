"""The ways to send a sample, and how answers are compared with MLflow's own."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc
from mlflow.pyfunc import load_model
from mlflow.pyfunc.scoring_server import predictions_to_json

from tests.serving import Running
from tests.zoo import CASES, ZooModel

DATATYPES = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip


# -- a sample as payloads -------------------------------------------------------------------------------------------


def cell(value: Any) -> Any:
    """A value as JSON has it: NaN is null, bytes are base64, timestamps are ISO 8601."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return [cell(item) for item in value]
    if isinstance(value, Mapping):
        return {key: cell(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, (pd.Timestamp, np.datetime64)):
        return pd.Timestamp(value).isoformat()
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def records(sample: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): cell(value) for name, value in row.items()} for row in sample.to_dict(orient="records")]


def tensor(name: str, values: Any) -> tuple[str, np.ndarray[Any, Any]]:
    """A column or an array as one tensor; what is not numbers travels as bytes."""
    array = values.to_numpy() if isinstance(values, pd.Series) else np.asarray(values)
    if array.dtype.name in DATATYPES:
        return name, array
    encoded = np.empty(array.shape, dtype=object)
    for index, value in np.ndenumerate(array):
        encoded[index] = as_bytes(value)
    return name, encoded


class Binary(bytes):
    """Bytes that were bytes in the sample, not text."""


def as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return Binary(value)
    plain = cell(value)
    return plain.encode() if isinstance(plain, str) else json.dumps(plain).encode()


def tensors(sample: Any) -> list[tuple[str, np.ndarray[Any, Any]]]:
    if isinstance(sample, pd.DataFrame):
        return [tensor(str(name), sample[name]) for name in sample]
    if isinstance(sample, Mapping):
        return [tensor(name, values) for name, values in sample.items()]
    return [tensor("input-0", sample)]


def raw(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype == object:
        return b"".join(len(item).to_bytes(4, "little") + item for item in array.reshape(-1))
    return array.tobytes()


def datatype(array: np.ndarray[Any, Any]) -> str:
    return DATATYPES.get(array.dtype.name, "BYTES")


# -- the ways -------------------------------------------------------------------------------------------------------


def v1_records(server: Running, sample: pd.DataFrame) -> Any:
    return v1(server, {"instances": [dict(reversed(record.items())) for record in records(sample)]})


def v1_rows(server: Running, sample: Any) -> Any:
    rows = sample.to_numpy(dtype=object) if isinstance(sample, pd.DataFrame) else sample
    return v1(server, {"instances": cell(rows)})


def v1_columns(server: Running, sample: Any) -> Any:
    return v1(server, {"inputs": {str(name): cell(list(sample[name])) for name in sample}})


def v1(server: Running, payload: Any) -> Any:
    response = server.predict(payload)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def v2_json(server: Running, sample: Any) -> Any:
    inputs = []
    for name, array in tensors(sample):
        data = [text_of(item) for item in array.reshape(-1)]
        inputs.append({"name": name, "shape": list(array.shape), "datatype": datatype(array), "data": data})
    response = server.infer({"inputs": inputs})
    assert response.status_code == 200, response.text
    return Tensors({one["name"]: one["data"] for one in response.json()["outputs"]})


def text_of(item: Any) -> Any:
    """An element as JSON has it; bytes that are not text are base64."""
    if not isinstance(item, Binary):
        return item.decode() if isinstance(item, bytes) else cell(item)
    return cell(bytes(item))


def v2_binary(server: Running, sample: Any) -> Any:
    sent = tensors(sample)
    inputs = [
        {"name": name, "shape": list(array.shape), "datatype": datatype(array),
         "parameters": {"binary_data_size": len(raw(array))}}
        for name, array in sent
    ]  # fmt: skip
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    body = head + b"".join(raw(array) for _, array in sent)
    response = server.post(f"/v2/models/{server.name}/infer", content=body, headers=headers)
    assert response.status_code == 200, response.text
    split = int(response.headers["Inference-Header-Content-Length"])
    rest = memoryview(response.content)[split:]
    outputs = {}
    for one in json.loads(response.content[:split])["outputs"]:
        size = one["parameters"]["binary_data_size"]
        outputs[one["name"]] = unpacked(bytes(rest[:size]), one["datatype"])
        rest = rest[size:]
    return Tensors(outputs)


def grpc_raw(server: Running, sample: Any) -> Any:
    request = pb.ModelInferRequest(model_name=server.name)
    for name, array in tensors(sample):
        request.inputs.add(name=name, datatype=datatype(array), shape=array.shape)
        request.raw_input_contents.append(raw(array))
    with grpc.insecure_channel(server.grpc, server.grpc_options) as channel:
        reply = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=60)
    pairs = zip(reply.outputs, reply.raw_output_contents, strict=True)
    return Tensors({one.name: unpacked(content, one.datatype) for one, content in pairs})


def unpacked(content: bytes, kind: str) -> list[Any]:
    if kind != "BYTES":
        dtype = next(name for name, known in DATATYPES.items() if known == kind)
        return [cell(item) for item in np.frombuffer(content, dtype=dtype)]
    items = []
    while content:
        size = int.from_bytes(content[:4], "little")
        items.append(content[4 : 4 + size].decode())
        content = content[4 + size :]
    return items


def invocations_split(server: Running, sample: pd.DataFrame) -> Any:
    columns = [str(name) for name in sample.columns]
    data = [list(record.values()) for record in records(sample)]
    return invocations(server, json={"dataframe_split": {"columns": columns, "data": data}})


def invocations_inputs(server: Running, sample: Any) -> Any:
    inputs = {name: cell(values) for name, values in sample.items()} if isinstance(sample, Mapping) else cell(sample)
    return invocations(server, json={"inputs": inputs})


def invocations_parquet(server: Running, sample: pd.DataFrame) -> Any:
    file = BytesIO()
    sample.to_parquet(file)
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    return invocations(server, content=file.getvalue(), headers=headers)


def invocations_csv(server: Running, sample: pd.DataFrame) -> Any:
    text = sample.to_csv(index=False)
    return invocations(server, content=text.encode(), headers={"Content-Type": "text/csv"})


def invocations(server: Running, **request: Any) -> Any:
    response = server.post("/invocations", **request)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


Way = Callable[[Running, Any], Any]
WAYS: dict[str, Way] = {
    "V1 rows": v1_rows,
    "V1 records": v1_records,
    "V1 columns": v1_columns,
    "V2 JSON": v2_json,
    "V2 binary": v2_binary,
    "gRPC": grpc_raw,
    "/invocations JSON": invocations_split,
    "/invocations inputs": invocations_inputs,
    "/invocations CSV": invocations_csv,
    "/invocations Parquet": invocations_parquet,
}


def ways_of(case: ZooModel) -> list[str]:
    """The ways that a sample of this kind can be sent in."""
    sample = case.sample()
    if isinstance(sample, pd.DataFrame):
        ways = [
            "V1 records",
            "V1 columns",
            "V2 JSON",
            "V2 binary",
            "gRPC",
            "/invocations JSON",
            "/invocations Parquet",
        ]
        if all(sample[name].map(type).isin([int, float, str]).all() for name in sample):
            ways.append("/invocations CSV")
        return [way for way in WAYS if way in ways and way not in EXCEPTIONS.get(case.id, ())]
    if isinstance(sample, Mapping):
        ways = ["V1 columns", "V2 JSON", "V2 binary", "gRPC", "/invocations inputs"]
    else:
        ways = ["V1 rows", "V2 JSON", "V2 binary", "gRPC", "/invocations inputs"]
    return [way for way in ways if way not in EXCEPTIONS.get(case.id, ())]


# Ways that a model cannot be asked in, each with the reason.
EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "pyfunc-nested-types": ("/invocations Parquet",),  # a Parquet column has one type, Any has several
}


# -- what MLflow says ------------------------------------------------------------------------------------------------


def own_answer(case: ZooModel, folder: Path) -> Any:
    """MLflow's own answer to the sample."""
    sample = case.sample()
    return plain(case.native(folder, sample) if case.native else load_model(str(folder)).predict(sample))


def plain(result: Any) -> Any:
    """What MLflow's own server would write for a result, as values; a Series as a plain list."""
    if isinstance(result, pd.Series):
        result = result.to_numpy()
    out = StringIO()
    predictions_to_json(result, out)
    return json.loads(out.getvalue())["predictions"]


# -- comparing ------------------------------------------------------------------------------------------------------


class Tensors(dict[str, list[Any]]):
    """Flat named outputs, as V2 has them."""


def assert_same(got: Any, expected: Any, where: str) -> None:
    """Equal to the last bit."""
    if not isinstance(got, Tensors):
        assert cell(unframed(got)) == cell(unframed(expected)), where
        return
    named = isinstance(expected, dict) or is_table(expected)
    if not named or "probabilities" not in by_column(expected):
        got = Tensors({name: values for name, values in got.items() if name != "probabilities"})
    if is_table(expected) and len(got) > 1:
        expected = by_column(expected)
    assert leaves([parsed(item) for values in got.values() for item in values]) == leaves(expected), where


def is_table(expected: Any) -> bool:
    return isinstance(expected, list) and bool(expected) and all(isinstance(row, dict) for row in expected)


def by_column(expected: Any) -> Any:
    """Records as columns, which is how tensors hold them."""
    return {name: [row[name] for row in expected] for name in expected[0]} if is_table(expected) else expected


def unframed(value: Any) -> Any:
    """MLflow writes a Series as records with one key."""
    if is_table(value) and all(len(row) == 1 for row in value) and len({*map(tuple, value)}) == 1:
        return [next(iter(row.values())) for row in value]
    return value


def parsed(item: Any) -> Any:
    return json.loads(item) if isinstance(item, str) and item[:1] in "[{" else item


def leaves(value: Any) -> list[Any]:
    """All values in order, whatever they are nested in."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [cell(value)]


# -- the page -------------------------------------------------------------------------------------------------------


def matrix() -> str:
    """The parity matrix as a page: every model of the zoo, every way it was sent in."""
    head = "| model | flavor | " + " | ".join(WAYS) + " |"
    lines = [
        "# Parity with MLflow",
        "",
        "Every model below is saved with MLflow, served, and asked with the same rows in each way that can carry them.",
        "A ✓ means: the answer holds exactly the numbers of `mlflow.pyfunc.load_model(…).predict(…)`. A – means that",
        "the form cannot carry this kind of input (a tensor has no column names, CSV has no nested values).",
        "The page is written by the test that checks it (`tests/predictors/test_parity.py`).",
        "",
        head,
        "|---|---|" + ":-:|" * len(WAYS),
    ]
    for case in CASES:
        ways = ways_of(case)
        marks = " | ".join("✓" if way in ways else "–" for way in WAYS)
        lines.append(f"| {case.id} | {case.flavor} | {marks} |")
    return "\n".join(lines) + "\n"
