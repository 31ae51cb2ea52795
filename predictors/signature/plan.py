"""The MLflow signature as a compiled plan that turns a batch into the model's input.

It is compiled from the JSON in the MLmodel file, without importing a framework. `SignaturePlan.conform` is pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from predictors.flavor import MLMODEL, FlavorError, MLmodel
from predictors.protocol import casting
from predictors.protocol.batch import MISSING, Batch, Values
from predictors.protocol.errors import InvalidInput, SignatureMismatch
from predictors.protocol.ignored import COLUMN, PARAM, Ignored
from predictors.protocol.names import quoted, suggestion
from predictors.protocol.tables import is_sparse
from predictors.signature.fields import (
    SCALARS,
    Cast,
    Field,
    Param,
    check_names,
    field_of,
    nested_numbers,
    param_of,
    wanted_names,
)
from predictors.signature.frames import with_frames_opened
from predictors.signature.unsigned import input_without_signature

if TYPE_CHECKING:
    import pandas as pd

ModelInput: TypeAlias = Any  # a DataFrame, an ndarray, a dict of ndarrays, or JSON for models with type hints


@dataclass(frozen=True)
class SignaturePlan:
    """How a batch becomes the model's input. Without `inputs` its values are not converted."""

    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()
    params: tuple[Param, ...] = ()
    from_type_hints: bool = False
    width: int | None = None
    """Without a signature: the number of columns that the model itself expects."""
    names: tuple[str, ...] = ()
    """Without a signature: the column names that the model itself expects."""
    fills_missing: bool = False
    """Without a signature: whether the model takes a column that is not there for one of missing values."""

    @property
    def has_signature(self) -> bool:
        return bool(self.inputs)

    @property
    def tensors(self) -> bool:
        return bool(self.inputs) and self.inputs[0].type == "tensor"

    @property
    def named(self) -> bool:
        return bool(self.inputs) and all(field.name for field in self.inputs)

    @property
    def takes_cells(self) -> bool:
        """Whether no column holds objects, as far as the model says what its columns hold."""
        if not self.inputs:
            return self.width is not None
        return all(field.type in SCALARS for field in self.inputs)

    @property
    def copies_input(self) -> bool:
        """Whether `conform` copies the values, so that a model that writes to its input leaves the batch alone."""
        return self.has_signature and not self.from_type_hints and self.takes_cells

    def conform(self, batch: Batch) -> ModelInput:
        """The batch in exactly the shape and types of the signature; raises `InvalidInput` if it does not fit."""
        if self.from_type_hints:
            return plain_rows(batch)
        if batch.ignored is not None and not self.inputs and self.width is None:
            if batch.bare:
                return batch.rows[0]
            if batch.source is not None:
                return input_without_signature(*batch.source)
        if batch.ignored is None and type(batch.rows) is list and self.takes_cells:
            batch = replace(batch, rows=with_frames_opened(batch.rows))
        if is_records(batch.rows):
            batch = replace(batch, columns=self.columns_of_records(batch.rows, batch.ignored), rows=None)
        if not self.inputs:
            return self.conform_untyped(batch)
        if self.tensors:
            return self.conform_tensors(batch)
        return self.conform_frame(batch)

    def conform_matrix(self, rows: casting.Array) -> ModelInput:
        """A matrix of numbers, with a column for each input, as the model's input."""
        return self.conform(Batch(columns={"a matrix": rows}, tensors=True))

    def whole_matrix(self, batch: Batch, names: Sequence[str]) -> Any:
        """The single V2 tensor that holds all columns, or None."""
        if not batch.tensors or batch.columns is None or len(batch.columns) != 1:
            return None
        ((name, values),) = batch.columns.items()
        return None if name in names else values

    def columns_of_records(self, rows: list[Any], ignored: Ignored | None = None) -> dict[str, Values]:
        """Records as columns; their names are checked before any column is made."""
        return columns_of_records(rows, partial(self.select, ignored=ignored))

    # -- models without a signature ---------------------------------------------------------------------------

    def conform_untyped(self, batch: Batch) -> ModelInput:
        if batch.columns is not None:
            matrix = self.whole_matrix(batch, self.names)
            if matrix is not None:
                return self.untyped_input(plain_text(matrix))
            self.check_expected(batch.columns, fill=not batch.tensors and batch.ignored is None)
            return untyped_columns(batch.columns, self.names)
        if batch.frame:
            import pandas as pd

            return pd.DataFrame(batch.rows)
        if isinstance(batch.rows, list):
            return self.untyped_input(untyped_matrix(batch.rows))
        return batch.rows

    def check_expected(self, columns: Mapping[str, Any], *, fill: bool) -> None:
        """Refuses columns that differ from those that the model itself expects, if it has names for them.

        `fill`: some may be missing if the model has an answer then.
        """
        if self.names and set(columns) != set(self.names):
            required = () if fill and self.fills_missing and columns else self.names
            check_names(columns, self.names, required, "", "input", "inputs")

    def untyped_input(self, rows: casting.Array) -> ModelInput:
        if self.width is None:
            return rows
        if rows.ndim == 1 and self.width == 1:
            return rows.reshape(-1, 1)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            actual = f"{rows.shape[1]} columns" if rows.ndim == 2 else f"shape {list(rows.shape)}"
            raise InvalidInput(f"the model takes rows of {self.width} columns, got {actual}")
        return self.with_names(rows)

    def with_names(self, rows: casting.Array) -> ModelInput:
        """The columns under the names that the model itself expects, in its order."""
        if len(self.names) != self.width:
            return rows
        import pandas as pd

        return pd.DataFrame(rows, columns=list(self.names))

    # -- tensor signatures --------------------------------------------------------------------------------------

    def conform_tensors(self, batch: Batch) -> ModelInput:
        names = [field.name for field in self.inputs]
        first = self.inputs[0]
        cast = cast_of(batch)
        if batch.columns is None:
            if len(self.inputs) != 1:
                raise InvalidInput(f"the model takes named inputs: {quoted(names)}")
            return {first.name: first.tensor(batch.rows, cast)} if first.name else first.tensor(batch.rows, cast)
        columns = batch.columns
        if not first.name:
            if len(columns) > 1:
                self.require_order(batch)
                first.check_width(columns)  # before a wide table is copied
            return first.tensor(unnamed_tensor(columns), cast)
        if (
            len(self.inputs) == 1
            and first.name not in columns
            and (matrix := self.whole_matrix(batch, names)) is not None
        ):
            return {first.name: first.tensor(matrix)}
        self.check_columns(columns, batch.ignored)
        return {field.name: field.tensor(columns[field.name], cast) for field in self.inputs if field.name in columns}

    # -- column signatures --------------------------------------------------------------------------------------

    def conform_frame(self, batch: Batch) -> pd.DataFrame:
        import pandas as pd

        columns: Mapping[Any, Values]
        keys = self.keys
        if batch.columns is None:
            columns = self.columns_of_rows(batch.rows)
        elif (matrix := self.whole_matrix(batch, [field.name for field in self.inputs])) is not None:
            columns = self.columns_of_rows(matrix)
        elif self.named:
            wanted = self.check_columns(batch.columns, batch.ignored)
            columns = batch.columns if wanted is None else {name: batch.columns[name] for name in wanted}
        elif batch.ignored is not None and batch.frame:  # in the order and under the names of the table
            keys = [*self.select(batch.columns, batch.ignored)]
            columns = batch.columns
        else:
            columns = self.columns_by_position(batch)
        check_lengths(columns)
        cast = cast_of(batch)
        return pd.DataFrame(
            {
                key: field.column(columns[key], cast)
                for key, field in zip(keys, self.inputs, strict=True)
                if key in columns
            }
        )

    @property
    def keys(self) -> Sequence[Any]:
        """The column labels of the DataFrame: the names, or 0, 1, … if the signature has none."""
        return [field.name for field in self.inputs] if self.named else range(len(self.inputs))

    def select(self, names: Iterable[str], ignored: Ignored | None = None) -> Collection[str]:
        """Those columns of a table that the model takes; refuses the table if the names do not fit."""
        columns = dict.fromkeys(names)
        if self.named:
            wanted = self.check_columns(columns, ignored)
            return columns if wanted is None else wanted
        if self.inputs and not self.tensors:
            if ignored is not None and len(columns) > len(self.inputs):
                ignored[COLUMN] = [*columns][len(self.inputs) :]
                return [*columns][: len(self.inputs)]
            self.check_count(len(columns))
        elif not self.inputs and not self.from_type_hints:
            self.check_expected(columns, fill=ignored is None)
        return columns

    def check_columns(self, columns: Mapping[str, Any], ignored: Ignored | None = None) -> list[str] | None:
        """The columns that the model takes, None for all: others are noted in `ignored`, or refused if that is None."""
        names = [field.name for field in self.inputs]
        if len(columns) == len(names) and all(name in columns for name in names):
            return None
        return wanted_names(columns, names, ignored, [field.name for field in self.inputs if field.required])

    def columns_by_position(self, batch: Batch) -> dict[Any, Values]:
        """Columns for a signature without names: by number if the names are numbers, else in the order sent."""
        columns = batch.columns or {}
        self.check_count(len(columns))
        if set(columns) == {str(i) for i in range(len(columns))}:
            return {int(name): values for name, values in columns.items()}
        self.require_order(batch)
        return dict(enumerate(columns.values()))

    def check_count(self, count: int) -> None:
        if count != len(self.inputs):
            raise SignatureMismatch(f"the model takes {len(self.inputs)} inputs, got {count}")

    def require_order(self, batch: Batch) -> None:
        """Refuses a JSON object: its keys have no order to rely on, unlike tables and lists of tensors."""
        if not batch.frame and not batch.tensors:
            raise InvalidInput("the model's columns have no names: send rows, in the order that it was trained with")

    def columns_of_rows(self, rows: Any) -> dict[Any, Values]:
        """Rows without names as columns, in the order of the signature."""
        count = len(self.inputs)
        if isinstance(rows, np.ndarray):
            if rows.ndim == 1 and count == 1:
                return {self.keys[0]: rows}
            if rows.ndim != 2 or rows.shape[1] != count:
                raise InvalidInput(
                    f"the model takes {count} columns, got a tensor of shape {list(rows.shape)}: {self.columns_hint}"
                )
            return {key: rows[:, i] for i, key in enumerate(self.keys)}
        if not isinstance(rows, list):
            raise InvalidInput(f"expected a list of rows, got {casting.json_type(rows)}")
        if not any(isinstance(row, list) for row in rows) or self.rows_are_cells(rows):
            if count == 1 or not rows:
                return dict.fromkeys(self.keys[:1], rows) if rows else dict.fromkeys(self.keys, rows)
            raise InvalidInput(
                f"row 0: expected a list of {count} values, got {casting.json_type(rows[0])}: {self.columns_hint}"
            )
        for index, row in enumerate(rows):
            if not isinstance(row, list):
                raise InvalidInput(f"row {index}: expected a list of {count} values, got {casting.json_type(row)}")
            if len(row) != count:
                raise InvalidInput(f"row {index}: expected {count} values, got {len(row)}: {self.columns_hint}")
        return {key: [row[i] for row in rows] for i, key in enumerate(self.keys)}

    def rows_are_cells(self, rows: list[Any]) -> bool:
        """Whether each row is the only cell of its row: a list for a column of lists, without the list around it."""
        return (
            len(self.inputs) == 1
            and self.inputs[0].type in ("array", "any")
            and not all(isinstance(row, list) and len(row) == 1 and isinstance(row[0], list) for row in rows)
        )

    @property
    def columns_hint(self) -> str:
        return f"columns are {quoted([field.name for field in self.inputs])}" if self.named else "columns have no names"

    # -- params -------------------------------------------------------------------------------------------------

    def split_bare(self, batch: Batch) -> Batch:
        """A body without an envelope, such as a chat's, has its params beside its inputs: they are taken out."""
        names = {param.name for param in self.params} if batch.bare else {}
        if not names:
            return batch
        body = batch.rows[0]
        rows = [{name: value for name, value in body.items() if name not in names}]
        return replace(batch, rows=rows, params={name: body[name] for name in names if name in body})

    def conform_params(
        self, values: Mapping[str, Any], ignored: Ignored | None = None, *, as_text: bool = False
    ) -> dict[str, Any]:
        """The params of the signature: the caller's values, checked, and the defaults of the others.

        Params that the signature does not have are noted in `ignored`, or refused if that is None. `as_text`: values of
        any type may be texts, in JSON.
        """
        if as_text:
            params = {param.name: param for param in self.params}
            values = {name: params[name].parsed(value) if name in params else value for name, value in values.items()}
        known = [param.name for param in self.params]
        unknown = [name for name in values if name not in known]
        if unknown and ignored is not None:
            ignored[PARAM] = unknown
        elif unknown:
            hint = suggestion(unknown, known) if known else " (the model takes none)"
            raise SignatureMismatch(f"unknown parameter{'s'[: len(unknown) > 1]} {quoted(unknown)}{hint}")
        try:
            return {
                param.name: param.conform(values[param.name]) if param.name in values else param.default
                for param in self.params
            }
        except InvalidInput as error:
            raise SignatureMismatch(str(error)) from None


