"""Bins, distances, tallies and windows: what holds for any data."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.drift import profile
from predictors.drift.profiles import DriftProfile, ProfileError, make_profile, parse_profile
from predictors.drift.psi import psi, psi_by_variable
from predictors.drift.span import WINDOW_PARTS, Span, parse_span
from predictors.drift.tally import NumberCounts, TextCounts, empty_tally, tally_rows
from predictors.drift.tap import MAX_REQUESTS, MAX_ROWS, Tap
from predictors.drift.variables import Variable, describe, kind_of
from predictors.drift.window import DriftWindow
from predictors.telemetry.metrics import exposition, publish_drift

numbers = st.floats(allow_nan=True, allow_infinity=True, width=64) | st.integers(-5, 5).map(float)
columns = st.lists(numbers, min_size=1, max_size=60)
counts = st.lists(st.integers(0, 10_000), min_size=3, max_size=3)
cells = st.none() | st.text(max_size=3) | st.integers(-3, 3) | st.floats() | st.booleans() | st.binary(max_size=2)


def array(values: list[int]) -> Any:
    return np.array(values, np.int64)


def of(values: Any, bins: int = 10) -> Variable:
    variable = describe("x", values, bins)
    assert variable is not None
    return variable


def read(content: dict[str, Any]) -> DriftProfile:
    return parse_profile(json.dumps(content))


# -- distance ---------------------------------------------------------------------------------------------------


@given(counts, counts)
def test_psi_is_symmetric_and_never_negative(one: list[int], other: list[int]) -> None:
    there, back = psi(array(one), array(other)), psi(array(other), array(one))
    if sum(one) and sum(other):
        assert there >= 0
        assert there == pytest.approx(back)
        assert psi(array(one), array(one)) == 0
    else:
        assert np.isnan(there)


def test_psi_of_known_shares() -> None:
    many = array([600_000, 300_000, 100_000]), array([400_000, 300_000, 300_000])
    expected = 0.2 * np.log(0.6 / 0.4) + 0.2 * np.log(0.3 / 0.1)
    assert psi(*many) == pytest.approx(expected, rel=1e-3)
    assert psi(array([10**6, 0]), array([950_000, 50_000])) == pytest.approx(0.05 * np.log(500) + 0.05**2, rel=0.01)


def test_bins_that_nobody_uses_change_nothing() -> None:
    """Not what is taken off for chance either."""
    assert psi(array([100, 100, 0, 0]), array([60, 30, 0, 0])) == psi(array([100, 100]), array([60, 30])) > 0


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=5))
def test_many_at_once_are_each_by_itself(pairs: list[tuple[list[int], list[int]]]) -> None:
    one, other = (array([count for pair in pairs for count in pair[side]]) for side in (0, 1))
    together = psi_by_variable(one, other, np.arange(len(pairs)) * 3)
    assert together == pytest.approx([psi(array(a), array(b)) for a, b in pairs], nan_ok=True)


def test_a_small_window_of_the_same_data_is_not_drift() -> None:
    random = np.random.default_rng(0)
    training = of(random.normal(size=5000))
    scores = [psi(training.counts, training.count(random.normal(size=200))) for _ in range(200)]
    assert np.mean(scores) < 0.03
    assert max(scores) < 0.2
    assert psi(training.counts, training.count(random.normal(1, 1, size=200))) > 0.5


# -- bins -------------------------------------------------------------------------------------------------------


@given(columns, st.integers(2, 20))
def test_every_number_is_in_one_bin(values: list[float], bins: int) -> None:
    variable = describe("x", np.array(values), bins)
    assert variable is not None
    assert variable.counts.sum() == len(values)
    assert variable.counts[-1] == np.isnan(values).sum()
    assert list(variable.edges) == sorted(set(variable.edges))
    assert psi(variable.counts, variable.count(values)) == 0
    assert read(profile({"x": values}, bins=bins)).features[0].counts.tolist() == variable.counts.tolist()


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=80))
def test_singles_are_in_the_bins_of_their_doubles(tenths: list[int]) -> None:
    doubles = np.array(tenths) / 10
    variable = of(doubles)
    assert variable.count(doubles.astype(np.float32)).tolist() == variable.counts.tolist()


def test_bins_hold_about_the_same() -> None:
    variable = of(np.random.default_rng(0).lognormal(size=10_000))
    assert len(variable.edges) == 9
    assert variable.counts[:-1].min() >= 990


@pytest.mark.parametrize("heavy", [0.0, 0.5, 1.0])
def test_a_number_that_fills_a_bin_has_it_alone(heavy: float) -> None:
    random = np.random.default_rng(0)
    values = np.where(random.random(10_000) < 0.6, heavy, random.random(10_000))
    variable = of(values)
    assert max(variable.counts) == pytest.approx(6000, abs=150)
    gone = variable.count(np.where(values == heavy, 0.51, values))
    assert psi(variable.counts, gone) > 1


def test_no_bin_holds_next_to_nothing() -> None:
    variable = of(np.array([0.0] + [5.0] * 600 + np.linspace(6, 7, 400).tolist()))
    assert variable.counts[:-1].min() > 1001 / 10 / 4


@pytest.mark.parametrize("values", [[3.0] * 50, [0.0] * 50, [1e9] * 50, [-1e300] * 5, [0.1] * 9])
def test_a_constant_that_changes_has_drifted(values: list[float]) -> None:
    variable = of(np.array(values))
    assert psi(variable.counts, variable.count(values)) == 0
    more = variable.counts * 100, variable.count([values[0] + abs(values[0]) / 100 + 0.01] * 5000)
    assert psi(*more) > 1


def test_a_number_that_is_an_edge_belongs_below() -> None:
    """As the report labels the bins."""
    assert Variable("x", "number", array([0] * 4), (1.0, 2.0)).count([1.0, 2.0, 2.5, np.inf]).tolist() == [1, 1, 2, 0]


def test_few_numbers_have_a_bin_each_and_others_none_of_them() -> None:
    variable = of(np.array([1, 2, 5] * 100))
    assert variable.counts.tolist() == [0, 100, 100, 100, 0, 0]
    assert variable.count([0, 9, 1, None]).tolist() == [1, 1, 0, 0, 1, 1]


# -- types ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], "number"),
        ([Decimal("1.25"), None], "number"),
        ([True, None, False], "boolean"),
        (["a", None], "category"),
        (["a", 1], "category"),
        ([date(2024, 1, 2)], "datetime"),
        (["2024-01-02", "2024-01-02T10:00:00Z"], "datetime"),
        ([[1], [2]], None),
        ([b"x"], None),
        ([None, float("nan")], None),
        (pd.Series([1, None], dtype="Int64"), "number"),
        (pd.Series(["a"], dtype="category"), "category"),
        (pd.Series([True, None], dtype="boolean"), "boolean"),
        (pd.Series(pd.to_datetime(["2024-01-01"])).dt.tz_localize("UTC"), "datetime"),
    ],
    ids=str,
)
def test_kinds(values: Any, kind: str | None) -> None:
    assert kind_of(values) == kind


@given(st.lists(cells, min_size=1, max_size=30))
def test_whatever_comes_is_counted_once(values: list[Any]) -> None:
    for trained in ([1.0, 2.0, 3.5], ["a", "b", None], [True, False], ["2024-01-01", "2024-02-01"]):
        assert of(trained).count(values).sum() == len(values)


def test_tables_of_pandas_own_types() -> None:
    frame = pd.DataFrame({"n": [1, None, 3], "b": [True, None, False], "s": ["a", None, "b"]}).convert_dtypes()
    variables = make_profile(frame).features
    assert [one.kind for one in variables] == ["number", "boolean", "category"]
    assert [int(one.counts[-1]) for one in variables] == [1, 1, 1]


def test_lists_and_numbers_beyond_all_are_no_numbers() -> None:
    profile = make_profile({"x": np.arange(100.0), "y": np.arange(100.0)})
    for odd in ([[1, 2], [3, 4]], [10**400, 1]):
        tallied = tally_rows(profile, 2, {"x": odd, "y": [1, 2]}, {"o": np.array([[1, 2], [3, 4]], object)})
        assert [int(part.sum()) for part in np.split(tallied.bins, profile.starts[1:])] == [2, 2]


def test_categories() -> None:
    variable = of(["b"] * 5 + ["a"] * 5 + ["c"] + [None] * 2)
    assert (variable.values, variable.counts.tolist()) == (("a", "b", "c"), [5, 5, 1, 0, 2])
    assert variable.count(["a", "new", None, "newer"]).tolist() == [1, 0, 0, 2, 1]
    many = of([f"v{i}" for i in range(50)])
    assert (len(many.values), many.counts[-2]) == (20, 30)
    assert of([True, False, True]).count(np.array([1.0, True, False])).tolist() == [0, 0, 3, 0]
    assert of([True, False, True]).count([True, None, "true"]).tolist() == [2, 0, 0, 1]


def test_times_are_counted_however_they_are_written() -> None:
    variable = of(pd.Series(pd.date_range("2024-01-01", periods=100, tz="UTC")))
    texts = [moment.isoformat() for moment in pd.date_range("2024-01-01", periods=100)]
    assert variable.count(texts).tolist() == variable.counts.tolist()
    assert variable.count(np.array(texts, "datetime64[ns]")).tolist() == variable.counts.tolist()
    assert variable.count(["no time", None, texts[0].encode()]).tolist()[-1] == 2


# -- profiles ---------------------------------------------------------------------------------------------------


def test_a_profile_is_small_and_reads_back() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{i}": random.normal(size=1000) for i in range(30)})
    document = profile(frame, {"predictions": np.ones(1000, int), "probabilities": random.random((1000, 3))})
    assert len(json.dumps(document)) < 20_000
    parsed = read(document)
    assert parsed.as_json() == document
    assert [one.name for one in parsed.outputs] == ["predictions", *(f"probabilities[{i}]" for i in range(3))]
    assert parsed.rows == 1000


@pytest.mark.parametrize(
    ("predictions", "names"),
    [
        ([1, 2], ["predictions"]),
        (np.array([[1], [2]]), ["predictions"]),
        (np.array([[1, 2], [2, 3]]), ["predictions[0]", "predictions[1]"]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), ["a", "b"]),
        (None, []),
    ],
    ids=["list", "column", "matrix", "table", "none"],
)
def test_names_of_outputs(predictions: Any, names: list[str]) -> None:
    assert [one.name for one in read(profile({"x": [1, 2]}, predictions)).outputs] == names


GOOD = profile({"x": [1.0, 2.0, 3.0], "c": ["a", "b", "a"]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 2, expected 1"),
        ({"format": "other"}, 'no "format"'),
        ({"features": {"x": {"kind": "number", "edges": [2, 1], "counts": [1, 1, 1], "missing": 0}}}, "'x'"),
        ({"features": {"x": {"kind": "number", "edges": [1], "counts": [1], "missing": 0}}}, "'x'"),
        ({"features": {"x": {"kind": "mood"}}}, "of kind 'mood'"),
        ({"features": {"x": {"kind": "number"}}}, "KeyError"),
        ({"features": [1]}, "AttributeError"),
        ({"rows": None}, "TypeError"),
        ({"features": {"x": {"kind": "number", "edges": [float("nan")], "counts": [1, 1], "missing": 0}}}, "'x'"),
        ({"features": {"x": {"kind": "number", "edges": [1], "counts": [10**30, 1], "missing": 0}}}, "OverflowError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_profile_that_cannot_be_used_says_so(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ProfileError, match=words) as caught:
        read({**GOOD, **change})
    assert "\n" not in str(caught.value)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_no_content_breaks_the_reader(content: Any) -> None:
    for place in ("features", "outputs", "rows"):
        try:
            read({**GOOD, place: content})
        except ProfileError:
            pass


# -- tallies and windows ----------------------------------------------------------------------------------------

tables = st.lists(st.tuples(numbers, st.sampled_from(["a", "b", None, "new"]), st.integers(0, 3)), max_size=20)


def tally(rows: list[tuple[float, str | None, int]]) -> Any:
    known = read(profile({"x": [1.0, 2.0, 3.0], "c": ["a", "b", "a"]}, [0, 1, 2]))
    features = {"x": [row[0] for row in rows], "c": [row[1] for row in rows]}
    labels = np.array([row[2] for row in rows], np.int64)
    return tally_rows(known, len(rows), features, {"predictions": labels, "x": np.array(features["x"], float)})


def shown(tallied: Any) -> Any:
    spreads = {name: (one.numbers.tolist(), one.counts.tolist()) for name, one in tallied.outputs.items() if one.rows}
    return tallied.rows, tallied.bins.tolist(), spreads


@given(tables, tables)
def test_tallies_of_parts_are_the_tally_of_the_whole(one: Any, other: Any) -> None:
    assert shown(tally(one) + tally(other)) == shown(tally(one + other))


@given(st.lists(st.lists(st.text(max_size=2), max_size=5), max_size=5))
def test_texts_add_up(parts: list[list[str]]) -> None:
    total = TextCounts()
    for part in parts:
        total = total + TextCounts.of(part)
    assert total == TextCounts.of(value for part in parts for value in part)


def test_of_free_text_nothing_is_kept() -> None:
    assert TextCounts.of(["x" * 65]).discarded
    assert TextCounts.of(map(str, range(101))).discarded
    assert TextCounts.of(map(str, range(100))).rows == 100
    assert (TextCounts.of(map(str, range(60))) + TextCounts.of(map(str, range(60, 120)))).counts == {}


def test_labels_that_no_text_can_hold_do_not_end_the_page() -> None:
    shares: dict[tuple[str, ...], float] = {
        ("odd", "1", "predictions", "\ud800"): 0.5,
        ("odd", "1", "predictions", 'a"\n'): 0.5,
    }
    publish_drift("odd", {"prediction_share": shares})
    try:
        page = exposition("text/plain")[0].decode()
    finally:
        publish_drift("odd", {})
    assert 'value="?"' in page
    assert 'value="a\\"\\n"' in page


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200), st.sampled_from([0.05, 0.5, 0.95]))
def test_quantiles_are_those_of_the_numbers(values: list[float], share: float) -> None:
    (quantile,) = NumberCounts.of(np.array(values), False).quantiles([share])
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    assert quantile == pytest.approx(exact, rel=6e-4, abs=1e-300)


def test_few_whole_numbers_are_classes() -> None:
    assert NumberCounts.of(np.array([0, 1, 1.0]), True).classes == {"0": 1, "1": 2}
    assert NumberCounts.of(np.arange(50.0), True).classes is None
    assert NumberCounts.of(np.array([0, 1, 1.0]), False).classes is None


def test_a_window_slides_by_time() -> None:
    clock = [0.0]
    window = DriftWindow(Span(seconds=30), empty_tally(None), lambda: clock[0])
    for second in range(100):
        clock[0] = float(second)
        window.add(tally_rows(None, 10, {}, {"y": np.full(10, float(second))}))
        window.add(tally_rows(None, 0, {}, {}))  # more often than the window has parts
    total = window.total()
    assert total.rows == pytest.approx(300, abs=20)
    counts = total.outputs["y"]
    assert isinstance(counts, NumberCounts)
    assert min(counts.numbers) == pytest.approx(70, abs=2)
    assert len(window.finished) <= WINDOW_PARTS + 1
    clock[0] = 200
    assert window.total().rows == 0


def test_a_window_slides_by_rows() -> None:
    window = DriftWindow(Span(rows=300), empty_tally(None), lambda: 0.0)
    for number in range(100):
        window.add(tally_rows(None, 10, {}, {"y": np.full(10, float(number))}))
    total = window.total()
    assert 300 <= total.rows <= 320
    counts = total.outputs["y"]
    assert isinstance(counts, NumberCounts)
    assert min(counts.numbers) == pytest.approx(70, abs=2)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("900", Span(900.0)),
        ("15m", Span(900.0)),
        ("1h", Span(3600.0)),
        ("2d", Span(172800.0)),
        ("500rows", Span(rows=500)),
    ],
)
def test_windows_as_written(written: str, meant: Span) -> None:
    assert parse_span(written) == meant


@pytest.mark.parametrize("written", ["", "0", "-5", "h", "5rows", "xrows", "nan", "inf", "1.5rows"])
def test_no_windows(written: str) -> None:
    with pytest.raises(ValueError):
        parse_span(written)


# -- the sample -------------------------------------------------------------------------------------------------


def pour(tap: Tap, requests: int, rows: int = 1) -> list[Any]:
    matrix = np.zeros((rows, 2))
    for number in range(requests):
        matrix = np.full((rows, 2), float(number))
        tap.sample_rows(matrix, (matrix[:, 0], None))
    return tap.drain(1.0)[0]


def test_few_requests_are_all_taken() -> None:
    tap = Tap()
    for _ in range(5):
        assert len(pour(tap, 200)) == 200


def test_of_many_requests_an_even_sample_is_taken() -> None:
    tap = Tap()
    for _ in range(3):
        pour(tap, 30_000)
    sample = pour(tap, 30_000)
    assert len(sample) == pytest.approx(MAX_REQUESTS, rel=0.3)
    places = np.array([rows[0, 0] for rows, _ in sample])
    assert np.histogram(places, 5, (0, 30_000))[0].min() > MAX_REQUESTS / 5 * 0.6
    assert 0.3 < np.mean(places % 2) < 0.7  # whoever alternates is seen both ways
    for _ in range(12):
        pour(tap, 100)
    assert len(pour(tap, 100)) == 100


def test_of_large_requests_few_rows_are_taken() -> None:
    tap = Tap()
    for _ in range(3):
        pour(tap, 100, 2000)
    # Which are taken is left to chance: some more than the five that are expected.
    assert sum(len(rows) for rows, _ in pour(tap, 100, 2000)) <= 4 * MAX_ROWS
