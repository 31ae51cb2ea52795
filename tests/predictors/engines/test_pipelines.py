"""Random pipelines over random tables: the engine gives the model's own bits, or leaves the rows to the model."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
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

from predictors.engines.engine import Declined
from predictors.protocol.batch import Batch
from tests.predictors.engines.choosing import chosen

PIPELINES = int(os.environ.get("RANDOM_PIPELINES", "8"))
TEXTS = ["", "a", "A", "b", "Ulm", "Köln", "e\u0301", "\u00e9", "日本", "x" * 300, "nan", "None", "1"]
ODD_TEXTS = [*TEXTS, "never seen", " a", "a ", "ａ", "KÖLN", None]
ROWS = 120


def table(random: np.random.Generator, kinds: list[str], rows: int, odd: bool = False) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for number, kind in enumerate(kinds):
        name = f"{kind} {number}"
        if kind == "text":
            columns[name] = random.choice(np.array(ODD_TEXTS if odd else TEXTS[number % 3 :: 2], dtype=object), rows)
        elif kind == "integer":
            columns[name] = random.integers(-2, 6 + 3 * odd, rows)
        elif kind == "boolean":
            columns[name] = random.integers(0, 2, rows).astype(bool)
        elif kind == "single":
            columns[name] = random.normal(size=rows).astype(np.float32)
        else:
            columns[name] = random.normal(size=rows) * 10.0 ** random.integers(-2, 4)
            if odd:
                columns[name][random.random(rows) < 0.1] = np.nan
    return pd.DataFrame(columns)


KINDS = st.lists(st.sampled_from(["text", "text", "integer", "boolean", "single", "double", "double"]), min_size=1,
                 max_size=6)  # fmt: skip
ENCODERS = st.one_of(
    st.builds(
        OneHotEncoder,
        handle_unknown=st.sampled_from(["error", "ignore", "infrequent_if_exist"]),
        drop=st.sampled_from([None, None, "first", "if_binary"]),
        min_frequency=st.sampled_from([None, None, 10, 0.2]),
        sparse_output=st.booleans(),
    ),
    st.just(OrdinalEncoder()),
    st.builds(
        OrdinalEncoder,
        handle_unknown=st.just("use_encoded_value"),
        unknown_value=st.sampled_from([-1, np.nan]),
        encoded_missing_value=st.sampled_from([-2, np.nan]),
        min_frequency=st.sampled_from([None, 10]),
    ),
    st.builds(TargetEncoder, smooth=st.sampled_from(["auto", 1.0]), random_state=st.just(0)),
    st.builds(
        lambda fill: make_pipeline(
            SimpleImputer(missing_values=None, strategy="constant", fill_value=fill),
            OneHotEncoder(handle_unknown="ignore"),
        ),
        st.sampled_from(["a", "missing"]),
    ),
)
SCALERS = st.sampled_from([StandardScaler(), StandardScaler(with_mean=False), MinMaxScaler(), MinMaxScaler(clip=True),
                           MaxAbsScaler(), RobustScaler(), Normalizer(), Normalizer("l1"), Binarizer()])  # fmt: skip
OTHERS = st.sampled_from([
    PolynomialFeatures(), PolynomialFeatures(interaction_only=True, include_bias=False), PowerTransformer(),
    QuantileTransformer(n_quantiles=20), KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
    SplineTransformer(3),
])  # fmt: skip
IMPUTERS = st.builds(
    SimpleImputer,
    strategy=st.sampled_from(["mean", "median", "most_frequent", "constant"]),
    add_indicator=st.booleans(),
    keep_empty_features=st.just(True),
)
NUMERIC = st.one_of(
    st.just("passthrough"), SCALERS, OTHERS, st.builds(make_pipeline, IMPUTERS, SCALERS),
    st.builds(make_pipeline, IMPUTERS, SCALERS, OTHERS),
)  # fmt: skip
MIDDLE = st.sampled_from([None, None, "sparse scaler", "select", "pca", "svd"])
FINAL = st.sampled_from([
    LogisticRegression(max_iter=50), LogisticRegression(max_iter=50), Ridge(), LinearRegression(),
    SGDClassifier(random_state=0, max_iter=5), RandomForestClassifier(5, random_state=0), GaussianNB(),
    HistGradientBoostingClassifier(max_iter=5), HistGradientBoostingRegressor(max_iter=5),
])  # fmt: skip
STEPS = {
    "sparse scaler": lambda: MaxAbsScaler(), "select": lambda: SelectKBest(k=1), "pca": lambda: PCA(1, random_state=0),
    "svd": lambda: TruncatedSVD(1, random_state=0),
}  # fmt: skip
served: Counter[str] = Counter()


@settings(
    max_examples=PIPELINES, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck], print_blob=False
)
@given(
    kinds=KINDS, encoder=ENCODERS, numeric=NUMERIC, middle=MIDDLE, final=FINAL, seed=st.integers(0, 2**16),
    threshold=st.sampled_from([0.0, 0.3, 1.0]), encode_numbers=st.booleans(), classes=st.integers(2, 3),
    data=st.data(),
)  # fmt: skip
def test_an_engine_is_exact_or_leaves_it_to_the_model(
    kinds: list[str], encoder: Any, numeric: Any, middle: str | None, final: Any, seed: int, threshold: float,
    encode_numbers: bool, classes: int, data: Any,
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    train = table(random, kinds, ROWS)
    encoded = [
        name
        for name in map(str, train)
        if name.split()[0] in ("text", *(["integer", "boolean"] if encode_numbers else []))
    ]
    numbers = [name for name in train if name not in encoded]
    parts = [("encoded", encoder, encoded)] * bool(encoded) + [("numbers", numeric, numbers)] * bool(numbers)
    columns = ColumnTransformer(data.draw(st.permutations(parts)), sparse_threshold=threshold)
    model = Pipeline([("columns", columns), *([("middle", STEPS[middle]())] if middle else []), ("model", final)])
    target = random.integers(0, classes, ROWS) if is_classifier(final) else random.normal(size=ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(train, target)
        except (ValueError, TypeError):  # no such model
            return
        choice, plan, columns_plan = chosen(model, train)
        served[choice.name] += 1
        if choice.proven is None:
            return
        for size, odd in ((1, False), (7, False), (1, True), (1, True), (1, True), (40, True)):
            rows = table(random, kinds, size, odd)
            records = rows.astype(object).where(rows.notna(), None).to_dict("records")
            mixed = columns_plan.conform(Batch(rows=records))
            assert mixed is not None
            try:
                labels, probabilities = choice.proven.engine.run(mixed, True)
            except Exception as error:  # the server asks the model
                assert isinstance(error, (Declined, ValueError, TypeError)), error  # noqa: PT017
                continue
            frame = plan.conform(columns_plan.batch_of(mixed))
            np.testing.assert_array_equal(labels, model.predict(frame))
            if probabilities is not None:
                np.testing.assert_array_equal(probabilities, model.predict_proba(frame))


if __name__ == "__main__":
    test_an_engine_is_exact_or_leaves_it_to_the_model()
    print(served)
