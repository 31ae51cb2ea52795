"""Random pipelines of scikit-learn over random tables, and requests with the values that are easily taken wrongly."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from mlflow.types import ColSpec, Schema
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_regression
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

from predictors.protocol.batch import Batch
from predictors.protocol.casting import object_array

ROWS = 90
TEXTS = ["", "a", "A", "b", "Ulm", "Köln", "e\u0301", "\u00e9", "日本", "x" * 300, "nan", "None", "1", "wörter und a b"]
ODD_TEXTS = ["never seen", " a", "a ", "ａ", "KÖLN", "\x00", "ß", "SS", "İ", "\u200b", "\n", "y" * 9000, "1.0", "true"]
ODD_DOUBLES = [0.0, -0.0, 1e308, -1e308, 5e-324, 1e-300, 3.5e38, -3.5e38, 2.0**53 + 2, 1e16, 0.1, np.inf, -np.inf]
ODD_SINGLES = [0.0, -0.0, 3.4e38, -3.4e38, 1e-45, 16777217.0, 0.1, 1e-30]
ODD_LONGS = [2**53, 2**53 + 1, -(2**53) - 1, 2**53 - 1, 2**63 - 1, -(2**63), 2**31, 10**15 + 1]
ODD_INTEGERS = [2**31 - 1, -(2**31), 2**24 + 1]
ODD_DATES = [
    "1677-09-21T00:12:44",
    "2262-04-11T23:47:16.854775807",
    "1970-01-01",
    "2024-02-29 12:30:00",
    "1700-01-01T00:00",
]
TYPES = {
    "text": "string", "long": "long", "integer": "integer", "boolean": "boolean", "single": "float", "double": "double",
    "date": "datetime",
}  # fmt: skip
DTYPES: dict[str, Any] = {
    "text": object, "long": np.int64, "integer": np.int32, "boolean": bool, "single": np.float32, "double": np.float64,
    "date": "datetime64[ns]",
}  # fmt: skip


# -- tables ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    nulls: bool
    """Whether it may hold nulls, in the training too."""

    def values(self, random: np.random.Generator, rows: int) -> list[Any]:
        """Plain values, as JSON has them."""
        if self.kind == "text":
            known = TEXTS[len(self.name) % 3 :: 2]
            cells: list[Any] = [known[place] for place in random.integers(len(known), size=rows)]
        elif self.kind in ("long", "integer"):
            cells = random.integers(-2, 6, rows).tolist()
        elif self.kind == "boolean":
            cells = random.integers(0, 2, rows).astype(bool).tolist()
        elif self.kind == "date":
            cells = [str(np.datetime64("2020-01-01") + int(day)) for day in random.integers(0, 2000, rows)]
        elif self.kind == "single":
            cells = random.normal(size=rows).astype(np.float32).tolist()
        else:
            cells = (random.normal(size=rows) * 10.0 ** random.integers(-2, 4)).tolist()
        if self.nulls:
            cells = [None if hole else cell for cell, hole in zip(cells, random.random(rows) < 0.1, strict=True)]
        return cells

    def odd(self, random: np.random.Generator) -> Any:
        """A value that the training did not have."""
        values: dict[str, Sequence[Any]] = {
            "text": [*ODD_TEXTS, None], "long": ODD_LONGS, "integer": ODD_INTEGERS, "single": [*ODD_SINGLES, None],
            "double": [*ODD_DOUBLES, None, None], "date": ODD_DATES, "boolean": [True, False],
        }  # fmt: skip
        known = values[self.kind]
        return known[int(random.integers(len(known)))]

    def array(self, cells: Sequence[Any]) -> Any:
        """The values as a DataFrame of the training has them."""
        if self.kind == "text":
            return object_array(list(cells))
        if self.kind == "date":
            return pd.to_datetime(pd.Series(cells, dtype=object), format="ISO8601")
        if None in cells:
            numbers = [np.nan if cell is None else cell for cell in cells]
            return np.array(numbers, dtype=np.float32 if self.kind == "single" else np.float64)
        return np.array(cells, dtype=DTYPES[self.kind])


@dataclass(frozen=True)
class RandomTable:
    columns: tuple[Column, ...]

    @property
    def schema(self) -> Schema:
        return Schema([ColSpec(TYPES[one.kind], one.name, required=not one.nulls) for one in self.columns])

    def frame(self, cells: dict[str, list[Any]]) -> pd.DataFrame:
        return pd.DataFrame({column.name: column.array(cells[column.name]) for column in self.columns})

    def cells(self, random: np.random.Generator, rows: int, odd: float = 0.0) -> dict[str, list[Any]]:
        """Rows of which a share of values is odd."""
        table = {column.name: column.values(random, rows) for column in self.columns}
        for column in self.columns:
            for row in np.flatnonzero(random.random(rows) < odd):
                table[column.name][row] = column.odd(random)
        return table

    def batch(self, cells: dict[str, list[Any]], form: str) -> Batch:
        """The request in one of the forms that protocols decode to."""
        names = [column.name for column in self.columns]
        rows = list(zip(*cells.values(), strict=True))
        if form == "records":
            records = [dict(zip(names, row, strict=True)) for row in rows]
            return Batch(rows=[dict(reversed(record.items())) for record in records], probabilities=True)
        if form == "rows":
            return Batch(rows=[list(row) for row in rows], probabilities=True)
        if form == "columns":
            return Batch(columns={name: list(values) for name, values in cells.items()}, probabilities=True)
        tensors = {column.name: tensor_of(column, cells[column.name]) for column in self.columns}
        return Batch(columns=tensors, tensors=True, probabilities=True)


FORMS = ["records", "rows", "columns", "tensors"]


def tensor_of(column: Column, cells: list[Any]) -> Any:
    """A column as a tensor of V2, which has no nulls but those of lists."""
    if None in cells:
        return list(cells)
    if column.kind in ("text", "date"):
        return object_array([cell.encode() for cell in cells])
    return np.array(cells, dtype=DTYPES[column.kind])


@st.composite
def tables(draw: st.DrawFn) -> RandomTable:
    kinds = draw(st.lists(st.sampled_from(["text", "text", "text", *TYPES, "double"]), min_size=1, max_size=7))
    names = [f"{kind} {number}" for number, kind in enumerate(kinds)]
    may = ("text", "double", "single", "long")
    return RandomTable(
        tuple(
            Column(*one, nulls=one[1] in may and draw(st.integers(0, 3)) == 0) for one in zip(names, kinds, strict=True)
        )
    )


# -- transformers ---------------------------------------------------------------------------------------------------

FLOATS = st.sampled_from([np.float64, np.float64, np.float32])
ONE_HOT = st.builds(
    OneHotEncoder,
    handle_unknown=st.sampled_from(["error", "ignore", "infrequent_if_exist", "warn"]),
    drop=st.sampled_from([None, None, "first", "if_binary"]),
    min_frequency=st.sampled_from([None, None, 10, 0.2]),
    max_categories=st.sampled_from([None, None, 3]),
    sparse_output=st.booleans(),
    dtype=FLOATS,
)
ORDINAL = st.builds(
    OrdinalEncoder,
    handle_unknown=st.just("use_encoded_value"),
    unknown_value=st.sampled_from([-1, np.nan]),
    encoded_missing_value=st.sampled_from([-2, np.nan]),
    min_frequency=st.sampled_from([None, 10]),
    max_categories=st.sampled_from([None, None, 3]),
    dtype=FLOATS,
)
TARGET = st.builds(TargetEncoder, smooth=st.sampled_from(["auto", 1.0]), random_state=st.just(0))
FILLED = st.builds(
    lambda options, encoder: make_pipeline(SimpleImputer(missing_values=None, **options), encoder),
    st.sampled_from([
        {"strategy": "constant", "fill_value": "a"}, {"strategy": "constant", "fill_value": "missing"},
        {"strategy": "most_frequent"}, {"strategy": "most_frequent", "add_indicator": True},
    ]),
    st.one_of(ONE_HOT, ORDINAL),
)  # fmt: skip
ENCODERS = st.one_of(ONE_HOT, ONE_HOT, st.just(OrdinalEncoder()), ORDINAL, TARGET, FILLED)
VECTORIZERS = st.one_of(
    st.builds(
        TfidfVectorizer,
        analyzer=st.sampled_from(["word", "char", "char_wb"]), ngram_range=st.sampled_from([(1, 1), (1, 2)]),
        norm=st.sampled_from(["l2", "l1", None]), sublinear_tf=st.booleans(), binary=st.booleans(),
        token_pattern=st.just(r"(?u)\b\w+\b"), strip_accents=st.sampled_from([None, "unicode", "ascii"]),
        lowercase=st.booleans(), use_idf=st.booleans(), max_features=st.sampled_from([None, 5]), dtype=FLOATS,
    ),
    st.builds(CountVectorizer, analyzer=st.sampled_from(["word", "char"]), token_pattern=st.just(r"(?u)\b\w+\b")),
    st.builds(HashingVectorizer, n_features=st.sampled_from([8, 64]), alternate_sign=st.booleans()),
    st.just(make_pipeline(CountVectorizer(analyzer="char"), TfidfTransformer(sublinear_tf=True))),
    st.just(make_pipeline(TfidfVectorizer(analyzer="char_wb"), TruncatedSVD(2, random_state=0))),
)  # fmt: skip
SCALERS = st.sampled_from([
    StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False), MinMaxScaler(),
    MinMaxScaler(clip=True), MinMaxScaler((-1, 3)), MaxAbsScaler(), RobustScaler(), RobustScaler(with_centering=False),
    Normalizer(), Normalizer("l1"), Normalizer("max"), Binarizer(), Binarizer(threshold=0.5),
])  # fmt: skip
OTHERS = st.sampled_from([
    PolynomialFeatures(), PolynomialFeatures(interaction_only=True, include_bias=False), PowerTransformer(),
    PowerTransformer(standardize=False), QuantileTransformer(n_quantiles=20),
    QuantileTransformer(n_quantiles=20, output_distribution="normal"),
    KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
    KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), KBinsDiscretizer(3, encode="onehot-dense", strategy="uniform"),
    SplineTransformer(3), SplineTransformer(3, extrapolation="linear", include_bias=False), PCA(1, random_state=0),
    PCA(1, whiten=True, random_state=0), VarianceThreshold(), FunctionTransformer(np.abs), FunctionTransformer(np.cbrt),
    FunctionTransformer(np.arctan), FunctionTransformer(np.sign), FunctionTransformer(np.square), FunctionTransformer(),
])  # fmt: skip
IMPUTERS = st.one_of(
    st.builds(
        SimpleImputer,
        strategy=st.sampled_from(["mean", "median", "most_frequent", "constant"]),
        add_indicator=st.booleans(),
        keep_empty_features=st.just(True),
    ),
    st.sampled_from([KNNImputer(n_neighbors=2), MissingIndicator(features="all")]),
)
NUMERIC = st.one_of(
    st.just("passthrough"), SCALERS, OTHERS, IMPUTERS, st.builds(make_pipeline, IMPUTERS, SCALERS),
    st.builds(make_pipeline, IMPUTERS, SCALERS, OTHERS), st.builds(make_pipeline, IMPUTERS, OTHERS),
    st.builds(lambda first, second: FeatureUnion([("one", first), ("two", second)]), SCALERS, OTHERS),
    st.builds(
        lambda first, weight: FeatureUnion([("one", first), ("same", "passthrough")], transformer_weights=weight),
        SCALERS, st.sampled_from([None, {"one": 3.0}]),
    ),
)  # fmt: skip
AFTER = st.sampled_from([
    None, None, None, MaxAbsScaler(), SelectKBest(f_regression, k=1), PCA(1, random_state=0),
    TruncatedSVD(1, random_state=0), Normalizer(), StandardScaler(with_mean=False), StandardScaler(),
    FunctionTransformer(np.abs), VarianceThreshold(),
])  # fmt: skip


def named(columns: Sequence[Column], everything: Sequence[Column]) -> list[str]:
    return [column.name for column in columns]


def by_number(columns: Sequence[Column], everything: Sequence[Column]) -> list[int]:
    return [everything.index(column) for column in columns]


def masked(columns: Sequence[Column], everything: Sequence[Column]) -> list[bool]:
    return [column in columns for column in everything]


def matched(columns: Sequence[Column], everything: Sequence[Column]) -> Any:
    return make_column_selector(pattern="^(" + "|".join(column.name for column in columns) + ")$")


SELECTORS: list[Callable[[Sequence[Column], Sequence[Column]], Any]] = [named, named, by_number, masked, matched]


@st.composite
def column_transformers(draw: st.DrawFn, columns: Sequence[Column], depth: int = 2) -> ColumnTransformer:
    """A ColumnTransformer of these columns, some of which may go into another one."""
    encoded, numeric, parts = [], [], []
    select = draw(st.sampled_from(SELECTORS))
    encodes_numbers = draw(st.integers(0, 3)) == 0
    for column in columns:
        if column.kind == "date":
            continue
        if column.kind == "text":
            if not column.nulls and draw(st.integers(0, 3)) == 0:
                parts.append((f"words of {column.name}", draw(VECTORIZERS), column.name))
            else:
                encoded.append(column)
        elif encodes_numbers and column.kind in ("long", "integer", "boolean"):
            encoded.append(column)
        else:
            numeric.append(column)
    if encoded:
        parts.append(("encoded", draw(ENCODERS), select(encoded, columns)))
    if numeric and depth > 1 and draw(st.integers(0, 4)) == 0:
        inner = draw(column_transformers(numeric, depth - 1))
        parts.append(("inner", inner, select(numeric, columns)))
    elif numeric:
        parts.append(("numbers", draw(NUMERIC), select(numeric, columns)))
    if numeric and draw(st.integers(0, 4)) == 0:  # a column twice
        parts.append(("again", "passthrough", select(numeric[:1], columns)))
    rest = (
        draw(st.sampled_from(["drop", "drop", "passthrough"])) if all(one.kind != "date" for one in columns) else "drop"
    )
    return ColumnTransformer(
        draw(st.permutations(parts)),
        remainder=rest,
        sparse_threshold=draw(st.sampled_from([0.0, 0.3, 1.0])),
        transformer_weights=draw(st.sampled_from([None, None, None, {"numbers": 2.5}])),
        verbose_feature_names_out=True,
    )


# -- models -----------------------------------------------------------------------------------------------------------

FEW = {"n_estimators": 5, "random_state": 0}
BOOSTED = {"n_estimators": 4, "max_depth": 3, "random_state": 0}
FINALS = [
    LogisticRegression(max_iter=30), LogisticRegression(max_iter=30), LogisticRegression(max_iter=30), Ridge(),
    LinearRegression(), ElasticNet(0.1), RidgeClassifier(), SGDClassifier(random_state=0, max_iter=5),
    SGDClassifier(loss="log_loss", random_state=0, max_iter=5), LinearSVC(max_iter=50), PoissonRegressor(max_iter=20),
    RandomForestClassifier(**FEW), RandomForestRegressor(**FEW), ExtraTreesClassifier(**FEW),
    DecisionTreeClassifier(max_depth=4), GradientBoostingClassifier(n_estimators=4), GradientBoostingRegressor(n_estimators=4),
    HistGradientBoostingClassifier(max_iter=5), HistGradientBoostingRegressor(max_iter=5), GaussianNB(), SVC(),
    HistGradientBoostingClassifier(max_iter=5, categorical_features=[0]),
    HistGradientBoostingRegressor(max_iter=5, categorical_features=[0]),
    KNeighborsClassifier(3), MLPClassifier((4,), max_iter=5, random_state=0),
    CalibratedClassifierCV(LogisticRegression(max_iter=30), cv=2), OneVsRestClassifier(LogisticRegression(max_iter=30)),
    VotingClassifier([("a", LogisticRegression(max_iter=30)), ("b", GaussianNB())], voting="soft"),
    VotingClassifier([("a", LogisticRegression(max_iter=30)), ("b", DecisionTreeClassifier(max_depth=3))]),
    VotingRegressor([("a", Ridge()), ("b", LinearRegression())]),
    StackingClassifier([("a", DecisionTreeClassifier(max_depth=3))], LogisticRegression(max_iter=30), cv=2),
    MultiOutputRegressor(Ridge()), MultiOutputClassifier(LogisticRegression(max_iter=30)),
    ClassifierChain(LogisticRegression(max_iter=30)), TransformedTargetRegressor(Ridge(), func=np.sinh, inverse_func=np.arcsinh),
    XGBClassifier(**BOOSTED), XGBRegressor(**BOOSTED), LGBMClassifier(**BOOSTED, verbose=-1),
    LGBMRegressor(**BOOSTED, verbose=-1), CatBoostClassifier(**BOOSTED, verbose=False, allow_writing_files=False),
    CatBoostRegressor(**BOOSTED, verbose=False, allow_writing_files=False),
]  # fmt: skip
SEVERAL = (MultiOutputRegressor, MultiOutputClassifier, ClassifierChain)


def target_of(model: Any, random: np.random.Generator, classes: int) -> Any:
    outputs = 2 if isinstance(model, SEVERAL) else 1
    if is_classifier(model) or isinstance(model, (MultiOutputClassifier, ClassifierChain)):
        labels: Any = random.integers(0, 2 if isinstance(model, ClassifierChain) else classes, (ROWS, outputs))
        words = classes == 3 and outputs == 1 and not isinstance(model, XGBClassifier)
        labels = np.array(["no", "perhaps", "yes"])[labels] if words else labels
    else:
        labels = random.normal(size=(ROWS, outputs)) ** (2 if isinstance(model, PoissonRegressor) else 1)
    return labels if outputs > 1 else labels[:, 0]


@dataclass(frozen=True)
class RandomPipeline:
    """A pipeline that is not trained yet, for a table."""

    table: RandomTable
    model: Any
    classes: int
    seed: int

    def fit(self) -> Any:
        """The trained model, or None if scikit-learn refuses the combination."""
        random = np.random.default_rng(self.seed)
        frame = self.table.frame(self.table.cells(random, ROWS))
        model = clone(self.model)
        last = model.steps[-1][1] if isinstance(model, Pipeline) else model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.fit(frame, target_of(last, random, self.classes))
                model.predict(frame)
            except Exception:  # no such model: its steps do not fit together
                return None
        return model


@st.composite
def random_pipelines(draw: st.DrawFn) -> RandomPipeline:
    table = draw(tables())
    classes, seed = draw(st.integers(2, 3)), draw(st.integers(0, 2**16))
    if draw(st.integers(0, 11)) == 0:  # without steps before it
        categories = [column.name for column in table.columns if column.kind not in ("double", "single")]
        kind = draw(st.sampled_from([HistGradientBoostingClassifier, HistGradientBoostingRegressor]))
        return RandomPipeline(table, kind(max_iter=5, categorical_features=categories or None), classes, seed)
    columns: Any = draw(column_transformers(table.columns))
    if draw(st.integers(0, 7)) == 0:
        columns = FeatureUnion([("first", columns), ("second", draw(column_transformers(table.columns)))])
    after = draw(AFTER)
    final = draw(st.sampled_from(FINALS))
    model = Pipeline([("columns", columns), *([("after", after)] if after else []), ("model", final)])
    if draw(st.integers(0, 7)) == 0:
        with suppress(ValueError):  # vectorizers have no such output
            model.set_output(transform="pandas")
    return RandomPipeline(table, model, classes, seed)
