"""Schemas of request bodies: V1 and MLflow's protocol."""

from __future__ import annotations

from predictors.features.lookup import Description
from predictors.model.loaded import Loaded
from predictors.protocol.invocations import BARE_KEYS, FORMS
from predictors.rest.openapi import values
from predictors.rest.openapi.rows import SCALAR, UNTYPED, RowSchemas
from predictors.rest.openapi.values import ANYTHING, Schema, list_of, object_of, union
from predictors.signature.fields import SCALARS, Cast


def parameters(loaded: Loaded, more: Schema | bool = False) -> Schema:
    """The server's own parameters and the model's; `more`: what else may be there."""
    known: Schema = {
        "method": {
            "type": "string",
            "enum": [*loaded.methods, None],
            "default": loaded.native.default,
            "nullable": True,
        },
        "probabilities": {
            "type": "boolean",
            "nullable": True,
            "description": "whether a classifier adds its probabilities",
        },
    }
    known |= {one.name: values.param(one) for one in loaded.plan.params}
    return {**object_of(known, [], more=more), "nullable": True}


def v1_request(loaded: Loaded, features: Description | None) -> Schema:
    return union([v1_instances(loaded, features), v1_inputs(loaded, features)])


def v1_instances(loaded: Loaded, features: Description | None) -> Schema:
    """The usual form of a V1 request: rows or records."""
    rows = union(RowSchemas(loaded.plan, features, b64=True).lists())
    return object_of({"instances": rows, **v1_options(loaded)}, ["instances"])


def v1_inputs(loaded: Loaded, features: Description | None) -> Schema:
    """The other one: columns, or again rows."""
    rows = RowSchemas(loaded.plan, features, b64=True)
    return object_of({"inputs": union([rows.columns(), *rows.lists()]), **v1_options(loaded)}, ["inputs"])


def v1_options(loaded: Loaded) -> Schema:
    return {"parameters": parameters(loaded), "signature_name": ANYTHING}


def invocations_request(loaded: Loaded, features: Description | None, *, strict: bool) -> Schema:
    """The forms of `mlflow models serve`. Unless the server is `strict`, it casts values as MLflow does, and ignores
    what the model does not take."""
    table = RowSchemas(loaded.plan, features, Cast.NONE if strict else Cast.TABLE)
    tensor = RowSchemas(loaded.plan, features, Cast.NONE if strict else Cast.VALUES, single=True)
    params = parameters(loaded, more=not strict)
    rows = union([tensor.columns(), *tensor.lists(), *single_values(tensor)])
    records = [{"type": "array", "minItems": 1, "items": {"type": "object"}}] if table.free else table.records()
    forms: Schema = {
        "dataframe_split": split(table),
        "dataframe_records": union(records),
        "instances": rows,
        "inputs": rows,
    }
    bodies = [only(form, forms[form], params, strict=strict) for form in FORMS]
    return union([*bodies, *bare_bodies(table)])


def only(form: str, value: Schema, params: Schema, *, strict: bool) -> Schema:
    body = object_of({form: value, "params": params}, [form], more=not strict)
    if not strict:  # other keys are ignored, but one form is that of the request
        body["not"] = {"anyOf": [{"required": [other]} for other in FORMS if other != form]}
    return body


def split(table: RowSchemas) -> Schema:
    """A table: what its rows hold depends on the names of its columns, and without these on their order. A single
    column may have its values without lists."""
    columns = sum(field.required for field in table.plan.inputs) or table.plan.width or 1
    row: Schema = {"type": "array", "items": ANYTHING}
    index = {"type": "array", "items": ANYTHING, "nullable": True}
    names = {"type": "array", "items": ANYTHING, "minItems": 1, "uniqueItems": True}
    named = {"columns": names, "index": index, "data": list_of(row if columns > 1 else union([row, UNTYPED]))}
    rows = [list_of(ANYTHING)] if table.free else table.unnamed_rows()
    unnamed = {"columns": {"type": "array", "enum": [None], "nullable": True}, "index": index, "data": union(rows)}
    return union([object_of(named, ["columns", "data"]), *([object_of(unnamed, ["data"])] if rows else [])])


def bare_bodies(table: RowSchemas) -> list[Schema]:
    """The body is the model's input itself, as of a chat, with its params beside it."""
    not_a_form = {"not": {"anyOf": [{"required": [form]} for form in FORMS]}}
    if table.free and not table.plan.inputs:
        return [{"type": "object", **not_a_form, "anyOf": [{"required": [key]} for key in BARE_KEYS]}]
    if not any(field.name in BARE_KEYS for field in table.plan.inputs):
        return []
    body = table.record()
    body["properties"] |= {one.name: values.param(one) for one in table.plan.params}
    return [{**body, **not_a_form}]


def single_values(rows: RowSchemas) -> list[Schema]:
    """What MLflow's server takes as a list of one."""
    plan = rows.plan
    if rows.free:
        return [SCALAR]
    inputs = plan.inputs
    if plan.tensors:
        scalars = len(inputs) == 1 and inputs[0].shape[1:] in ((), (1,)) and inputs[0].shape[0] in (-1, 1)
        return [values.tensor_cell(inputs[0].dtype, rows.cast)] if scalars else []
    if len(inputs) == 1:
        return [rows.row_of(inputs[0])] if inputs[0].type in SCALARS else []
    return [SCALAR] if plan.width == 1 and not inputs else []
