"""A candidate that is asked afterwards: callers get the model's answers, and both are compared."""

from __future__ import annotations

import json
import re
import threading
import time
from math import inf, nan
from pathlib import Path

import mlflow.sklearn
import numpy as np
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from monitoring.verdict import Gates, PodScraper, TrafficWindow, WindowReader, judge
from predictors.candidate.comparison import compare
from predictors.candidate.idle_time import IdleTime
from predictors.protocol.batch import Prediction
from tests.predictors.candidate.versions import PROMOTE, PUT, Versions, ask, split
from tests.serving import Running, in_thread, wait_for
from tests.zoo.case import PIP, numbers
from tests.zoo.python import model, save

TENSOR = {"name": "a", "datatype": "FP64", "shape": [1], "data": [10.0]}


def counted(server: Running, name: str, **labels: str) -> float:
    total = 0.0
    for sample, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", server.get("/metrics").text, re.MULTILINE):
        if labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', sample)).items():
            total += float(value)
    return total


def shadowed(server: Running, share: float = 1, uri: str = "models:/m/2") -> None:
    reply = server.client.put(PUT, json={"uri": uri, "mode": "shadow", "share": share})
    assert reply.status_code == 200, reply.text


def results(server: Running, version: str = "2") -> dict[str, float]:
    return {
        result: counted(server, "model_shadow_requests_total", model_version=version, result=result)
        for result in ("answered", "failed", "dropped")
    }


def test_callers_get_the_models_answers_and_the_candidate_is_compared(server: Running) -> None:
    before = counted(server, "model_predictions_total", model_version="2")
    shadowed(server)
    assert set(split(server, 200)) == {"1"}
    large = server.post("/v1/models/model:predict", {"instances": [{"a": 10.0}] * 3000})  # takes the slow path
    assert large.headers["x-model-version"] == "1"
    wait_for(lambda: sum(results(server).values()) >= 201)
    assert results(server)["failed"] == 0
    assert results(server)["answered"] > 0
    assert counted(server, "model_predictions_total", model_version="2") == before, "they are no requests of callers"
    # It answers 20 where the model answers 10.
    assert (
        counted(server, "model_shadow_difference_bucket", model_version="2", le="10.0")
        >= results(server)["answered"] - 1
    )
    assert counted(server, "model_shadow_difference_bucket", model_version="2", le="5.0") == 0
    assert counted(server, "model_shadow_latency_ratio_count", model_version="2") > 0
    assert counted(server, "model_role", model_version="2", role="shadow") == 1
    report = server.get(PUT).json()
    assert (report["mode"], report["share"], report["state"]) == ("shadow", 1.0, "ready")
    assert report["shadow"] == {
        **{key: int(value) for key, value in results(server).items()},
        "same": 0,
        "different": 0,
    }


def test_the_verdict_reads_both_from_one_server(server: Running) -> None:
    shadowed(server)
    arms = [PodScraper([server.url], {"model_version": version}) for version in "12"]
    reader = WindowReader(arms[0], arms[1])
    reader.read(0.0)
    split(server, 300)
    windows: list[TrafficWindow] = []

    def compared() -> int:
        windows.append(reader.read(30.0 * (len(windows) + 1)))
        return sum(each.candidate.requests for each in windows)

    wait_for(lambda: compared() >= 100)
    assert sum(each.baseline.requests for each in windows) == 300
    assert (windows[-1].baseline.ready, windows[-1].candidate.ready) == (1, 1)
    assert sum(each.shadow.ratios.get(inf, 0) for each in windows) > 0
    # It answers 20 where the model answers 10.
    assert sum(each.shadow.distances.get(inf, 0) - each.shadow.distances.get(5.0, 0) for each in windows) >= 100
    verdicts = [
        judge(windows * 3, Gates(warm_up_seconds=0, max_disagreement=0.01, max_distance=limit)).gate("disagreement")
        for limit in (5.0, 10.0)
    ]
    assert [each.verdict for each in verdicts if each] == ["fail", "pass"]


def test_what_was_in_the_shadow_answers_as_fast_as_the_model(server: Running) -> None:
    before = counted(server, "model_predictions_total", model_version="3")
    shadowed(server, uri="models:/m/3")
    named = server.post("/v2/models/model/versions/3/infer", {"inputs": [TENSOR]})
    assert named.json()["outputs"][0]["data"] == pytest.approx([30.0])
    server.client.put(PUT, json={"uri": "models:/m/3", "share": 1}).raise_for_status()
    assert set(split(server, 20)) == {"3"}
    assert counted(server, "model_predictions_total", model_version="3") == before + 21
    shadowed(server, uri="models:/m/3")
    assert server.post(PROMOTE).json()["version"] == "3"
    assert set(split(server, 20)) == {"3"}
    assert server.post("/v2/repository/models/model/revert").json()["version"] == "1"


def test_a_share_is_sampled(server: Running) -> None:
    before = sum(results(server).values())
    shadowed(server, 0.25)
    split(server, 200)
    wait_for(lambda: sum(results(server).values()) > before)
    assert sum(results(server).values()) - before < 100