def cast_of(batch: Batch) -> Cast:
    if batch.ignored is None:
        return Cast.NONE
    return Cast.TABLE if batch.frame or batch.bare else Cast.VALUES


def is_records(rows: Any) -> bool:
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict)


def names_of_records(rows: list[Any]) -> dict[str, None]:
    """The names in any of the records, in the order in which they appear."""
    first = rows[0].keys()
    if all(type(row) is dict and row.keys() == first for row in rows):
        return dict.fromkeys(first)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidInput(f"row {index}: expected an object like row 0, got {casting.json_type(row)}")
    return dict.fromkeys(name for row in rows for name in row)


def columns_of_records(rows: list[Any], select: Callable[[Iterable[str]], Collection[str]] = list) -> dict[str, Values]:
    """Records as those columns that `select` returns, with MISSING for a record that lacks a column."""
    all_names = names_of_records(rows)
    names = select(all_names)
    values = sum(map(len, rows)) if len(names) == len(all_names) else sum(len(row.keys() & names) for row in rows)
    if values == len(rows) * len(names):
        return {name: [row[name] for row in rows] for name in names}
    if is_sparse(len(rows), len(names), values):
        raise InvalidInput(
            f"{len(rows)} records have {len(names)} names between them, and most of them have few of these: expected "
            "records of the same names, or fewer at a time"
        )
    return {name: [row.get(name, MISSING) for row in rows] for name in names}


