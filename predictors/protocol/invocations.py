"""MLflow's scoring protocol: the requests and replies of `mlflow models serve` at `/invocations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from predictors.protocol import jsontext, results, v1
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.casting import json_type
from predictors.protocol.csv_table import decode_csv
from predictors.protocol.errors import InvalidInput, RequestError, UnsupportedMediaType
from predictors.protocol.ignored import KEY, Ignored
from predictors.protocol.options import Options, read_options
from predictors.protocol.packed_rows import PackedRows, is_list
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
BARE_KEYS = ("messages", "prompt", "input")
MAX_REPEATED = 2**22  # values that stand for more than one row


def decode_file(body: bytes, content_type: str, columns: TableColumns = ANY) -> Batch:
    """A request in a file, which is read as far as its columns are those of the model."""
    if content_type == "text/csv":
        return decode_csv(body, columns)
    if content_type == PARQUET:
        return decode_parquet(body, columns)
    raise UnsupportedMediaType(f"unsupported content type; expected one of {', '.join(CONTENT_TYPES)}")


def decode_json(body: bytes, ignored: Ignored | None = None) -> Batch:
    """A request in JSON. What no model takes is noted in `ignored`, or refused if that is None."""
    payload = jsontext.parse_packed(body, holds_rows, nonfinite=ignored is not None)
    batch = batch_of(payload, ignored)
    batch.literals = jsontext.may_hold_literals(body)
    batch.ignored = ignored
    return batch


def holds_rows(payload: dict[str, Any], parent: dict[str, Any], key: str) -> bool:
    """Whether a list is the rows of a request, or a column."""
    if parent is payload:
        return key in FORMS
    return parent is payload.get("inputs") or (parent is payload.get("dataframe_split") and key == "data")


def batch_of(payload: dict[str, Any], ignored: Ignored | None) -> Batch:
    forms = [form for form in FORMS if form in payload]
    if not forms and any(key in payload for key in BARE_KEYS):
        return Batch(rows=[payload], bare=True, has_params=True)
    if len(forms) != 1:
        actual = " and ".join(f"'{form}'" for form in forms) or "none of them"
        raise InvalidInput(f"the request must have exactly one of {', '.join(FORMS)}; got {actual}")
    form = forms[0]
    if len(payload) > 1 + ("params" in payload):
        unknown = [key for key in payload if key not in (form, "params")]
        if ignored is None:
            raise InvalidInput(f"unknown key '{unknown[0]}'; expected '{form}' and 'params'")
        ignored[KEY] = unknown
    params = payload.get("params")
    batch = batch_of_form(form, payload[form], read_options(params, "params"))
    batch.has_params = params is not None
    return batch


def batch_of_form(form: str, data: Any, options: Options) -> Batch:
    if form == "dataframe_split":
        return decode_split(data, v1.batch_of(options))
    if form == "dataframe_records":
        if not is_list(data) or not data or not are_records(data):
            raise InvalidInput("'dataframe_records' must be a list of at least one record (an object each)")
        batch = v1.batch_of(options, rows=data)
        batch.frame = True
        return batch
    batch = v1.decode_columns(with_lists(data), options, form)
    batch.source = form, data
    return batch


def are_records(rows: Any) -> bool:
    return rows.names is not None if isinstance(rows, PackedRows) else all(isinstance(record, dict) for record in rows)


def with_lists(inputs: Any) -> Any:
    """Scalars as lists: MLflow accepts a row as an object of scalars, a value as a row, and a scalar for all rows."""
    if not isinstance(inputs, dict):
        return inputs if is_list(inputs) else [inputs]
    scalars = sum(not is_list(value) for value in inputs.values())
    rows = max((len(value) for value in inputs.values() if is_list(value)), default=1) if scalars else 1
    if rows * scalars > MAX_REPEATED:
        raise InvalidInput(f"{scalars} inputs have one value for {rows} rows: expected a list with a value per row")
    return {name: value if is_list(value) else [value] * rows for name, value in inputs.items()}


def decode_split(data: Any, batch: Batch) -> Batch:
    if not isinstance(data, dict) or not is_list(data.get("data")):
        raise InvalidInput("'dataframe_split' must be an object with 'columns' and 'data' (and optionally 'index')")
    unknown = [key for key in data if key not in ("columns", "data", "index")]
    if unknown:
        raise InvalidInput(f"'dataframe_split': unknown key '{unknown[0]}'; expected columns, data, index")
    rows, names, index = data["data"], data.get("columns"), data.get("index")
    if not rows:
        raise InvalidInput("'dataframe_split.data' is empty: expected at least one row")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        actual = f"{len(index)} labels" if isinstance(index, list) else json_type(index)
        raise InvalidInput(f"'dataframe_split.index': expected a list of {len(rows)}, one for each row, got {actual}")
    batch.frame = True
    if names is None:
        batch.rows = rows
        return batch
    if not isinstance(names, list) or len({str(name) for name in names}) != len(names):
        raise InvalidInput("'dataframe_split.columns' must be a list of different names")
    if isinstance(rows, PackedRows):
        if rows.names is None and rows.width == len(names):
            batch.columns = {str(name): rows.column(i) for i, name in enumerate(names)}  # type: ignore[misc]
            return batch
        rows = rows.tolist()
    if len(names) == 1 and not any(isinstance(row, list) for row in rows):
        batch.columns = {str(names[0]): rows}
        return batch
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            actual = f"{len(row)} values" if isinstance(row, list) else json_type(row)
            raise InvalidInput(f"'dataframe_split.data', row {number}: expected {len(names)} values, got {actual}")
    batch.columns = {str(name): [row[i] for row in rows] for i, name in enumerate(names)}
    return batch


def encode(prediction: Prediction, *, bare: bool = False, strict: bool = False) -> bytes:
    result = prediction.result
    if results.is_series(result):
        result = result.to_frame()
    plain = results.jsonable(result)
    return jsontext.dump(plain if bare else {"predictions": plain}, strict=strict)


def encode_error(error: RequestError) -> bytes:
    code = error.mlflow_code or ERROR_CODES.get(error.status, "INTERNAL_ERROR")
    reply: Mapping[str, str] = {"error_code": code, "message": str(error)}
    return jsontext.dump(reply)
