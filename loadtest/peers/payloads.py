"""Payloads with the same rows for each protocol, and parsers of the labels in the responses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.peers.models import COLUMNS
from loadtest.peers.networks import thousandths

Rows = npt.NDArray[np.float64]
JSON = "application/json"
_BINARY_HEADER = "inference-header-content-length"
MODEL = "m"

V1_PATH = f"/v1/models/{MODEL}:predict"
V2_PATH = f"/v2/models/{MODEL}/infer"
INVOCATIONS_PATH = "/invocations"


@dataclass(frozen=True, slots=True)
class PeerPayload:
    """One POST request of a burst."""

    path: str
    body: bytes
    read: Callable[[bytes, Mapping[str, str]], list[int]]
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON})


def v1(rows: Rows) -> PeerPayload:
    return PeerPayload(V1_PATH, _dump({"instances": rows.tolist()}), _predictions)


def v1_numbers(rows: Rows) -> PeerPayload:
    return PeerPayload(V1_PATH, _dump({"instances": rows.tolist()}), _numbers)


def invocations_numbers(rows: Rows) -> PeerPayload:
    return PeerPayload(INVOCATIONS_PATH, _dump({"inputs": rows.tolist()}), _numbers)


def v1_scored_texts(table: Any) -> PeerPayload:
    return PeerPayload(V1_PATH, _dump({"instances": table["text"].tolist()}), _scores)


def v1_scored_table(table: Any) -> PeerPayload:
    return PeerPayload(V1_PATH, v1_table(table).body, _scores)


def invocations_scored_table(table: Any) -> PeerPayload:
    return PeerPayload(INVOCATIONS_PATH, invocations_table(table).body, _scores)


def v1_records(rows: Rows) -> PeerPayload:
    return PeerPayload(V1_PATH, _dump({"instances": _records(rows)}), _predictions)


def invocations_inputs(rows: Rows) -> PeerPayload:
    return PeerPayload(INVOCATIONS_PATH, _dump({"inputs": rows.tolist()}), _predictions)


def invocations_records(rows: Rows) -> PeerPayload:
    return PeerPayload(INVOCATIONS_PATH, _dump({"dataframe_records": _records(rows)}), _predictions)


def invocations_split(rows: Rows) -> PeerPayload:
    split = {"columns": COLUMNS, "data": rows.tolist()}
    return PeerPayload(INVOCATIONS_PATH, _dump({"dataframe_split": split}), _predictions)


def v1_table(table: Any) -> PeerPayload:
    return PeerPayload(V1_PATH, _dump({"instances": [dict(zip(table, row, strict=True)) for row in _cells(table)]}),
                       _predictions)  # fmt: skip


def v1_table_as_doubles(table: Any) -> PeerPayload:
    return v1_table(table.astype(np.float64))


def invocations_table(table: Any) -> PeerPayload:
    split = {"columns": [*table], "data": _cells(table)}
    return PeerPayload(INVOCATIONS_PATH, _dump({"dataframe_split": split}), _predictions)


def v1_texts(table: Any) -> PeerPayload:
    return PeerPayload(V1_PATH, _dump({"instances": table["text"].tolist()}), _predictions)


def invocations_texts(table: Any) -> PeerPayload:
    return PeerPayload(INVOCATIONS_PATH, _dump({"inputs": table["text"].tolist()}), _predictions)


def v2(rows: Rows) -> PeerPayload:
    return PeerPayload(V2_PATH, _dump({"inputs": [_tensor(rows)]}), _v2_json)


def v2_columns(rows: Rows, content_type: str | None = None) -> PeerPayload:
    """One input per column; MLServer makes a DataFrame of them if the request says `pd`."""
    inputs = [
        {"name": name, "shape": [len(rows)], "datatype": "FP64", "data": rows[:, place].tolist()}
        for place, name in enumerate(COLUMNS)
    ]
    request: dict[str, Any] = {"inputs": inputs}
    if content_type:
        request["parameters"] = {"content_type": content_type}
    return PeerPayload(V2_PATH, _dump(request), _v2_json)


def v2_binary(rows: Rows) -> PeerPayload:
    """Raw little-endian values behind a JSON header, also requested for the response."""
    raw = rows.astype("<f8").tobytes()
    tensor = {"name": "input-0", "shape": list(rows.shape), "datatype": "FP64"}
    header = _dump(
        {
            "inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}],
            "parameters": {"binary_data_output": True},
        }
    )
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return PeerPayload(V2_PATH, header + raw, _v2_binary, headers)


def grpc_request(rows: Rows) -> bytes:
    """A serialized ModelInferRequest with typed contents."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=MODEL, id="bench")
    tensor = request.inputs.add(name="input-0", datatype="FP64", shape=list(rows.shape))
    tensor.contents.fp64_contents.extend(rows.ravel().tolist())
    return bytes(request.SerializeToString())


def grpc_labels(reply: bytes) -> list[int]:
    from tritonclient.grpc import service_pb2

    response = service_pb2.ModelInferResponse.FromString(reply)
    output = response.outputs[0]
    if response.raw_output_contents:
        return _integers(response.raw_output_contents[0], output.datatype)
    contents = output.contents
    return [int(value) for value in (*contents.int64_contents, *contents.int_contents)]


def _tensor(rows: Rows) -> dict[str, Any]:
    return {"name": "input-0", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}


def _records(rows: Rows) -> list[dict[str, float]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows.tolist()]


def _cells(table: Any) -> list[list[Any]]:
    """The rows of a table as JSON has them."""
    plain = table.assign(**{name: table[name].dt.strftime("%Y-%m-%d") for name in table.select_dtypes("datetime")})
    return [[None if cell != cell else cell for cell in row] for row in plain.astype(object).to_numpy().tolist()]


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _predictions(body: bytes, _headers: Mapping[str, str]) -> list[int]:
    return [int(label) for label in json.loads(body)["predictions"]]


def _numbers(body: bytes, _headers: Mapping[str, str]) -> list[int]:
    outputs = json.loads(body)["predictions"]
    return thousandths([*outputs.values()] if isinstance(outputs, dict) else outputs)


def _scores(body: bytes, _headers: Mapping[str, str]) -> list[int]:
    return thousandths([answer["score"] for answer in json.loads(body)["predictions"]])


def _v2_json(body: bytes, _headers: Mapping[str, str]) -> list[int]:
    return [int(label) for label in np.ravel(json.loads(body)["outputs"][0]["data"])]


def _v2_binary(body: bytes, headers: Mapping[str, str]) -> list[int]:
    if _BINARY_HEADER not in headers:
        raise ValueError("expected a binary response, got another one")
    length = int(headers[_BINARY_HEADER])
    output = json.loads(body[:length])["outputs"][0]
    return _integers(body[length:], output["datatype"], math.prod(output["shape"]))


def _integers(raw: bytes, datatype: str, count: int = -1) -> list[int]:
    dtype = {"INT64": "<i8", "INT32": "<i4", "UINT8": "u1", "INT8": "i1", "FP64": "<f8"}[datatype]
    return [int(value) for value in np.frombuffer(raw, dtype, count=count)]