def plain_rows(batch: Batch) -> Any:
    """The rows as plain values, for models that check them against their own type hints."""
    if batch.columns is None:
        return batch.rows.tolist() if isinstance(batch.rows, np.ndarray) else batch.rows
    check_lengths(batch.columns)
    columns = {name: plain_values(values) for name, values in batch.columns.items()}
    if batch.tensors and len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain_values(values: Values) -> list[Any]:
    if isinstance(values, np.ndarray):
        return list(plain_text(values).tolist())
    return values


def plain_text(values: casting.Array) -> casting.Array:
    """Bytes decoded if all of them are text, so that a model without a signature gets strings."""
    if values.dtype.kind != "O":
        return values
    try:
        cells = [cell.decode() if isinstance(cell, bytes) else cell for cell in values.reshape(-1)]
    except UnicodeDecodeError:
        return values
    return casting.object_array(cells).reshape(values.shape)


def unnamed_tensor(columns: Mapping[str, Values]) -> Any:
    """The tensor of an unnamed input: a column of any name, or a table whose columns are its last axis."""
    if len(columns) == 1:
        return next(iter(columns.values()))
    flat = [casting.column_of(values, name) for name, values in columns.items()]
    check_lengths(columns)
    if any(isinstance(values, np.ndarray) for values in flat):
        return np.stack([np.asarray(values) for values in flat], axis=1)
    return [list(row) for row in zip(*flat, strict=True)]


