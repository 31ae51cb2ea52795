"""Drift of a served model: what its metrics say after traffic like that in training, and unlike it."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import mlflow
import numpy as np
import pandas as pd
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from mlflow.models import infer_signature
from prometheus_client.parser import text_string_to_metric_families
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from predictors.drift import PROFILE_FILE, attach, profile
from predictors.drift.span import Span
from tests.registry import MLFLOW_VARIABLES, mlflow_server
from tests.serving import Running, in_thread, process, wait_for, workers_of
from tests.zoo.case import PIP, labels, mixed, numbers

ROWS = 600
OFTEN: dict[str, Any] = {"drift_interval": 0.06, "drift_window": Span(rows=ROWS)}
DRIFT = ("model_feature_", "model_prediction_psi", "model_drift", "model_prediction_quantile", "model_prediction_share")
Send = Callable[[Running, pd.DataFrame], None]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


# -- models and traffic -----------------------------------------------------------------------------------------


def saved(folder: Path, model: Any, data: pd.DataFrame) -> Path:
    mlflow.sklearn.save_model(model, folder, signature=infer_signature(data, model.predict(data)), **PIP)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four columns of doubles; every request may take the short way."""
    data = numbers(3000)
    model = LogisticRegression().fit(data, labels(data))
    folder = saved(tmp_path_factory.mktemp("drift") / "classifier", model, data)
    attach(profile(data, {"predictions": model.predict(data), "probabilities": model.predict_proba(data)}), folder)
    return folder


