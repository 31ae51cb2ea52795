"""scikit-learn's vectorizers of text: their own analyzers, then counts and weights without a matrix in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from predictors.engines.columns.features import Features, SparseRows, from_scipy
from predictors.engines.engine import Declined
from predictors.protocol.mixed_rows import ColumnType, MixedRows

PROBE_WORDS = 12  # of the vocabulary in each text that tests an engine
MAX_PROBE_TEXTS = 300


def is_vectorizer(step: Any) -> bool:
    from sklearn.feature_extraction import text

    return type(step) in (text.CountVectorizer, text.TfidfVectorizer, text.HashingVectorizer)


def vectorizing_of(vectorizer: Any, column: ColumnType) -> Callable[[MixedRows], Features]:
    place = column.place
    vectorize = Counting(vectorizer) if hasattr(vectorizer, "vocabulary_") else own_transform(vectorizer)
    weigh = weighting_of(getattr(vectorizer, "_tfidf", None))

    def run(rows: MixedRows) -> Features:
        texts = rows.texts[place]
        if None in texts:
            raise Declined
        return weigh(vectorize(texts))

    return run


def own_transform(vectorizer: Any) -> Callable[[Sequence[Any]], SparseRows]:
    return lambda texts: from_scipy(vectorizer.transform(texts))


class Counting:
    """How often each word of the vocabulary is in each text."""

    def __init__(self, vectorizer: Any) -> None:
        self.analyze = vectorizer.build_analyzer()
        self.vocabulary: dict[str, int] = vectorizer.vocabulary_
        self.binary, self.dtype = vectorizer.binary, np.dtype(vectorizer.dtype)

    def __call__(self, texts: Sequence[Any]) -> SparseRows:
        positions: list[int] = []
        counts: list[int] = []
        sizes = []
        for text in texts:
            known = [position for position in map(self.vocabulary.get, self.analyze(text)) if position is not None]
            counted: dict[int, int] = {}
            for position in sorted(known):
                counted[position] = counted.get(position, 0) + 1
            positions += counted
            counts += counted.values()
            sizes.append(len(counted))
        values = np.ones(len(counts), self.dtype) if self.binary else np.array(counts, self.dtype)
        ends = np.fromiter(accumulate(sizes, initial=0), np.int32, len(sizes) + 1)
        return SparseRows(np.array(positions, np.int32), values, len(self.vocabulary), ends)


@dataclass(frozen=True)
class CsrParts:
    """What scikit-learn's normalization reads of a matrix."""

    data: Any
    indices: Any
    indptr: Any
    shape: tuple[int, int]


def weighting_of(transformer: Any) -> Callable[[SparseRows], SparseRows]:
    """The weights of a TfidfTransformer, in its own order of operations."""
    from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l1, inplace_csr_row_normalize_l2

    if transformer is None:
        return lambda counts: counts
    idf = getattr(transformer, "idf_", None)
    normalize = {"l1": inplace_csr_row_normalize_l1, "l2": inplace_csr_row_normalize_l2}.get(transformer.norm)

    def weigh(counts: SparseRows) -> SparseRows:
        values = counts.values.astype(np.float64) if counts.values.dtype.kind != "f" else counts.values
        if transformer.sublinear_tf:
            values = np.log(values)
            values += 1.0
        if idf is not None:
            values = values * idf[counts.indices]
        if normalize is not None:
            normalize(CsrParts(values, counts.indices, counts.ends, (len(counts), counts.width)))
        return SparseRows(counts.indices, values, counts.width, counts.ends)

    return weigh


def probe_texts(vectorizer: Any) -> list[str]:
    """Texts of words that the vectorizer knows, some of them twice."""
    words = sorted(getattr(vectorizer, "vocabulary_", ()))[: PROBE_WORDS * MAX_PROBE_TEXTS]
    return [" ".join([*words[at : at + PROBE_WORDS], words[at]]) for at in range(0, len(words), PROBE_WORDS)]
