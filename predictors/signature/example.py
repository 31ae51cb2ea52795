"""The model's input example, and sample requests made from it for every protocol."""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np

from predictors.flavor import MLmodel
from predictors.protocol import invocations, jsontext
from predictors.protocol.batch import Batch
from predictors.protocol.errors import RequestError
from predictors.protocol.ignored import Ignored
from predictors.protocol.results import jsonable
from predictors.signature.fields import Field
from predictors.signature.plan import SignaturePlan, columns_of_records, is_records

log = logging.getLogger("predictors")

SAMPLE_ROWS = 2
MAX_PLACEHOLDER = 2**22  # numbers in a placeholder: a signature may declare a tensor of any size
PLACEHOLDERS: dict[str, Any] = {
    "boolean": False,
    "integer": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "string": "text",
    "binary": base64.b64encode(b"bytes").decode(),
    "datetime": "2024-01-01T00:00:00",
}


def read_example(mlmodel: MLmodel) -> Batch | None:
    """The example that was logged with the model, as a request; None if there is none, or none that can be read."""
    info = mlmodel.content.get("saved_input_example_info") or {}
    try:
        if info.get("serving_input_path"):
            return invocations.decode_json((mlmodel.path / info["serving_input_path"]).read_bytes(), Ignored())
        if info.get("artifact_path"):
            return read_mlflow2_example(json.loads((mlmodel.path / info["artifact_path"]).read_bytes()), info)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, RequestError) as error:
        log.warning("the model's input example cannot be read: %s", error)
    return None


def read_mlflow2_example(content: Any, info: Mapping[str, Any]) -> Batch | None:
    """An example in the form that MLflow 2 wrote before it saved a whole request."""
    if info.get("type") == "dataframe":
        return invocations.decode_json(jsontext.dump({"dataframe_split": content}))
    if info.get("type") == "ndarray":
        tensor = content["inputs"] if isinstance(content, dict) and "inputs" in content else content
        return invocations.decode_json(jsontext.dump({"inputs": tensor}))
    return None


def placeholder(plan: SignaturePlan) -> Batch | None:
    """A request with one row of harmless values, for models that were logged without an example."""
    if plan.from_type_hints:
        return None
    if plan.tensors:
        if sum(math.prod(map(abs, field.shape)) for field in plan.inputs) > MAX_PLACEHOLDER:
            return None
        columns = {field.name: zeros(field) for field in plan.inputs}
        return Batch(columns=columns) if plan.named else Batch(rows=columns[""])
    if plan.inputs:
        values = [placeholder_of(field.spec) for field in plan.inputs]
        if not plan.named:
            return Batch(rows=[values])
        return Batch(columns={field.name: [value] for field, value in zip(plan.inputs, values, strict=True)})
    if plan.names:
        return Batch(columns={name: [0.0] for name in plan.names})
    return Batch(rows=[[0.0] * plan.width]) if plan.width else None


def zeros(field: Field) -> Any:
    shape = tuple(1 if size == -1 else size for size in field.shape)
    return np.full(shape, "text" if field.dtype.kind in "OUS" else 0, dtype=field.dtype).tolist()


def placeholder_of(spec: Mapping[str, Any]) -> Any:
    kind = spec.get("type", "any")
    if kind == "array":
        return [placeholder_of(spec["items"])]
    if kind == "object":
        return {name: placeholder_of(value) for name, value in spec["properties"].items()}
    if kind == "map":
        return {"key": placeholder_of(spec["values"])}
    return PLACEHOLDERS.get(kind, "text")


def samples(plan: SignaturePlan, batch: Batch | None, model_name: str) -> dict[str, Any]:
    """A valid request for each protocol, as path and body; empty if the model's inputs are not known."""
    if batch is None:
        return {}
    v1, tensors = v1_sample(batch), v2_sample(plan, batch)
    requests: dict[str, Any] = {
        "v1": {"path": f"/v1/models/{model_name}:predict", "body": v1},
        "invocations": {"path": "/invocations", "body": invocations_sample(batch, v1)},
    }
    if tensors:
        body = {"inputs": tensors}
        requests["v2"] = {"path": f"/v2/models/{model_name}/infer", "body": body}
        requests["grpc"] = {
            "method": "inference.GRPCInferenceService/ModelInfer",
            "body": {"model_name": model_name, **grpc_sample(tensors)},
        }
    return requests