@pytest.fixture(scope="module")
def assorted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Columns of several types, so that every request takes the long way."""
    data = mixed(3000)
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city", "member"]), remainder="passthrough"
    )
    model = make_pipeline(encoded, LinearRegression()).fit(data, data.amount * 2)
    folder = saved(tmp_path_factory.mktemp("drift") / "assorted", model, data)
    attach(profile(data, model.predict(data)), folder)
    return folder


def parts(data: pd.DataFrame, rows: int) -> Iterator[pd.DataFrame]:
    for begin in range(0, len(data), rows):
        yield data.iloc[begin : begin + rows]


def v1_rows(server: Running, data: pd.DataFrame) -> None:
    assert server.predict({"instances": data.to_numpy().tolist()}).status_code == 200


def v1_records(server: Running, data: pd.DataFrame) -> None:
    assert server.predict({"instances": data.to_dict("records")}).status_code == 200


def v1_nulls(server: Running, data: pd.DataFrame) -> None:
    v1_records(server, data.astype(object).where(data.notna(), None))


def v1_alone(server: Running, data: pd.DataFrame) -> None:
    reply = server.predict({"instances": data.to_numpy().tolist(), "parameters": {"probabilities": False}})
    assert reply.status_code == 200


def v2_columns(server: Running, data: pd.DataFrame) -> None:
    kinds = {"f": "FP64", "i": "INT64", "b": "BOOL", "O": "BYTES"}
    inputs = [
        {"name": name, "shape": [len(data)], "datatype": kinds[values.dtype.kind], "data": values.tolist()}
        for name, values in data.items()
    ]
    assert server.infer({"inputs": inputs}).status_code == 200


def v2_matrix(server: Running, data: pd.DataFrame) -> None:
    tensor = {"name": "x", "shape": list(data.shape), "datatype": "FP64", "data": data.to_numpy().tolist()}
    assert server.infer({"inputs": [tensor]}).status_code == 200


def invocations(server: Running, data: pd.DataFrame) -> None:
    body = {"dataframe_split": data.to_dict("split", index=False)}
    assert server.post("/invocations", body).status_code == 200


def csv(server: Running, data: pd.DataFrame) -> None:
    headers = {"content-type": "text/csv"}
    assert server.client.post("/invocations", content=data.to_csv(index=False), headers=headers).status_code == 200


def over_grpc(server: Running, data: pd.DataFrame) -> None:
    request = pb.ModelInferRequest(model_name=server.name)
    for name, values in data.items():
        tensor = request.inputs.add(name=str(name), shape=[len(data)])
        if values.dtype.kind == "O":
            tensor.datatype = "BYTES"
            tensor.contents.bytes_contents.extend(value.encode() for value in values)
        elif values.dtype.kind == "b":
            tensor.datatype = "BOOL"
            tensor.contents.bool_contents.extend(values)
        elif values.dtype.kind == "i":
            tensor.datatype = "INT64"
            tensor.contents.int64_contents.extend(values)
        else:
            tensor.datatype = "FP64"
            tensor.contents.fp64_contents.extend(values)
    with grpc.insecure_channel(server.grpc) as channel:
        GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)


# -- what the metrics say ---------------------------------------------------------------------------------------


def readings(server: Running) -> dict[tuple[str, str], float]:
    """By metric and whatever it is about."""
    gauges = {}
    for family in text_string_to_metric_families(server.get("/metrics").text):
        for sample in family.samples:
            if sample.name.startswith(DRIFT) and sample.labels["model_name"] == server.name:
                labels = {name: value for name, value in sample.labels.items() if name not in ("model_name", "pid")}
                version = labels.pop("model_version")
                gauges[sample.name, ":".join(labels.values()) or version] = sample.value
    return gauges


def window(server: Running) -> float:
    return next((rows for (name, _), rows in readings(server).items() if name == "model_drift_window_rows"), 0.0)


def settled(server: Running, rows: int) -> dict[tuple[str, str], float]:
    """What is said once so many rows are in the window and no old ones."""
    wait_for(lambda: window(server) >= rows, seconds=20)
    return readings(server)


def until(
    server: Running, data: pd.DataFrame, send: Send, right: Callable[[dict[tuple[str, str], float]], bool]
) -> None:
    """Sends rows until the metrics are as they should be."""
    rows = itertools.cycle(parts(data, 150))

    def is_right() -> bool:
        send(server, next(rows))
        return right(readings(server))

    wait_for(is_right, seconds=30)


def drifted(gauges: dict[tuple[str, str], float], limit: float = 0.2) -> set[str] | None:
    """The inputs that have, if anything is said of them."""
    known = {name: value for (metric, name), value in gauges.items() if metric == "model_feature_psi"}
    return {name for name, value in known.items() if value > limit} if known else None


SHORT = [v1_rows, v1_records, v1_alone, v2_columns, v2_matrix, invocations, csv, over_grpc]
LONG = [v1_records, v2_columns, invocations, csv, over_grpc]


def test_every_protocol_shows_a_shift(classifier: Path) -> None:
    with in_thread(classifier, model_name="classifier", **OFTEN) as server:
        for send in SHORT:
            usual = numbers(2000, 1)
            until(server, usual, send, lambda gauges: drifted(gauges) == set())
            assert readings(server)["model_prediction_psi", "predictions"] < 0.2
            until(
                server, usual.assign(a=usual.a + 1), send,
                lambda gauges: drifted(gauges) == {"a"} and gauges["model_prediction_psi", "predictions"] > 0.1,
            )  # fmt: skip


def test_columns_of_every_type_show_a_shift(assorted: Path) -> None:
    usual = mixed(2000, 1)
    changes: list[tuple[str, str | float]] = [
        ("city", "Bonn"),
        ("count", 12),
        ("member", True),
        ("amount", 3.0),
        ("city", "Ulm"),
    ]
    with in_thread(assorted, model_name="assorted", **OFTEN) as server:
        for send, (name, value) in zip(LONG, changes, strict=True):
            until(server, usual, send, lambda gauges: drifted(gauges) == set())
            until(server, usual.assign(**{name: value}), send, lambda gauges: drifted(gauges) == {name})  # noqa: B023
        assert ("model_prediction_psi", "predictions") in readings(server)


def test_missing_values_are_seen(zoo: Callable[[str], Path]) -> None:
    model = zoo("pyfunc-datetime-binary-optional")
    usual = pd.DataFrame({"at": ["2024-01-01T00:00:00"] * 50, "data": ["AAAA"] * 50, "maybe": [1.5, 2.5] * 25})

    def share(gauges: dict[tuple[str, str], float]) -> float:
        return gauges.get(("model_feature_missing_ratio", "maybe"), -1)

    with in_thread(model, model_name="missing", drift="on", drift_baseline_rows=100, **OFTEN) as server:
        until(server, usual, v1_records, lambda gauges: share(gauges) == 0)
        until(server, usual.drop(columns="maybe"), v1_records, lambda gauges: share(gauges) == 1)
        assert readings(server)["model_feature_psi", "maybe"] > 1
        until(server, usual.assign(maybe=[np.nan, 1.5] * 25), v1_nulls, lambda gauges: share(gauges) == 0.5)
        assert readings(server)["model_feature_missing_ratio", "at"] == 0


def test_outputs_are_described_whatever_the_profile_says(classifier: Path, assorted: Path) -> None:
    with in_thread(classifier, model_name="shares", **OFTEN) as server:
        data = numbers(300, 5)
        v1_rows(server, data)
        gauges = settled(server, 300)
        share = gauges["model_prediction_share", "predictions:1"]
        assert share + gauges["model_prediction_share", "predictions:0"] == pytest.approx(1)
        assert share == pytest.approx(labels(data).mean(), abs=0.03)
        model = mlflow.sklearn.load_model(str(classifier))
        middle = np.median(model.predict_proba(data)[:, 1])
        assert gauges["model_prediction_quantile", "probabilities[1]:0.5"] == pytest.approx(middle, rel=0.02)
        assert ("model_prediction_quantile", "predictions:0.5") not in gauges


def test_few_rows_say_nothing(classifier: Path) -> None:
    with in_thread(classifier, model_name="few", **OFTEN) as server:
        v1_rows(server, numbers(199))
        assert settled(server, 199) == {("model_drift_window_rows", readings_version(server)): 199}
        v1_rows(server, numbers(1))
        assert len(settled(server, 200)) > 10


def readings_version(server: Running) -> str:
    version: str = server.get(f"/v1/models/{server.name}").json()["version"]
    return version


def test_nothing_is_measured_that_nobody_wants(classifier: Path) -> None:
    for model, drift in ((classifier, "off"), (None, "auto")):
        with in_thread(model, model_name=f"quiet-{drift}", drift=drift, drift_interval=0.1) as server:
            assert server.predict({"instances": [[1.0, 1, 1, 1]] * 300}).status_code == 200
            assert not any(thread.name == "drift" for thread in threading.enumerate())
            assert readings(server) == {}


def test_who_does_not_measure_does_not_import_it() -> None:
    script = "import sys, predictors.serving, predictors.telemetry.metrics\n"
    script += "assert not {'predictors.drift.state', 'predictors.drift.profiles'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60).returncode == 0


def test_first_rows_as_the_baseline() -> None:
    random = np.random.default_rng(0)
    usual = pd.DataFrame(
        {
            "temperature": random.normal(70, 10, 2000),
            "vibration": random.random(2000),
            "months_since_service": random.integers(0, 60, 2000),
            "load": random.random(2000),
        }
    )
    with in_thread(None, model_name="first", drift="on", drift_baseline_rows=500, **OFTEN) as server:
        until(server, usual, v1_rows, lambda gauges: drifted(gauges) == set())
        until(
            server, usual.assign(temperature=usual.temperature + 15), v1_rows,
            lambda gauges: drifted(gauges) == {"temperature"},
        )  # fmt: skip


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="profile"),
        pytest.param(("--drift", "on", "--drift-baseline-rows", "400"), id="first-rows", marks=pytest.mark.slow),
    ],
)
def test_workers_are_measured_together(classifier: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    model = classifier
    if flags:
        model = saved(tmp_path / "bare", LogisticRegression().fit(numbers(), labels(numbers())), numbers())
    settings = ("--workers", "2", "--model-uri", str(model), "--drift-interval", "0.2", *flags)
    with process(tmp_path, *settings) as server:
        running, sent = server.running, 0

        def rows() -> float:
            nonlocal sent
            running.client.headers["connection"] = "close"  # so that it is anybody's turn
            for part in parts(numbers(400, sent + 1), 20):
                v1_rows(running, part)
                sent += len(part)
            return window(running)

        if flags:
            wait_for(lambda: rows() > 0 and ("model_feature_psi", "a") in readings(running))
        else:
            rows()
            wait_for(lambda: window(running) == 400)
        before = readings(running)
        assert before["model_feature_psi", "a"] < 0.15
        assert len(workers_of(server)) == 2
        shifted = numbers(4000, 7) + 1
        for part in parts(shifted, 100):
            v1_rows(running, part)
        wait_for(lambda: readings(running)["model_feature_psi", "a"] > 0.3)

        def told() -> str:
            return json.dumps(sorted((*key, value) for key, value in readings(running).items()))

        # Whoever of the two is asked says the same, once nothing is renewed in between.
        wait_for(lambda: len({told() for _ in range(6)}) == 1)


@pytest.mark.slow
def test_a_logged_model_is_found_with_its_profile_and_reloaded_with_another(tmp_path: Path) -> None:
    data = numbers(3000)[["a", "b"]]
    model = LinearRegression().fit(data, data.a)
    signature = infer_signature(data, model.predict(data))
    with mlflow_server(tmp_path) as uri:
        client = mlflow.MlflowClient(uri)
        mlflow.set_tracking_uri(uri)
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(model, name="m", signature=signature, **PIP)
        attach(profile(data, model.predict(data)), info.model_uri)
        mlflow.register_model(info.model_uri, "m")
        with mlflow.start_run():
            known = {"drift_profile": profile(data + 5)}
            mlflow.sklearn.log_model(
                model, name="m", signature=signature, metadata=known, registered_model_name="m", **PIP
            )
        client.set_registered_model_alias("m", "champion", "1")
        settings = {"tracking_uri": uri, "model_name": "logged", **OFTEN}
        with in_thread("models:/m@champion", **settings) as server:
            v1_rows(server, numbers(400, 1)[["a", "b"]])
            gauges = settled(server, 400)
            assert gauges["model_drift_window_rows", "1"] == 400
            assert gauges["model_feature_psi", "a"] < 0.1
            assert gauges["model_prediction_psi", "predictions"] < 0.1
            client.set_registered_model_alias("m", "champion", "2")
            assert server.post("/v2/repository/models/logged/load").status_code == 200
            wait_for(lambda: readings(server) == {("model_drift_window_rows", "2"): 0})
            v1_rows(server, numbers(400, 2)[["a", "b"]])
            gauges = settled(server, 400)
            assert gauges["model_feature_psi", "a"] > 1
            assert ("model_prediction_psi", "predictions") not in gauges
            assert server.post("/v2/repository/models/logged/revert").status_code == 200
            wait_for(lambda: readings(server).get(("model_drift_window_rows", "1")) == 400)
            assert server.post("/v2/repository/models/logged/unload").status_code == 200
            wait_for(lambda: readings(server) == {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ('{"format": "mlflow-kserve drift profile", "version": 9}', "has version 9, expected 1"),
        ("[]", 'has no "format"'),
    ],
    ids=["broken", "later", "other"],
)
def test_a_broken_profile_does_not_keep_a_model_from_serving(
    classifier: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, words: str
) -> None:
    folder = saved(tmp_path / "model", LinearRegression().fit(numbers(), numbers().a), numbers())
    (folder / PROFILE_FILE).write_text(content)
    with caplog.at_level(logging.WARNING, "predictors"), in_thread(folder, model_name="broken", **OFTEN) as server:
        v1_rows(server, numbers(300))
        assert readings(server) == {}
    warnings = [one.getMessage() for one in caplog.records if "drift" in one.getMessage()]
    assert [words in one and "\n" not in one for one in warnings] == [True]


def test_columns_that_the_model_does_not_take_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = numbers(500)
    folder = saved(tmp_path / "model", LinearRegression().fit(data[["a", "b"]], data.a), data[["a", "b"]])
    attach(profile(data[["b", "c", "d"]], {"score": data.a, "predictions": data.a}), folder)
    with caplog.at_level(logging.INFO, "predictors"), in_thread(folder, model_name="others", **OFTEN) as server:
        v1_rows(server, data[["a", "b"]].head(300))
        gauges = settled(server, 300)
        assert {what for metric, what in gauges if metric == "model_feature_psi"} == {"b"}
    told = [one.getMessage() for one in caplog.records if one.getMessage().startswith("drift is not measured")]
    assert len(told) == 3
    assert "for 'score', which are not outputs of the model; it has predictions" in told[0]
    assert "'c', 'd', which are not inputs of the model" in told[1]
    assert "'a'" in told[2]


def test_many_columns_are_bounded(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    data = pd.DataFrame(random.normal(size=(300, 130)), columns=[f"x{i}" for i in range(130)])
    folder = saved(tmp_path / "wide", LinearRegression().fit(data, data.x0), data)
    attach(profile(data), folder)
    with in_thread(folder, model_name="wide", **OFTEN) as server:
        v1_rows(server, data)
        gauges = settled(server, 300)
        assert sum(metric == "model_feature_psi" for metric, _ in gauges) == 100


def test_hooks_of_a_subclass_are_measured_with_what_they_hand_over(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def preprocess(self: Any, payload: Any, headers: Any = None) -> Any:
        return {**payload, "instances": [[row[0] + 2, *row[1:]] for row in payload["instances"]]}

    monkeypatch.setattr("predictors.sklearn.SklearnModel.preprocess", preprocess)
    with in_thread(classifier, model_name="hooked", **OFTEN) as server:
        v1_rows(server, numbers(300, 3))
        gauges = settled(server, 300)
        assert gauges["model_feature_psi", "a"] > 1
        assert gauges["model_feature_psi", "b"] < 0.1


class Odd(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Answers now and then what no reply can hold."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        return [object()] if model_input.a[0] < 0 else model_input.a.tolist()


def test_a_request_that_cannot_be_counted_is_left_out_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = numbers(300)[["a"]].abs()
    signature = infer_signature(data, data.a)
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Odd(), signature=signature, pip_requirements=[])
    attach(profile(data, data.a), tmp_path / "m")
    with in_thread(tmp_path / "m", model_name="odd", **{**OFTEN, "drift_interval": 0.5}) as server:
        for part in parts(data, 100):
            assert server.predict({"instances": [{"a": -1.0}]}).status_code == 500
            v1_records(server, part)
        assert settled(server, 300)["model_feature_psi", "a"] == 0
    assert caplog.text.count("a request cannot be counted, and is left out") == 1


def test_a_profile_goes_only_beside_a_model(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no file named MLmodel"):
        attach(profile(numbers()), tmp_path)
    with pytest.raises(Exception, match="expected a folder, models:/m-… or runs:"):
        attach(profile(numbers()), "models:/m/3")