def test_a_candidate_that_fails_or_hangs_disturbs_nobody(
    registered: Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(gate))
    code = """
    import os, time
    while os.path.exists(os.environ["GATE"]):
        time.sleep(0.01)
    if model_input["a"].iloc[0] > 50:
        raise ValueError("too much")
    return model_input["a"] * 7
    """
    stored = registered.folder / "hangs"
    save(stored, model(code), data=numbers()[["a"]])
    version = registered.register(stored)
    with in_thread("models:/m/1", tracking_uri=registered.uri, load_trial=False, allow_code_execution=True) as server:
        shadowed(server, uri=f"models:/m/{version}")
        assert ask(server, 99.0)[0] == "1"
        wait_for(lambda: results(server, version)["failed"] == 1)
        gate.touch()
        try:
            assert set(split(server, 400)) == {"1"}, "nobody waits for a candidate that hangs"
            wait_for(lambda: results(server, version)["dropped"] > 0)
        finally:
            gate.unlink()
        wait_for(lambda: results(server, version)["answered"] > 0)


def leaving(rows: np.ndarray) -> np.ndarray:
    if np.asarray(rows).max() == 99:
        raise SystemExit(3)
    return rows


def test_a_candidate_whose_code_wants_to_end_the_server_only_fails(registered: Versions) -> None:
    """In the engine as well, where models with steps of their own run."""
    data = numbers()[["a"]]
    fitted = make_pipeline(FunctionTransformer(leaving), LinearRegression()).fit(data, data["a"] * 4)
    stored = registered.folder / "leaving"
    mlflow.sklearn.save_model(
        fitted, stored, signature=infer_signature(data, fitted.predict(data)), serialization_format="cloudpickle", **PIP
    )
    version = registered.register(stored)
    with in_thread("models:/m/1", tracking_uri=registered.uri, load_trial=False, allow_code_execution=True) as server:
        shadowed(server, uri=f"models:/m/{version}")
        for rows in (1, 3000):  # on the event loop, and in a thread
            failed = results(server, version)["failed"]
            server.predict({"instances": [{"a": 99.0}] * rows}).raise_for_status()
            wait_for(lambda: results(server, version)["failed"] == failed + 1)  # noqa: B023
        server.client.put(PUT, json={"uri": f"models:/m/{version}", "share": 1}).raise_for_status()
        for rows in (1, 3000):
            assert server.predict({"instances": [{"a": 99.0}] * rows}).status_code == 500
        assert ask(server)[0] == version


def test_the_prediction_log_has_the_roles(
    registered: Versions, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with in_thread(
        "models:/m/1", tracking_uri=registered.uri, load_trial=False, prediction_log="stdout", prediction_log_sample=1.0
    ) as server:
        ask(server, headers={"x-request-id": "alone"})
        server.client.put(PUT, json={"uri": "models:/m/2", "share": 1}).raise_for_status()
        ask(server, headers={"x-request-id": "split"})
        shadowed(server)
        ask(server, headers={"x-request-id": "shadowed"})
        lines: list[str] = []

        def roles() -> set[tuple[str, str, str, float]]:
            lines.extend(line for line in capfd.readouterr().out.splitlines() if line.startswith('{"time"'))
            rows = [json.loads(line) for line in lines]
            return {
                (row["request_id"], row["role"], row["version"], round(row["outputs"]["predictions"])) for row in rows
            }

        wait_for(
            lambda: (
                roles()
                == {
                    ("alone", "model", "1", 10),
                    ("split", "candidate", "2", 20),
                    ("shadowed", "model", "1", 10),
                    ("shadowed", "shadow", "2", 20),
                }
            ),
            seconds=20,
        )


def prediction(result: object, probabilities: object = None) -> Prediction:
    return Prediction(
        np.array(result), "predict", "m", "1", (), None if probabilities is None else np.array(probabilities)
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "labels", "different", "differences"),
    [
        (prediction([1.0, 2.0]), prediction([1.5, 2.0]), 0, 0, [0.5, 0.0]),
        (prediction(["a", "b"]), prediction(["a", "c"]), 2, 1, []),
        (prediction([0, 1]), prediction([1, 1]), 2, 1, []),
        (prediction([0.0], [[0.9, 0.1]]), prediction([1.0], [[0.4, 0.6]]), 1, 1, [0.5, 0.5]),
        (prediction([1.0]), prediction([[1.0]]), 1, 1, []),
        (prediction([nan, 1.0]), prediction([nan, 1.0]), 0, 0, [0.0, 0.0]),
        (prediction([1.0, inf, nan]), prediction([nan, inf, -inf]), 0, 0, [1e9, 0.0, 1e9]),
        (prediction([1e308]), prediction([-1e308]), 0, 0, [1e9]),
        (prediction([nan, 1.0], [[0.5, 0.5]] * 2), prediction([nan, 2.0], [[0.5, 0.5]] * 2), 2, 1, [0.0] * 4),
        (prediction(["a", None]), prediction(["a", None]), 2, 0, []),
        (prediction(["1", "2"]), prediction([1, 2]), 2, 2, []),
    ],
)
def test_comparison(
    ours: Prediction, theirs: Prediction, labels: int, different: int, differences: list[float]
) -> None:
    compared = compare(ours, theirs)
    assert (compared.labels, compared.different) == (labels, different)
    assert compared.differences == pytest.approx(differences)


def test_time_is_idle_while_nothing_runs() -> None:
    idle = IdleTime()
    idle.refill()
    before = idle.seconds
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.05:  # busy, or waiting for a CPU
        pass
    idle.refill()
    busy = idle.seconds - before
    threading.Event().wait(0.05)
    idle.refill()
    slept = idle.seconds - before - busy
    idle.close()
    assert busy < 0.01
    assert slept > 0.02