def check_lengths(columns: Mapping[Any, Values]) -> None:
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 0:
            raise InvalidInput(f"input '{name}': expected one value per row, got a tensor of shape []")
    if len({len(values) for values in columns.values()}) > 1:
        lengths = ", ".join(f"'{name}' has {len(values)}" for name, values in list(columns.items())[:10])
        raise SignatureMismatch(f"inputs of different lengths: {lengths}")


def untyped_matrix(rows: list[Any]) -> casting.Array:
    """Rows as a matrix of a type that their values suggest, as there is no signature."""
    array = nested_numbers(rows, "instances")
    if array.dtype.kind != "O":
        return array
    types = casting.types_of(array.reshape(-1).tolist())
    if types <= {int, float, type(None)}:
        return array.astype(np.float64)
    if types == {bool}:
        return array.astype(np.bool_)
    return array


def untyped_columns(columns: Mapping[str, Values], order: Sequence[str]) -> ModelInput:
    """Named columns as a DataFrame, in `order` unless that is empty."""
    import pandas as pd

    if any(
        isinstance(values, np.ndarray) and values.ndim > 1 and values.shape[1:] != (1,) for values in columns.values()
    ):
        return {name: np.asarray(values) for name, values in columns.items()}
    check_lengths(columns)
    cells: dict[str, Any] = {}
    nothing = np.full(len(next(iter(columns.values()), ())), np.nan)
    for name in order or columns:
        if name not in columns:
            cells[name] = nothing
            continue
        values = casting.fill_missing(columns[name], name, required=False)
        if isinstance(values, np.ndarray):
            cells[name] = plain_text(values.reshape(-1))
        else:  # pandas would make objects of nulls alone, and models that know names take numbers
            cells[name] = nothing if order and all(value is None for value in values) else values
    return pd.DataFrame(cells)


# -- reading the MLmodel file -----------------------------------------------------------------------------------


def read_plan(mlmodel: MLmodel) -> SignaturePlan:
    """The plan of a model's signature; the model itself need not be loaded. Raises `FlavorError` if it has no form."""
    content = mlmodel.content
    try:
        return compile_plan(content.get("signature"), from_type_hints=bool(content.get("is_signature_from_type_hint")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise FlavorError(f"the signature in {mlmodel.path / MLMODEL} cannot be read ({reason})") from error


def compile_plan(signature: Mapping[str, Any] | None, *, from_type_hints: bool = False) -> SignaturePlan:
    """The plan for the `signature` entry of an MLmodel file (its values are JSON strings)."""
    entries = {key: parse_entry((signature or {}).get(key)) for key in ("inputs", "outputs", "params")}
    return SignaturePlan(
        inputs=tuple(map(field_of, entries["inputs"])),
        outputs=tuple(map(field_of, entries["outputs"])),
        params=tuple(map(param_of, entries["params"])),
        from_type_hints=from_type_hints,
    )


def parse_entry(entry: Any) -> list[dict[str, Any]]:
    value = json.loads(entry) if isinstance(entry, str) else entry
    return list(value or [])
