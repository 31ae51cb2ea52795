"""What preprocessing makes of rows: a matrix, or sparse rows where scikit-learn has a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from predictors.protocol.casting import Array


@dataclass(frozen=True, slots=True)
class SparseRows:
    """A sparse matrix in the form that scikit-learn calls CSR.

    Zeros may be among its entries, where scikit-learn has none: adding them changes no sum.
    """

    indices: Array
    """The column of each entry, row after row."""
    values: Array
    ends: Array
    """Where the entries of each row begin, and where those of the last end."""
    width: int
    per_row: int | None = None
    """The number of entries in every row, if that is the same."""

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
            matrix[self.rows, self.indices] = self.values
        return matrix

    def scipy(self) -> Any:
        """As scikit-learn's own steps and models take it."""
        from scipy.sparse import csr_matrix

        matrix = csr_matrix((self.values, self.indices, self.ends), shape=(len(self), self.width), copy=True)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return matrix

    def __matmul__(self, weights: Array) -> Array:
        """The product by the function that scipy calls, without its checks."""
        from scipy.sparse import _sparsetools

        columns = weights.shape[1] if weights.ndim == 2 else 1
        product = np.zeros(len(self) * columns)
        _sparsetools.csr_matvecs(
            len(self), self.width, columns, self.ends, self.indices, self.values, weights.ravel(), product
        )
        return product.reshape(len(self), columns) if weights.ndim == 2 else product


Features: TypeAlias = "Array | SparseRows"


def regular(indices: Array, values: Array, width: int) -> SparseRows:
    """Sparse rows from matrices with a row of entries for each."""
    count, per_row = indices.shape
    ends = np.arange(0, indices.size + 1, per_row, dtype=np.int32) if per_row else np.zeros(count + 1, np.int32)
    return SparseRows(indices.ravel(), values.ravel(), ends, width, per_row)


def sparse_of(matrix: Array) -> SparseRows:
    """All values of a matrix as entries."""
    indices = np.broadcast_to(np.arange(matrix.shape[1], dtype=np.int32), matrix.shape)
    return regular(indices, matrix, matrix.shape[1])


def from_scipy(matrix: Any) -> SparseRows:
    matrix = matrix.tocsr()
    return SparseRows(matrix.indices, matrix.data, matrix.indptr, matrix.shape[1])


def as_dense(features: Features) -> Array:
    return features.dense() if isinstance(features, SparseRows) else features


def side_by_side(parts: Sequence[Features], *, sparse: bool) -> Features:
    """The parts as one matrix, sparse or not."""
    if not sparse:
        return np.hstack([as_dense(part) for part in parts])
    blocks = [part if isinstance(part, SparseRows) else sparse_of(part) for part in parts]
    if len(blocks) == 1:
        return blocks[0]
    offsets = np.cumsum([0, *(block.width for block in blocks)]).tolist()
    width = offsets.pop()
    indices = [block.indices + np.int32(offset) for block, offset in zip(blocks, offsets, strict=True)]
    count = len(blocks[0])
    sizes = [block.per_row for block in blocks if block.per_row is not None]
    if len(sizes) == len(blocks):
        shapes = [(count, size) for size in sizes]
        return regular(
            np.concatenate([part.reshape(shape) for part, shape in zip(indices, shapes, strict=True)], axis=1),
            np.concatenate([part.values.reshape(shape) for part, shape in zip(blocks, shapes, strict=True)], axis=1),
            width,
        )
    rows = np.concatenate([block.rows for block in blocks])
    order = rows.argsort(kind="stable")
    ends = np.concatenate(([0], np.bincount(rows, minlength=count).cumsum())).astype(np.int32)
    values = np.concatenate([block.values for block in blocks])
    return SparseRows(np.concatenate(indices)[order], values[order], ends, width)
