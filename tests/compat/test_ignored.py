"""What a model does not take is ignored as on MLflow's server, but visibly; `--strict-input` refuses it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from predictors.pipeline.ignored_log import IgnoredLog
from predictors.protocol.csv_table import decode_csv
from predictors.protocol.ignored import Ignored
from predictors.protocol.parquet_table import decode_parquet, unfolded_size
from predictors.protocol.tables import TableColumns
from predictors.runtime.log_throttle import LOG_INTERVAL
from tests.serving import Running, in_thread

ROW = [91.5, 1.05, 41, 0.9]
RECORD = dict(zip(("temperature", "vibration", "months_since_service", "load"), ROW, strict=True))
MORE: list[tuple[dict[str, Any], str]] = [
    ({"dataframe_records": [{**RECORD, "site": "b"}]}, "column=site"),
    ({"instances": [{**RECORD, "a b": 1}], "model": "m"}, "key=model, column=a%20b"),
    ({"inputs": [ROW], "params": {"top_k": 1}}, "param=top_k"),
    ({"dataframe_records": [{**RECORD, "ü\n": 1}]}, "column=%C3%BC%0A"),
    ({"inputs": [ROW], "é" * 300: 1}, "key=" + "%C3%A9" * 100),
]


@pytest.fixture(scope="module")
def strict() -> Iterator[Running]:
    with in_thread(None, strict_input=True) as server:
        yield server


@pytest.mark.parametrize(("body", "header"), MORE, ids=[header[:20] for _, header in MORE])
def test_the_reply_says_what_was_ignored(demo: Running, strict: Running, body: dict[str, Any], header: str) -> None:
    response = demo.post("/invocations", body)
    assert (response.status_code, response.json(), response.headers["x-ignored"]) == (200, {"predictions": [1]}, header)
    refused = strict.post("/invocations", body)
    assert (refused.status_code, "unknown" in refused.json()["message"]) == (400, True), refused.text


def test_nothing_ignored_is_nothing_said(demo: Running) -> None:
    assert "x-ignored" not in demo.post("/invocations", {"inputs": [ROW]}).headers


def test_files_are_read_without_what_is_ignored(demo: Running, strict: Running) -> None:
    frame, file = pd.DataFrame([{"note": "x", **RECORD, "site": [1, 2]}]), io.BytesIO()
    frame.to_parquet(file)
    for content, kind in (
        (frame.to_csv(index=False).encode(), "text/csv"),
        (file.getvalue(), "application/vnd.apache.parquet"),
    ):
        headers = {"Content-Type": kind}
        response = demo.post("/invocations", content=content, headers=headers)
        assert (response.json(), response.headers["x-ignored"]) == ({"predictions": [1]}, "column=note, column=site")
        assert strict.post("/invocations", content=content, headers=headers).status_code == 400


def test_ignored_columns_of_files_take_no_memory() -> None:
    file = io.BytesIO()
    pd.DataFrame({"x": [1.0] * 1000, "text": ["long " * 1000] * 1000, "list": [[1.5] * 100] * 1000}).to_parquet(file)

    def only_x(names: Any) -> list[str]:
        return [name for name in names if name == "x"]

    columns = TableColumns(select=only_x, ignored=Ignored(column=["text", "list"]))
    assert unfolded_size(file.getvalue(), columns, 20_000) < 20_000
    assert list(decode_parquet(file.getvalue(), columns).columns or {}) == ["x"]
    assert decode_csv(b"x,text\n1,a\n", columns).columns.keys() == {"x"}  # type: ignore[union-attr]


@pytest.mark.parametrize("body", [{"dataframe_records": [{**RECORD, "load": "0.9"}]}, {"inputs": [[*ROW[:3], True]]}])
def test_casts_are_refused_too(demo: Running, strict: Running, body: dict[str, Any]) -> None:
    assert demo.post("/invocations", body).status_code == 200
    assert strict.post("/invocations", body).status_code == 400


def test_other_protocols_ignore_nothing(demo: Running) -> None:
    assert demo.predict({"instances": [{**RECORD, "site": "b"}]}).status_code == 400
    assert demo.predict({"instances": [ROW], "parameters": {"top_k": 1}}).status_code == 400


def test_it_is_counted(demo: Running) -> None:
    def count() -> float:
        lines = demo.get("/metrics").text.splitlines()
        name = 'model_requests_with_ignored_inputs_total{kind="key",model_name="model"} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = count()
    demo.post("/invocations", {"inputs": [ROW], "model": "m"})
    assert count() == before + 1


def test_one_line_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("predictors.runtime.log_throttle.time.monotonic", lambda: now)
    ignored_log = IgnoredLog("quiet")
    with caplog.at_level(logging.WARNING, "predictors"):
        for _ in range(3):
            ignored_log.note(Ignored(column=["a", "b"]))
        assert len(caplog.records) == 1
        now += LOG_INTERVAL
        ignored_log.note(Ignored(param=["c"]))
    assert ["column 'a', 'b'" in caplog.messages[0], "3 requests to /invocations: param 'c'" in caplog.messages[1]] == [
        True,
        True,
    ]


def test_literals_that_are_not_json(demo: Running, strict: Running) -> None:
    body = b'{"dataframe_records": [{"temperature": NaN, "vibration": 1, "months_since_service": 1, "load": Infinity}]}'
    headers = {"Content-Type": "application/json"}
    # The model itself takes neither: it is asked, and its refusal names them.
    assert "NaN" in demo.post("/invocations", content=body, headers=headers).text
    for server, path in ((strict, "/invocations"), (demo, "/v1/models/model:predict")):
        refused = server.post(path, content=body, headers=headers)
        assert (refused.status_code, "JSON has no NaN" in refused.text) == (400, True)
    for broken in (b'{"inputs": [NaN, "\\ud800"]}', b'{"inputs": ' + b"[" * 100_000 + b"NaN", b'{"inputs": [NaN}'):
        assert demo.post("/invocations", content=broken, headers=headers).status_code == 400


def test_a_required_column_is_still_missing(demo: Running) -> None:
    response = demo.post("/invocations", {"dataframe_records": [{"temperatur": 1.5}]})
    assert "missing required inputs 'temperature'" in response.json()["message"]


def test_scalars_for_many_rows_are_bounded(demo: Running) -> None:
    inputs: dict[str, Any] = {"x": [1] * 5000, **{f"c{i}": 1 for i in range(1000)}}
    response = demo.post("/invocations", {"inputs": inputs})
    assert (response.status_code, "1000 inputs have one value for 5000 rows" in response.text) == (400, True)


def test_an_example_with_lines_of_base64_is_read(tmp_path: Path) -> None:
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from tests.zoo.python import model, save

    signature = ModelSignature(inputs=Schema([ColSpec("binary", "data")]))
    example = pd.DataFrame({"data": [b"x" * 90]})
    save(tmp_path / "m", model("return [len(data) for data in model_input['data']]"), signature=signature, input_example=example)  # fmt: skip
    assert mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(example) == [90]
    with in_thread(tmp_path / "m") as server:
        sample = server.get("/schema").json()["samples"]["invocations"]
        assert server.post(sample["path"], sample["body"]).json() == {"predictions": [90]}