def first_rows(batch: Batch) -> Batch:
    if batch.columns is not None:
        columns = {name: plain(values)[:SAMPLE_ROWS] for name, values in batch.columns.items()}
        return Batch(columns=columns, frame=batch.frame)
    rows = plain(batch.rows)
    return Batch(rows=rows[:SAMPLE_ROWS] if isinstance(rows, list) else rows, frame=batch.frame, bare=batch.bare)


def plain(values: Any) -> Any:
    json_values = jsonable(values)
    return json_values.tolist() if isinstance(json_values, np.ndarray) else json_values


def v1_sample(batch: Batch) -> dict[str, Any]:
    rows = first_rows(batch)
    if rows.columns is None:
        return {"instances": rows.rows}
    names = list(rows.columns)
    return {"instances": [dict(zip(names, row, strict=True)) for row in zip(*rows.columns.values(), strict=True)]}


def invocations_sample(batch: Batch, v1: dict[str, Any]) -> dict[str, Any]:
    if batch.bare:
        return dict(islice(batch.rows[0].items(), 100))
    if batch.columns is None and not is_records(batch.rows):
        return {"inputs": v1["instances"]}
    return {"dataframe_records": v1["instances"]}


def v2_sample(plan: SignaturePlan, batch: Batch) -> list[dict[str, Any]]:
    """The rows as V2 tensors; empty if the model's inputs do not fit into tensors."""
    rows = first_rows(batch)
    if plan.from_type_hints and is_records(rows.rows):
        return []
    columns = columns_of_records(rows.rows) if is_records(rows.rows) else rows.columns
    if columns is not None:
        kinds = {field.name: field for field in plan.inputs}
        return [v2_tensor(name, list(values), kinds.get(name)) for name, values in columns.items()]
    if plan.inputs and not plan.tensors:
        by_position = plan.columns_of_rows(rows.rows)
        return [
            v2_tensor(str(key), list(by_position[key]), field)
            for key, field in zip(plan.keys, plan.inputs, strict=True)
        ]
    only = plan.inputs[0] if plan.inputs else None
    return [v2_tensor(only.name if only and only.name else "input-0", rows.rows, only)]


def v2_tensor(name: str, values: list[Any], field: Field | None) -> dict[str, Any]:
    datatype = field.datatype if field else guess_datatype(values)
    if field is not None and field.type not in ("tensor", "string", "datetime") and datatype == "BYTES":
        values = [value if isinstance(value, str) and field.type == "binary" else json.dumps(value) for value in values]
    return {"name": name, "shape": shape_of(values), "datatype": datatype, "data": flatten(values)}


def guess_datatype(values: Any) -> str:
    kinds = {type(value) for value in flatten(values)}
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64"
    return "FP64" if kinds <= {int, float, type(None)} else "BYTES"


def shape_of(values: Any) -> list[int]:
    shape = []
    while isinstance(values, list):
        shape.append(len(values))
        values = values[0] if values else None
    return shape


def flatten(values: Any) -> list[Any]:
    return [leaf for value in values for leaf in flatten(value)] if isinstance(values, list) else [values]


CONTENTS = {"BOOL": "bool_contents", "INT32": "int_contents", "INT64": "int64_contents", "FP32": "fp32_contents",
            "FP64": "fp64_contents", "BYTES": "bytes_contents"}  # fmt: skip


def grpc_sample(tensors: list[dict[str, Any]]) -> dict[str, Any]:
    """The same tensors for grpcurl: the JSON of protobuf, with bytes as base64."""
    inputs = []
    for tensor in tensors:
        data = tensor["data"]
        if tensor["datatype"] == "BYTES":
            data = [base64.b64encode(str(item).encode()).decode() for item in data]
        head = {key: tensor[key] for key in ("name", "shape", "datatype")}
        contents = CONTENTS.get(tensor["datatype"], "raw_input_contents")
        inputs.append({**head, "contents": {contents: data}})
    return {"inputs": inputs}
