"""The models of the benchmark on columns of several types, with tables that they are trained on and asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

_DECIMALS = 6
CITIES = [
    "Berlin",
    "Hamburg",
    "München",
    "Köln",
    "Frankfurt",
    "Stuttgart",
    "Düsseldorf",
    "Leipzig",
    "Dortmund",
    "Essen",
]
TEXT = (
    "the parcel never arrived and nobody answers quick delivery great quality would buy again broken screen after two "
    "days refund was refused friendly support solved my problem price is fair colour differs from the picture works as "
    "described battery lasts long too small for me return label missing excellent value highly recommended"
)


def text_column(count: int, seed: int) -> pd.DataFrame:
    """One column of text and nine doubles."""
    random = np.random.default_rng(seed)
    doubles = random.normal(size=(count, 9)).round(_DECIMALS)
    return pd.DataFrame({"city": texts(random, CITIES, count)} | {f"feature_{i}": doubles[:, i] for i in range(9)})


def integers(count: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).integers(-1000, 1000, (count, 10)), columns=_names(10))


def booleans(count: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).integers(0, 2, (count, 10)).astype(bool), columns=_names(10))


def singles(count: int, seed: int) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(count, 10)).round(_DECIMALS)
    return pd.DataFrame(values.astype(np.float32), columns=_names(10))


def real_table(count: int, seed: int) -> pd.DataFrame:
    """Twenty columns: eight of text, four of integers with nulls, six doubles, a boolean and a date."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        f"text_{i}": texts(random, [f"category {j}" for j in range(2 + 4 * i)], count) for i in range(8)
    }
    for i in range(4):
        values = random.integers(0, 100 * 10**i, count).astype(np.float64)
        columns[f"integer_{i}"] = np.where(random.random(count) < 0.1, np.nan, values)
    columns |= {f"double_{i}": random.normal(size=count).round(_DECIMALS) for i in range(6)}
    columns["boolean"] = random.integers(0, 2, count).astype(bool)
    columns["date"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 300, count), unit="D")
    return pd.DataFrame(columns)


def sentences(count: int, seed: int, words: tuple[int, int] = (6, 25)) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    lines = [" ".join(random.choice(TEXT.split(), random.integers(*words))) for _ in range(count)]
    return pd.DataFrame({"text": np.array(lines, dtype=object)})


def texts(random: np.random.Generator, values: list[str], count: int) -> Any:
    return random.choice(np.array(values, dtype=object), count)


def _names(count: int) -> list[str]:
    return [f"feature_{i}" for i in range(count)]


TABLES: dict[str, Callable[[int, int], pd.DataFrame]] = {
    "text-lr": text_column, "text-rf": text_column, "integers-lr": integers, "booleans-lr": booleans,
    "singles-lr": singles, "real-hgb": real_table, "real-lgb": real_table, "tfidf-lr": sentences,
}  # fmt: skip


def model_of(name: str) -> Any:
    from lightgbm import LGBMClassifier
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    if name in ("text-lr", "text-rf"):
        encoded = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["city"]), (StandardScaler(), _names(9))
        )
        if name == "text-lr":
            return make_pipeline(encoded, LogisticRegression(max_iter=1000))
        return make_pipeline(encoded, RandomForestClassifier(n_estimators=100, max_depth=8, random_state=0))
    if name in ("real-hgb", "real-lgb"):
        ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        kept = [f"integer_{i}" for i in range(4)] + [f"double_{i}" for i in range(6)] + ["boolean"]
        encoded = make_column_transformer((ordinal, [f"text_{i}" for i in range(8)]), ("passthrough", kept))
        if name == "real-hgb":
            return make_pipeline(encoded, HistGradientBoostingClassifier(max_iter=100, random_state=0))
        return make_pipeline(encoded, LGBMClassifier(n_estimators=100, random_state=0, verbose=-1))
    if name == "tfidf-lr":
        return make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    return LogisticRegression(max_iter=1000)


def target_of(name: str, table: pd.DataFrame) -> Any:
    """Labels that depend on the table, with noise."""
    noise = np.random.default_rng(2).normal(scale=0.5, size=len(table))
    if name == "tfidf-lr":
        return (table.text.str.count("great|excellent|fair|friendly") + noise > 1).to_numpy().astype(np.int64)
    if name.startswith("real"):
        return ((table.text_3 < "category 5") + table.double_0 + noise > 0).to_numpy().astype(np.int64)
    numbers = table.drop(columns="city") if "city" in table else table
    score = numbers.to_numpy(dtype=np.float64)
    score = (score - score.mean(axis=0)) / score.std(axis=0)
    text = (table.city < "H") * 1.0 if "city" in table else 0.0
    return np.asarray(score[:, 0] + score[:, 1] + text + noise > 0).astype(np.int64)
