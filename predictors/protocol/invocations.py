"""MLflow's scoring protocol: the requests and replies of `mlflow models serve` at `/invocations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from predictors.protocol import jsontext, results, v1
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.casting import json_type
from predictors.protocol.csv_table import decode_csv
from predictors.protocol.errors import InvalidInput, UnsupportedMediaType
from predictors.protocol.options import read_options
from predictors.protocol.parquet_table import decode_parquet
from predictors.protocol.tables import ANY, TableColumns

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
PARQUET = "application/vnd.apache.parquet"
CONTENT_TYPES = ("application/json", "text/csv", PARQUET)
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST",
    413: "REQUEST_LIMIT_EXCEEDED",
    415: "BAD_REQUEST",
    424: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
CHAT_KEYS = ("messages", "input")


def decode(body: bytes, content_type: str, columns: TableColumns = ANY) -> Batch:
    """A request; `columns` are those of the model, if it is a table."""
    if content_type == "application/json":
        batch = decode_json(body)
        batch.literals = jsontext.may_hold_literals(body)
        return batch
    if content_type == "text/csv":
        return decode_csv(body, columns)
    if content_type == PARQUET:
        return decode_parquet(body)
    raise UnsupportedMediaType(f"unsupported content type; expected one of {', '.join(CONTENT_TYPES)}")


def decode_json(body: bytes) -> Batch:
    payload = jsontext.parse_object(body)
    forms = [form for form in FORMS if form in payload]
    if not forms and any(key in payload for key in CHAT_KEYS):
        return Batch(rows=[payload], bare=True)
    if len(forms) != 1:
        actual = " and ".join(f"'{form}'" for form in forms) or "none of them"
        raise InvalidInput(f"the request must have exactly one of {', '.join(FORMS)}; got {actual}")
    unknown = [key for key in payload if key not in (forms[0], "params")]
    if unknown:
        raise InvalidInput(f"unknown key '{unknown[0]}'; expected '{forms[0]}' and 'params'")
    options = read_options(payload.get("params"), "params")
    data = payload[forms[0]]
    if forms[0] == "dataframe_split":
        return decode_split(data, v1.batch_of(options))
    if forms[0] == "dataframe_records":
        if not isinstance(data, list) or not data or not all(isinstance(record, dict) for record in data):
            raise InvalidInput("'dataframe_records' must be a list of at least one record (an object each)")
        batch = v1.batch_of(options, rows=data)
        batch.frame = True
        return batch
    if forms[0] == "inputs":
        return v1.decode_columns(with_lists(data), options)
    return v1.decode_object({"instances": data, "parameters": payload.get("params")})


def with_lists(inputs: Any) -> Any:
    """Scalars as lists of one: MLflow accepts a single row as an object of scalars, and a single value as a row."""
    if isinstance(inputs, dict):
        return {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}
    return inputs if isinstance(inputs, list) else [inputs]


def decode_split(data: Any, batch: Batch) -> Batch:
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        raise InvalidInput("'dataframe_split' must be an object with 'columns' and 'data' (and optionally 'index')")
    unknown = [key for key in data if key not in ("columns", "data", "index")]
    if unknown:
        raise InvalidInput(f"'dataframe_split': unknown key '{unknown[0]}'; expected columns, data, index")
    rows, names = data["data"], data.get("columns")
    if not rows:
        raise InvalidInput("'dataframe_split.data' is empty: expected at least one row")
    batch.frame = True
    if names is None:
        batch.rows = rows
        return batch
    if not isinstance(names, list) or len({str(name) for name in names}) != len(names):
        raise InvalidInput("'dataframe_split.columns' must be a list of different names")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            actual = f"{len(row)} values" if isinstance(row, list) else json_type(row)
            raise InvalidInput(f"'dataframe_split.data', row {index}: expected {len(names)} values, got {actual}")
    batch.columns = {str(name): list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    return batch


def encode(prediction: Prediction, *, bare: bool = False, strict: bool = False) -> bytes:
    result = prediction.result
    if results.is_series(result):
        result = result.to_frame()
    plain = results.jsonable(result)
    return jsontext.dump(plain if bare else {"predictions": plain}, strict=strict)


def encode_error(status: int, message: str) -> bytes:
    reply: Mapping[str, str] = {"error_code": ERROR_CODES.get(status, "INTERNAL_ERROR"), "message": message}
    return jsontext.dump(reply)
