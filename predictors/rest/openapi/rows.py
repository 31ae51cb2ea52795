"""Schemas of rows and columns: what V1 and `/invocations` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from predictors.features.lookup import Description
from predictors.rest.openapi import values
from predictors.rest.openapi.values import ANYTHING, Schema, list_of, object_of, union
from predictors.signature.fields import SCALARS, Cast, Field
from predictors.signature.plan import SignaturePlan

NULL_FITS = frozenset({"float", "double", "string", "binary", "datetime", "any"})
SCALAR: Schema = {"anyOf": [{"type": "number", "nullable": True}, {"type": "boolean"}, {"type": "string"}]}
UNTYPED: Schema = {"anyOf": [*SCALAR["anyOf"], {"type": "object"}]}
"""A value for a model that does not say what it takes: a list would be another axis."""


@dataclass(frozen=True)
class RowSchemas:
    """The forms in which a protocol takes rows of a model.

    `cast`: how far the protocol casts values; then it also ignores what the model does not take. `b64`: bytes may be
    objects.
    """

    plan: SignaturePlan
    features: Description | None = None
    cast: Cast = Cast.NONE
    b64: bool = False
    single: bool = False
    """Whether one value stands for a list of one, or for all rows."""

    @property
    def lenient(self) -> bool:
        return self.cast is not Cast.NONE

    @property
    def free(self) -> bool:
        """Whether nothing is known of what the model takes."""
        return self.plan.from_type_hints or (not self.plan.inputs and self.plan.width is None)

    @property
    def fields(self) -> Sequence[Field]:
        """The inputs, under their numbers if they have no names."""
        if self.plan.named or self.plan.tensors:
            return self.plan.inputs
        return [replace(one, name=str(i), required=True) for i, one in enumerate(self.plan.inputs)]

    # -- lists of rows --------------------------------------------------------------------------------------------

    def lists(self) -> list[Schema]:
        """The alternatives for a list of rows."""
        if self.features is not None:
            return [list_of(self.entity_record(self.features)), *self.unnamed_rows()]
        if self.free:
            return [list_of(ANYTHING)]
        return [*self.records(), *self.unnamed_rows()]

    def unnamed_rows(self) -> list[Schema]:
        """Lists of values in the order of the signature; for a single column also the values alone."""
        inputs = self.plan.inputs
        if self.plan.tensors:
            return self.rows_of(inputs[0]) if len(inputs) == 1 else []
        width = len(inputs) or self.plan.width or 0
        cell = union([self.row_of(field) for field in inputs]) if inputs else UNTYPED
        return [list_of(list_of(cell, width, width)), *([list_of(cell)] if width == 1 else [])]

    def records(self) -> list[Schema]:
        """Lists of records. MLflow takes several also if some lack a value where null would do."""
        if not self.plan.inputs:
            return [list_of(self.untyped_record())]
        if self.plan.tensors and not self.plan.named:  # a table has a column for each value of a row
            return [list_of({"type": "object", "minProperties": 1})] if self.cast is Cast.TABLE else []
        rows = [list_of(self.record())]
        if self.cast is Cast.TABLE:
            needed = [one.name for one in self.fields if one.required and one.type not in NULL_FITS]
            rows.append(list_of(self.record(needed), 2))
        return rows

    def record(self, required: list[str] | None = None) -> Schema:
        if self.cast is Cast.TABLE and not self.plan.named:  # the columns of a table have an order
            return {"type": "object", "minProperties": len(self.plan.inputs)}
        needed = [one.name for one in self.fields if one.required] if required is None else required
        return object_of({one.name: self.row_of(one) for one in self.fields}, needed, more=self.lenient)

    def untyped_record(self) -> Schema:
        names = self.plan.names
        return {**object_of(dict.fromkeys(names, ANYTHING), [], more=not names), "minProperties": 1}

    def entity_record(self, features: Description) -> Schema:
        """A record, in which the columns that can be looked up are optional."""
        known = {name: {"description": f"finds features ({kind})"} for name, kind in features.entities.items()}
        named = [one for one in self.plan.inputs if one.name]
        required = [one.name for one in named if one.required and one.name not in features.columns]
        return object_of(known | {one.name: self.row_of(one) for one in named}, required, more=True)

    # -- columns --------------------------------------------------------------------------------------------------

    def columns(self) -> Schema:
        """An object with a list for each column."""
        anything = union([list_of(ANYTHING), *([UNTYPED] if self.single else [])])
        if self.features is not None or self.free:
            columns = object_of({}, [], more=anything)
        elif not self.plan.inputs:
            names = list(self.plan.names)
            columns = object_of(dict.fromkeys(names, anything), names, more=False if names else anything)
        elif self.plan.tensors and not self.plan.named:
            columns = {**object_of({}, [], more=self.column_of(self.plan.inputs[0])), "maxProperties": 1}
        else:
            required = [one.name for one in self.fields if one.required]
            known = {one.name: self.column_of(one) for one in self.fields}
            columns = object_of(known, required, more=anything if self.lenient else False)
        return {**columns, "minProperties": 1}

    def column_of(self, field: Field) -> Schema:
        return union([*self.rows_of(field), *([self.row_of(field)] if self.single and field.type in SCALARS else [])])

    # -- inputs ---------------------------------------------------------------------------------------------------

    def row_of(self, field: Field) -> Schema:
        """One row of an input: a value of a column, or a tensor without its first axis."""
        if field.type != "tensor":
            return values.column(field, self.cast, b64=self.b64)
        cell = values.tensor_cell(field.dtype, self.cast)
        row = values.nested(cell, field.shape[1:])
        if self.cast is not Cast.TABLE or len(field.shape) < 3:
            return row
        size = prod(field.shape[1:])
        return union([row, list_of(cell, size, size) if size > 0 else list_of(cell)])

    def rows_of(self, field: Field) -> list[Schema]:
        """All rows of an input; scalars will do for one column."""
        size = field.shape[0] if field.type == "tensor" else -1
        limits = (1, None) if size == -1 else (size, size)
        rows = [list_of(self.row_of(field), *limits)]
        if field.type == "tensor" and field.shape[1:] == (1,):
            rows.append(list_of(values.tensor_cell(field.dtype, self.cast), *limits))
        return rows
