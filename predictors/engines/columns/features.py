"""What preprocessing makes of rows: a matrix, or sparse rows where scikit-learn has a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np

from predictors.protocol.casting import Array

MAX_KEPT_ROWS = 64  # of index arrays that are kept from one request to the next


@dataclass(slots=True)
class SparseRows:
    """The entries of a sparse matrix, row after row.

    Zeros may be among them where scikit-learn has no entry: adding a zero changes no sum.
    """

    indices: Array
    """The column of each entry: a matrix if every row has as many entries, else one array for all."""
    values: Array
    """Of the same shape."""
    width: int
    ends: Array
    """Where the entries of each row begin, and where those of the last end."""

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def rows(self) -> Array:
        """The row of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.ends))

    def dense(self) -> Array:
        matrix = np.zeros((len(self), self.width))
        if len(self) == 1:
            matrix[0, self.indices] = self.values
        else:
            matrix[self.rows, self.indices.ravel()] = self.values.ravel()
        return matrix

    def scipy(self) -> Any:
        """As scikit-learn's own steps and models take it."""
        from scipy.sparse import csr_matrix

        parts = self.values.ravel(), self.indices.ravel(), self.ends
        matrix = csr_matrix(parts, shape=(len(self), self.width), copy=True)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return matrix

    def __matmul__(self, weights: Array) -> Array:
        """The product by the function that scipy calls, without its checks."""
        from scipy.sparse._sparsetools import csr_matvecs

        columns = weights.shape[1] if weights.ndim == 2 else 1
        product = np.zeros((len(self), columns))
        csr_matvecs(
            len(self), self.width, columns, self.ends, self.indices.ravel(), self.values.ravel(), weights.ravel(),
            product.ravel(),
        )  # fmt: skip
        return product if weights.ndim == 2 else product[:, 0]


Features: TypeAlias = "Array | SparseRows"


def with_equal_rows(indices: Array, values: Array, width: int) -> SparseRows:
    """Sparse rows from matrices with as many entries in every row."""
    return SparseRows(indices, values, width, ends_of(*indices.shape))


def ends_of(rows: int, entries: int) -> Array:
    return kept_ends(rows, entries) if rows <= MAX_KEPT_ROWS else np.arange(rows + 1, dtype=np.int32) * entries


def positions(rows: int, width: int) -> Array:
    """0, 1, … in each row."""
    if rows <= MAX_KEPT_ROWS:
        return kept_positions(rows, width)
    return np.tile(np.arange(width, dtype=np.int32), (rows, 1))


@lru_cache(maxsize=1000)
def kept_ends(rows: int, entries: int) -> Array:
    return np.arange(rows + 1, dtype=np.int32) * np.int32(entries)


@lru_cache(maxsize=1000)
def kept_positions(rows: int, width: int) -> Array:
    return np.tile(np.arange(width, dtype=np.int32), (rows, 1))


def sparse_of(matrix: Array) -> SparseRows:
    """All values of a matrix as entries."""
    return with_equal_rows(positions(*matrix.shape), matrix, matrix.shape[1])


def from_scipy(matrix: Any) -> SparseRows:
    matrix = matrix.tocsr()
    return SparseRows(matrix.indices, matrix.data, matrix.shape[1], matrix.indptr)


def as_dense(features: Features) -> Array:
    return features.dense() if isinstance(features, SparseRows) else features


def beside(parts: Sequence[Features], *, sparse: bool) -> Features:
    """The parts as one matrix, sparse or not."""
    if not sparse:
        return np.concatenate([as_dense(part) for part in parts], axis=1)
    blocks = [part if isinstance(part, SparseRows) else sparse_of(part) for part in parts]
    if len(blocks) == 1:
        return blocks[0]
    *offsets, width = accumulate((block.width for block in blocks), initial=0)
    indices = [block.indices + np.int32(offset) for block, offset in zip(blocks, offsets, strict=True)]
    values = [block.values for block in blocks]
    if all(block.indices.ndim == 2 for block in blocks):
        return with_equal_rows(np.concatenate(indices, axis=1), np.concatenate(values, axis=1), width)
    rows = np.concatenate([block.rows for block in blocks])
    order = rows.argsort(kind="stable")
    ends = np.concatenate(([0], np.bincount(rows, minlength=len(blocks[0])).cumsum())).astype(np.int32)
    flat_indices, flat_values = (np.concatenate([part.ravel() for part in group]) for group in (indices, values))
    return SparseRows(flat_indices[order], flat_values[order], width, ends)
